package lsq

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/vkcome/vkcome/model/op"
)

// unit is what a fixed counts.
var unit = math.Ldexp(1, -op.FixedBits)

// fixed is an integer of 128 bits that counts units of 2^-op.FixedBits.
type fixed struct {
	high int64
	low  uint64
}

// add adds v, or fails where that leaves the range.
func (f *fixed) add(v fixed) error {
	low, carry := bits.Add64(f.low, v.low, 0)
	high, _ := bits.Add64(uint64(f.high), uint64(v.high), carry)
	sum := int64(high)
	if (f.high < 0) == (v.high < 0) && (sum < 0) != (f.high < 0) {
		return ErrRange
	}
	f.high, f.low = sum, low
	return nil
}

// float is the value, with a relative error of 2^-53 at most.
func (f fixed) float() float64 {
	// Of the absolute value no leading ones are lost to rounding. Signs and bits are as good as random: no branch hangs on them.
	negative := uint64(f.high >> 63)
	low, borrow := bits.Sub64(f.low^negative, negative, 0)
	high, _ := bits.Sub64(uint64(f.high)^negative, negative, borrow)
	v := toFloat(high)*0x1p64*unit + toFloat(low)*unit
	return math.Float64frombits(math.Float64bits(v) | negative<<63)
}

// toFloat is float64(v), in halves that are converted as signed integers: that takes no branch.
func toFloat(v uint64) float64 { return float64(int64(v>>32))*0x1p32 + float64(int64(v&(1<<32-1))) }

func decode(raw []byte) []fixed {
	v := make([]fixed, len(raw)/fixedBytes)
	for i := range v {
		v[i] = fixed{int64(binary.LittleEndian.Uint64(raw[fixedBytes*i+8:])), binary.LittleEndian.Uint64(raw[fixedBytes*i:])}
	}
	return v
}

func encode(raw []byte, v []fixed) []byte {
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint64(raw, f.low)
		raw = binary.LittleEndian.AppendUint64(raw, uint64(f.high))
	}
	return raw
}
