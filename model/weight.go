package model

import (
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
)

// Weight is one tensor of a model in host memory, row-major; a vector has one row. The zero Weight is an absent one.
type Weight struct {
	Name       string // as in the file
	DType      dtype.DType
	Rows, Cols int
	Data       []byte // little-endian; a view into the mapped file or memory of its own; never written

	file Tensors // that Data may be a view into

	source Source // instead of Data: what makes the values when they are read
	first  int    // the value of the source that the weight begins with

	// Where both are nil, a device makes the values, those of op.Random: see Synthetic.
	Seed  uint32
	Scale float32
}

// Size is the number of bytes of the values.
func (w Weight) Size() int64 { return int64(w.Rows) * int64(w.Cols) * int64(w.DType.Size()) }

// Source makes values that a file holds in a form of its own: blocks of a quantized type, rows in another order. It may be used from several
// goroutines.
type Source interface {
	// Read writes values [begin, end) in the dtype of the tensor, row-major, to dst. Both are at the beginning of a row.
	Read(dst []byte, begin, end int)
	// Release tells that these values are not needed for now.
	Release(begin, end int)
}

// Made says whether a device makes the values.
func (w Weight) Made() bool { return w.Data == nil && w.source == nil }

// ReadRows gives rows [begin, end): a view where the values lie in memory or in a mapped file as they are, else made in dst, which has room
// for them.
func (w Weight) ReadRows(dst []byte, begin, end int) []byte {
	rowBytes := w.Cols * w.DType.Size()
	if w.source == nil {
		return w.Data[begin*rowBytes : end*rowBytes]
	}
	dst = dst[:(end-begin)*rowBytes]
	w.source.Read(dst, w.first+begin*w.Cols, w.first+end*w.Cols)
	return dst
}

// Floats is the values.
func (w Weight) Floats() []float32 {
	values := make([]float32, w.Elements())
	w.DType.Decode(values, w.ReadRows(make([]byte, w.Size()), 0, w.Rows))
	w.Release()
	return values
}

// Map is a weight of the same name, shape and dtype, with the values that change makes of each row in place. They are rounded to the dtype.
func (w Weight) Map(change func(row int, values []float32)) Weight {
	out := Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
	size := w.Cols * w.DType.Size()
	room, values := make([]byte, size), make([]float32, w.Cols)
	for r := range w.Rows {
		w.DType.Decode(values, w.ReadRows(room, r, r+1))
		change(r, values)
		w.DType.Encode(out.Data[r*size:(r+1)*size], values)
	}
	w.Release()
	return out
}

// Stack is the rows of weights of one dtype and as many columns, one behind the other, under the name of the first. They are read where they
// lie.
func Stack(list ...Weight) (Weight, error) {
	s := &stacked{}
	for _, w := range list {
		s.parts = append(s.parts, w.Parts()...)
	}
	first := s.parts[0]
	if len(s.parts) == 1 {
		return first, nil
	}
	all := Weight{Name: first.Name, DType: first.DType, Cols: first.Cols, source: s}
	for _, w := range s.parts {
		switch {
		case w.DType != first.DType:
			return all, fmt.Errorf("tensor %s is %v, %s is %v: they must have one dtype", first.Name, first.DType, w.Name, w.DType)
		case w.Cols != first.Cols:
			return all, fmt.Errorf("tensor %s has %d columns, %s has %d", first.Name, first.Cols, w.Name, w.Cols)
		case w.Made():
			return all, fmt.Errorf("tensor %s is made on the device and cannot be a part of another", w.Name)
		}
		all.Rows += w.Rows
	}
	return all, nil
}

// Parts are the tensors whose rows the weight holds: itself, unless it is of a Stack.
func (w Weight) Parts() (list []Weight) {
	s, ok := w.source.(*stacked)
	if !ok {
		return []Weight{w}
	}
	s.each(w.first/w.Cols, w.first/w.Cols+w.Rows, func(p Weight, _ int) { list = append(list, p) })
	return list
}

// stacked are weights whose rows follow one another.
type stacked struct{ parts []Weight }

// each calls f with the parts that rows [begin, end) are made of, and with the first row of each among these.
func (s *stacked) each(begin, end int, f func(part Weight, row int)) {
	at := 0
	for _, p := range s.parts {
		if from, to := max(begin, at), min(end, at+p.Rows); from < to {
			f(p.RowRange(from-at, to-at), from-begin)
		}
		at += p.Rows
	}
}

func (s *stacked) Read(dst []byte, begin, end int) {
	cols := s.parts[0].Cols
	rowBytes := cols * s.parts[0].DType.Size()
	s.each(begin/cols, end/cols, func(p Weight, row int) {
		to := dst[row*rowBytes:][:p.Rows*rowBytes]
		copy(to, p.ReadRows(to, 0, p.Rows))
	})
}

func (s *stacked) Release(begin, end int) {
	s.each(begin/s.parts[0].Cols, end/s.parts[0].Cols, func(p Weight, _ int) { p.Release() })
}

// RowRange is rows [begin, end) of the weight, with the values that they have in it.
func (w Weight) RowRange(begin, end int) Weight {
	part, rowBytes := w, w.Cols*w.DType.Size()
	part.Rows = end - begin
	if w.Data != nil {
		part.Data = w.Data[begin*rowBytes : end*rowBytes]
	}
	part.first += begin * w.Cols
	part.Seed += uint32(begin) * uint32(w.Cols)
	return part
}

// Piece is how many bytes of a mapped weight are read before its pages are released.
const Piece = 8 << 20

// madePiece is how many bytes of a weight are made at a time, in host memory that nobody else counts.
const madePiece = 1 << 20

// Pieces calls f with the values piece by piece, and where each lies. What it has read leaves the process' resident memory.
func (w Weight) Pieces(f func(at int64, data []byte) error) error {
	if w.source != nil {
		return w.made(f)
	}
	for at := 0; at < len(w.Data); at += Piece {
		data := w.Data[at:min(at+Piece, len(w.Data))]
		if err := f(int64(at), data); err != nil {
			return err
		}
		w.release(data)
	}
	return nil
}

// made is Pieces for values of a source: rows that fill a piece at a time.
func (w Weight) made(f func(at int64, data []byte) error) error {
	rowBytes := w.Cols * w.DType.Size()
	rows := min(max(1, madePiece/rowBytes), w.Rows)
	dst := make([]byte, rows*rowBytes)
	for at := 0; at < w.Rows; at += rows {
		end := min(at+rows, w.Rows)
		if err := f(int64(at)*int64(rowBytes), w.ReadRows(dst, at, end)); err != nil {
			return err
		}
		w.source.Release(w.first+at*w.Cols, w.first+end*w.Cols)
	}
	return nil
}

// as is the weight with its values in another dtype, converted when they are read.
func (w Weight) as(d dtype.DType) Weight {
	out := w
	out.DType, out.Data, out.source, out.first = d, nil, converted{w, d}, 0
	return out
}

// converted makes the values of a weight in another dtype.
type converted struct {
	of Weight
	to dtype.DType
}

func (c converted) Read(dst []byte, begin, end int) {
	cols := c.of.Cols
	values, stored := make([]float32, cols), make([]byte, cols*c.of.DType.Size())
	for r := begin / cols; r < end/cols; r++ {
		c.of.DType.Decode(values, c.of.ReadRows(stored, r, r+1))
		c.to.Encode(dst[(r*cols-begin)*c.to.Size():], values)
	}
}

func (c converted) Release(begin, end int) {
	part := c.of.RowRange(begin/c.of.Cols, end/c.of.Cols)
	part.Release()
}

// Release tells that the values are not needed for now: their pages may leave memory.
func (w Weight) Release() { w.release(w.Data) }

func (w Weight) release(data []byte) {
	switch {
	case w.source != nil:
		w.source.Release(w.first, w.first+w.Rows*w.Cols)
	case w.file != nil:
		w.file.Release(data)
	}
}

// IsZero says whether the model lacks the tensor.
func (w Weight) IsZero() bool { return w.Rows == 0 }

// Elements is the number of values.
func (w Weight) Elements() int64 { return int64(w.Rows) * int64(w.Cols) }

// NonFinite counts the values that are NaN or infinite; of a weight that is made on the device it says all.
func (w Weight) NonFinite() int {
	if w.Made() {
		return w.Rows * w.Cols // a driver's fault, if it ever comes to that
	}
	n, values := 0, make([]float32, w.Cols)
	rowBytes := w.Cols * w.DType.Size()
	raw := make([]byte, rowBytes)
	for r := range w.Rows {
		w.DType.Decode(values, w.ReadRows(raw, r, r+1))
		for _, v := range values {
			if v-v != 0 {
				n++
			}
		}
	}
	return n
}
