package model

import (
	"github.com/vkcome/vkcome/model/dtype"
)

// Weight is one tensor of a model in host memory, row-major; a vector has one row. The zero Weight is an absent one.
type Weight struct {
	Name       string // as in the file
	DType      dtype.DType
	Rows, Cols int
	Data       []byte // little-endian; a view into the mapped file or memory of its own; never written

	file Tensors // that Data may be a view into

	// Where Data is nil, a device makes the values, those of op.Random: see Synthetic.
	Seed  uint32
	Scale float32
}

// Size is the number of bytes of the values.
func (w Weight) Size() int64 { return int64(w.Rows) * int64(w.Cols) * int64(w.DType.Size()) }

// RowRange is rows [begin, end) of the weight, with the values that they have in it.
func (w Weight) RowRange(begin, end int) Weight {
	part, rowBytes := w, w.Cols*w.DType.Size()
	part.Rows = end - begin
	if w.Data != nil {
		part.Data = w.Data[begin*rowBytes : end*rowBytes]
	}
	part.Seed += uint32(begin) * uint32(w.Cols)
	return part
}

// Piece is how many bytes of a mapped weight are read before its pages are released.
const Piece = 8 << 20

// Pieces calls f with the values piece by piece, and where each lies. What it has read leaves the process' resident memory.
func (w Weight) Pieces(f func(at int64, data []byte) error) error {
	for at := 0; at < len(w.Data); at += Piece {
		data := w.Data[at:min(at+Piece, len(w.Data))]
		if err := f(int64(at), data); err != nil {
			return err
		}
		w.Release(data)
	}
	return nil
}

// as is the weight with its values in another dtype, in memory of their own.
func (w Weight) as(d dtype.DType) Weight {
	out := w
	out.DType, out.file, out.Data = d, nil, make([]byte, w.Elements()*int64(d.Size()))
	values := make([]float32, min(len(w.Data), Piece)/w.DType.Size())
	_ = w.Pieces(func(at int64, data []byte) error {
		part := values[:len(data)/w.DType.Size()]
		w.DType.Decode(part, data)
		d.Encode(out.Data[at/int64(w.DType.Size())*int64(d.Size()):], part)
		return nil
	})
	return out
}

// Release tells that the values, or a part of them, are not needed for now: their pages may leave memory.
func (w Weight) Release(data []byte) {
	if w.file != nil {
		w.file.Release(data)
	}
}

// IsZero says whether the model lacks the tensor.
func (w Weight) IsZero() bool { return w.Rows == 0 }

// Elements is the number of values.
func (w Weight) Elements() int64 { return int64(w.Rows) * int64(w.Cols) }

// NonFinite counts the values that are NaN or infinite; of a weight that is made on the device it says all.
func (w Weight) NonFinite() int {
	if w.Data == nil {
		return w.Rows * w.Cols // a driver's fault, if it ever comes to that
	}
	values := make([]float32, w.Rows*w.Cols)
	w.DType.Decode(values, w.Data)
	n := 0
	for _, v := range values {
		if v-v != 0 {
			n++
		}
	}
	return n
}
