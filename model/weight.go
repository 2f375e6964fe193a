package model

import (
	"fmt"
	"sync"

	"github.com/vkcome/vkcome/model/dtype"
)

// Weight is one tensor of a model in host memory, row-major; a vector has one row. The zero Weight is an absent one.
type Weight struct {
	Name       string // as in the file
	DType      dtype.DType
	Rows, Cols int
	Data       []byte // little-endian, in memory; never written. nil where a file holds the values: see ReadRows

	source Source // where Data is nil: what reads or makes the values when they are asked for
	first  int    // the value of the source that the weight begins with

	// Where both are nil, a device makes the values, those of op.Random: see Synthetic.
	Seed  uint32
	Scale float32
}

// Size is the number of bytes of the values.
func (w Weight) Size() int64 { return int64(w.Rows) * int64(w.Cols) * int64(w.DType.Size()) }

// Source reads values from a file that holds them as they are or in a form of its own: blocks of a quantized type, rows in another order. It
// may be used from several goroutines.
type Source interface {
	// Read writes values [begin, end) in the dtype of the tensor, row-major, to dst. Both are at the beginning of a row. A file that changed
	// since it was opened, or cannot be read, is an error that names it.
	Read(dst []byte, begin, end int) error
}

// plain reads values that lie in a file as they are.
type plain struct {
	size int // bytes of a value
	read func(dst []byte, at int) error
}

func (p plain) Read(dst []byte, begin, end int) error {
	return p.read(dst[:(end-begin)*p.size], begin*p.size)
}

// Made says whether a device makes the values.
func (w Weight) Made() bool { return w.Data == nil && w.source == nil }

func (w Weight) inMemory() bool { return w.Data != nil || w.source == nil }

// ReadRows gives rows [begin, end): a view where the values lie in memory as they are, else read to dst, which has room for them. A file that
// changed since it was opened, or cannot be read, is an error that names it.
func (w Weight) ReadRows(dst []byte, begin, end int) ([]byte, error) {
	rowBytes := w.Cols * w.DType.Size()
	if w.inMemory() {
		return w.Data[begin*rowBytes : end*rowBytes], nil
	}
	dst = dst[:(end-begin)*rowBytes]
	return dst, w.source.Read(dst, w.first+begin*w.Cols, w.first+end*w.Cols)
}

// Bytes is the values as they are stored, little-endian and row-major; not to be written.
func (w Weight) Bytes() ([]byte, error) {
	if w.inMemory() {
		return w.Data, nil
	}
	return w.ReadRows(make([]byte, w.Size()), 0, w.Rows)
}

// Floats is the values.
func (w Weight) Floats() ([]float32, error) {
	raw, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	values := make([]float32, w.Elements())
	w.DType.Decode(values, raw)
	return values, nil
}

// Map is a weight of the same name, shape and dtype, with the values that change makes of each row in place. They are rounded to the dtype.
func (w Weight) Map(change func(row int, values []float32)) (Weight, error) {
	out := Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
	size := w.Cols * w.DType.Size()
	room, values := make([]byte, size), make([]float32, w.Cols)
	for r := range w.Rows {
		raw, err := w.ReadRows(room, r, r+1)
		if err != nil {
			return out, err
		}
		w.DType.Decode(values, raw)
		change(r, values)
		w.DType.Encode(out.Data[r*size:(r+1)*size], values)
	}
	return out, nil
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
	if !ok || w.Data != nil {
		return []Weight{w}
	}
	_ = s.each(w.first/w.Cols, w.first/w.Cols+w.Rows, func(p Weight, _ int) error {
		list = append(list, p)
		return nil
	})
	return list
}

// stacked are weights whose rows follow one another.
type stacked struct{ parts []Weight }

// each calls f with the parts that rows [begin, end) are made of, and with the first row of each among these.
func (s *stacked) each(begin, end int, f func(part Weight, row int) error) error {
	at := 0
	for _, p := range s.parts {
		if from, to := max(begin, at), min(end, at+p.Rows); from < to {
			if err := f(p.RowRange(from-at, to-at), from-begin); err != nil {
				return err
			}
		}
		at += p.Rows
	}
	return nil
}

func (s *stacked) Read(dst []byte, begin, end int) error {
	cols := s.parts[0].Cols
	rowBytes := cols * s.parts[0].DType.Size()
	return s.each(begin/cols, end/cols, func(p Weight, row int) error {
		to := dst[row*rowBytes:][:p.Rows*rowBytes]
		from, err := p.ReadRows(to, 0, p.Rows)
		copy(to, from)
		return err
	})
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

// Piece is how many bytes of a weight are read at a time, in host memory that nobody else counts; a row that has more is read whole.
const Piece = 4 << 20

// pieces is the memory that Pieces reads to, of Piece bytes each: what is read once need not be new each time.
var pieces = sync.Pool{New: func() any { return new([Piece]byte) }}

// Pieces calls f with the values piece by piece, and where each lies. They are good until f returns.
func (w Weight) Pieces(f func(at int64, data []byte) error) error {
	rowBytes := w.Cols * w.DType.Size()
	if w.IsZero() || rowBytes == 0 {
		return nil
	}
	rows := min(max(1, Piece/rowBytes), w.Rows)
	var dst []byte
	switch n := rows * rowBytes; {
	case w.inMemory():
	case n <= Piece/8 || n > Piece: // of small weights there are many, and room for them is new at once
		dst = make([]byte, n)
	default:
		room := pieces.Get().(*[Piece]byte)
		defer pieces.Put(room)
		dst = room[:]
	}
	for at := 0; at < w.Rows; at += rows {
		data, err := w.ReadRows(dst, at, min(at+rows, w.Rows))
		if err != nil {
			return err
		}
		if err := f(int64(at)*int64(rowBytes), data); err != nil {
			return err
		}
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

func (c converted) Read(dst []byte, begin, end int) error {
	cols := c.of.Cols
	values, stored := make([]float32, cols), make([]byte, cols*c.of.DType.Size())
	for r := begin / cols; r < end/cols; r++ {
		raw, err := c.of.ReadRows(stored, r, r+1)
		if err != nil {
			return err
		}
		c.of.DType.Decode(values, raw)
		c.to.Encode(dst[(r*cols-begin)*c.to.Size():], values)
	}
	return nil
}

// IsZero says whether the model lacks the tensor.
func (w Weight) IsZero() bool { return w.Rows == 0 }

// Elements is the number of values.
func (w Weight) Elements() int64 { return int64(w.Rows) * int64(w.Cols) }

// NonFinite counts the values that are NaN or infinite; of a weight that is made on the device it says all.
func (w Weight) NonFinite() (int, error) {
	if w.Made() {
		return w.Rows * w.Cols, nil // a driver's fault, if it ever comes to that
	}
	n, values := 0, make([]float32, w.Cols)
	rowBytes := w.Cols * w.DType.Size()
	room := make([]byte, rowBytes)
	for r := range w.Rows {
		raw, err := w.ReadRows(room, r, r+1)
		if err != nil {
			return 0, err
		}
		w.DType.Decode(values, raw)
		for _, v := range values {
			if v-v != 0 {
				n++
			}
		}
	}
	return n, nil
}
