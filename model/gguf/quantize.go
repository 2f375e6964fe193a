package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"github.com/vkcome/vkcome/model/dtype"
)

// Rows are quantized in blocks, as the reference functions of ggml do it (quantize_row_*_ref in ggml-quants.c): the same bits, so that a
// file is the same whichever program made it. Every product is rounded before it is added to something, whatever the processor.

const (
	block32  = 32  // values of a block of Q8_0 and Q4_0
	block256 = 256 // of Q6_K
	group16  = 16  // of Q6_K that share a scale
)

// Written lists the types that Encode knows.
var Written = []Type{F32, F16, BF16, Q8_0, Q4_0, Q6_K}

// Encode rounds rows of values, len(src) a multiple of the type's block, to a type and writes them to dst. A value that is NaN or infinite,
// or that becomes so, is an error that names it: one of them in a block makes all of it NaN.
func (t Type) Encode(dst []byte, src []float32) error {
	most := largest[t]
	for _, v := range src {
		if v-v != 0 || most > 0 && abs(v) >= most {
			return fmt.Errorf("value %v cannot be stored as %v", v, t)
		}
	}
	switch t {
	case F32:
		dtype.F32.Encode(dst, src)
	case F16:
		dtype.F16.Encode(dst, src)
	case BF16:
		dtype.BF16.Encode(dst, src)
	case Q8_0:
		quantizeQ8(dst, src)
	case Q4_0:
		quantizeQ4(dst, src)
	case Q6_K:
		quantizeQ6(dst, src)
	default:
		return fmt.Errorf("%v is not a type that is written, these are %v", t, Written)
	}
	return nil
}

// halfOverflow is the least value that rounds to infinity in half precision.
const halfOverflow = 65520

// largest is the value from which on that, or the scale of its block, is infinite, of types that have one. Of Q6_K, whose scale is sought around
// a 4096th of the largest value, it is half of that.
var largest = map[Type]float32{F16: halfOverflow, Q8_0: halfOverflow * 127, Q4_0: halfOverflow * 8, Q6_K: halfOverflow * 2048}

func putHalf(dst []byte, v float32) {
	binary.LittleEndian.PutUint16(dst, float16.Fromfloat32(v).Bits())
}

// inverse is 1/v, 0 for 0.
func inverse(v float32) float32 {
	if v == 0 {
		return 0
	}
	return 1 / v
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// quantizeQ8 writes blocks of a half-precision scale and 32 signed bytes.
func quantizeQ8(dst []byte, src []float32) {
	for ; len(src) > 0; src, dst = src[block32:], dst[2+block32:] {
		most := float32(0)
		for _, v := range src[:block32] {
			most = max(most, abs(v))
		}
		scale := most / 127
		putHalf(dst, scale)
		inv := inverse(scale)
		for i, v := range src[:block32] {
			dst[2+i] = byte(int8(roundAway(v * inv)))
		}
	}
}

// roundAway rounds to the nearest integer, halves away from zero. |v| is below 2²³.
func roundAway(v float32) int32 {
	whole := int32(v) // towards zero
	switch rest := v - float32(whole); {
	case rest >= 0.5:
		return whole + 1
	case rest <= -0.5:
		return whole - 1
	}
	return whole
}

// quantizeQ4 writes blocks of a half-precision scale and 32 values of four bits: value i in the low half of byte i, value 16+i in the high one.
func quantizeQ4(dst []byte, src []float32) {
	const half = block32 / 2
	for ; len(src) > 0; src, dst = src[block32:], dst[2+half:] {
		most, peak := float32(0), float32(0)
		for _, v := range src[:block32] {
			if a := abs(v); a > most {
				most, peak = a, v
			}
		}
		scale := peak / -8
		putHalf(dst, scale)
		inv := inverse(scale)
		for i := range half {
			low, high := float32(src[i]*inv), float32(src[half+i]*inv)
			dst[2+i] = byte(min(15, int8(low+8.5))) | byte(min(15, int8(high+8.5)))<<4
		}
	}
}

// quantizeQ6 writes blocks of 256 values of six bits in groups of 16 with an 8-bit scale each, and a half-precision scale of these.
func quantizeQ6(dst []byte, src []float32) {
	const size = block256/2 + block256/4 + block256/group16 + 2
	for ; len(src) > 0; src, dst = src[block256:], dst[size:] {
		quantizeQ6Block(dst[:size], src[:block256])
	}
}

const tiny = 1e-15 // GROUP_MAX_EPS in ggml-quants.c: groups below are zero

func quantizeQ6Block(dst []byte, src []float32) {
	var level [block256]int8
	var scales [block256 / group16]float32
	most, peak := float32(0), float32(0)
	for g := range scales {
		at := g * group16
		scales[g] = bestScale(level[at:at+group16], src[at:at+group16])
		if a := abs(scales[g]); a > most {
			most, peak = a, scales[g]
		}
	}
	if most < tiny {
		clear(dst)
		return
	}
	low, high, eight := dst[:block256/2], dst[block256/2:block256/2+block256/4], dst[block256/2+block256/4:]
	inv := -128 / peak
	putHalf(eight[len(scales):], 1/inv)
	whole := float16.Frombits(binary.LittleEndian.Uint16(eight[len(scales):])).Float32()
	for g, s := range scales {
		eight[g] = byte(int8(min(127, nearest(float32(inv*s)))))
		scale := float32(whole * float32(int8(eight[g])))
		if scale == 0 {
			continue
		}
		for i := g * group16; i < (g+1)*group16; i++ {
			level[i] = int8(max(-32, min(31, nearest(src[i]/scale)))) + 32
		}
	}
	for h := range 2 { // halves of 128 values
		l, from, to := level[128*h:], low[64*h:], high[32*h:]
		for i := range 32 {
			a, b, c, d := byte(l[i]), byte(l[i+32]), byte(l[i+64]), byte(l[i+96])
			from[i], from[i+32] = a&15|c<<4, b&15|d<<4
			to[i] = a>>4 | b>>4<<2 | c>>4<<4 | d>>4<<6
		}
	}
}

// bestScale finds the scale with which levels −32 to 31 come nearest to a group's values, the square of each its weight, and writes the levels
// from 0 up. It is make_qx_quants of ggml-quants.c: the scale that makes the largest value −32, and eighteen beside it.
func bestScale(level []int8, src []float32) float32 {
	most, peak := float32(0), float32(0)
	for _, v := range src {
		if a := abs(v); a > most {
			most, peak = a, v
		}
	}
	if most < tiny {
		clear(level)
		return 0
	}
	// sums are Σ w·x·l and Σ w·l² for the levels l of a scale's inverse.
	sums := func(inv float32) (lx, l2 float32) {
		for _, v := range src {
			l := float32(clampLevel(inv, v))
			w := float32(v * v)
			lx += float32(float32(w*v) * l)
			l2 += float32(float32(w*l) * l)
		}
		return lx, l2
	}
	write := func(inv float32) {
		for i, v := range src {
			level[i] = int8(clampLevel(inv, v)) + 32
		}
	}
	inv := -32 / peak
	lx, l2 := sums(inv)
	write(inv)
	scale := float32(0)
	if l2 != 0 {
		scale = lx / l2
	}
	best := float32(scale * lx)
	for step := -9; step <= 9; step++ {
		if step == 0 {
			continue
		}
		inv := -(32 + float32(0.1*float32(step))) / peak
		lx, l2 := sums(inv)
		if l2 > 0 && float32(lx*lx) > float32(best*l2) {
			write(inv)
			scale = lx / l2
			best = float32(scale * lx)
		}
	}
	return scale
}

func clampLevel(inv, v float32) int32 { return max(-32, min(31, nearest(float32(inv*v)))) }

// nearest rounds to the nearest integer, halves to the even one. |v| is below 2²², as of a value that is finite and not zero over its group's scale.
func nearest(v float32) int32 {
	return int32(math.Float32bits(v+12582912)&0x7fffff) - 0x400000
}
