// Package dtype names the floating-point formats that weights are stored in and converts them to and from float32.
package dtype

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
)

// DType is a storage format. The zero value is F32.
type DType uint8

const (
	F32  DType = iota // IEEE 754 binary32
	F16               // IEEE 754 binary16
	BF16              // the upper half of a binary32
)

// All lists every format, for tables of tests and variants.
var All = []DType{F32, F16, BF16}

// Size is the number of bytes of one element.
func (d DType) Size() int {
	if d == F32 {
		return 4
	}
	return 2
}

// String gives the name that safetensors uses: "F32", "F16" or "BF16".
func (d DType) String() string {
	switch d {
	case F32:
		return "F32"
	case F16:
		return "F16"
	case BF16:
		return "BF16"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Parse reads a safetensors dtype name.
func Parse(name string) (DType, error) {
	for _, d := range All {
		if d.String() == name {
			return d, nil
		}
	}
	return F32, fmt.Errorf("dtype %s, expected F32, F16 or BF16", name)
}

// Decode converts little-endian elements of format d in src to float32s, len(src)/d.Size() of them into dst.
func (d DType) Decode(dst []float32, src []byte) {
	n := len(src) / d.Size()
	switch d {
	case F32:
		for i := range n {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range n {
			dst[i] = float16.Frombits(binary.LittleEndian.Uint16(src[2*i:])).Float32()
		}
	case BF16:
		for i := range n {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	}
}

// Encode rounds src to format d (to nearest, ties to even) and writes it little-endian to dst, len(src)·d.Size() bytes.
func (d DType) Encode(dst []byte, src []float32) {
	switch d {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], f16(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], bf16(v))
		}
	}
}

// f16 rounds to half precision, as float16.Fromfloat32 does, in a third of its time.
func f16(v float32) uint16 {
	const (
		overflow = 0x47800000 // 2^16, beyond the largest half
		normal   = 0x38800000 // 2^-14, the least normal half
		rebias   = 0x38000000 // the exponents of the two formats differ by 112
	)
	bits := math.Float32bits(v)
	sign, size := uint16(bits>>16&0x8000), bits&^(1<<31)
	switch {
	case size > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(size>>13&0x3ff)
	case size >= overflow:
		return sign | 0x7c00
	case size < normal: // the sum has the step of subnormal halves, and the processor rounds
		return sign | uint16(math.Float32bits(math.Float32frombits(size)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((size+0xfff+size>>13&1-rebias)>>13)
}

func bf16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40 // a NaN whose payload sits in the low half must stay a NaN
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
