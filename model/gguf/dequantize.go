package gguf

import (
	"encoding/binary"

	"github.com/vkcome/vkcome/model/dtype"
)

// Blocks become values as the Python package gguf 0.19 makes them, to the bit: every product is a float32 before it is added to something,
// on processors too that would do both at once. Layouts: block_* in ggml-common.h of llama.cpp; d is a half-precision scale throughout.

// decoders are the types that can be read.
var decoders = map[Type]func(dst []float32, src []byte){
	F32: dtype.F32.Decode, F16: decodeF16, BF16: dtype.BF16.Decode,
	Q4_0: decodeQ4_0, Q4_1: decodeQ4_1, Q5_0: decodeQ5_0, Q5_1: decodeQ5_1, Q8_0: decodeQ8_0,
	Q2_K: decodeQ2K, Q3_K: decodeQ3K, Q4_K: decodeQ4K, Q5_K: decodeQ5K, Q6_K: decodeQ6K,
}

// Readable says whether values of the type can be read.
func (t Type) Readable() bool { return decoders[t] != nil }

// Decode writes the values of whole blocks to dst, which has room for just them. The type is Readable.
func (t Type) Decode(dst []float32, src []byte) { decoders[t](dst, src) }

const (
	small = 32  // values of a block of the older types
	super = 256 // values of a block of the k-quants
)

// half is the number of half precision at the beginning of raw.
func half(raw []byte) float32 { return halves[binary.LittleEndian.Uint16(raw)] }

// halves are all numbers of half precision.
var halves = func() *[1 << 16]float32 {
	var list [1 << 16]float32
	var raw [2]byte
	for i := range list {
		binary.LittleEndian.PutUint16(raw[:], uint16(i))
		dtype.F16.Decode(list[i:i+1], raw[:])
	}
	return &list
}()

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half(src[2*i:])
	}
}

// decodeQ4_0: d, 16 bytes of two values each: the low halves are values 0 to 15, the high ones 16 to 31. A value v is d·(v−8).
func decodeQ4_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[small:], src[18:] {
		d, out, in := half(src), dst[:small:small], src[2:18:18]
		for i, b := range in {
			out[i] = d * float32(int(b&15)-8)
			out[i+16] = d * float32(int(b>>4)-8)
		}
	}
}

// decodeQ4_1: d, m, values as Q4_0 has them. A value v is d·v+m.
func decodeQ4_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[small:], src[20:] {
		d, m, out, in := half(src), half(src[2:]), dst[:small:small], src[4:20:20]
		for i, b := range in {
			out[i] = float32(d*float32(b&15)) + m
			out[i+16] = float32(d*float32(b>>4)) + m
		}
	}
}

// decodeQ5_0: d, 32 fifth bits, values as Q4_0 has them. A value v is d·(v−16).
func decodeQ5_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[small:], src[22:] {
		d, high, out, in := half(src), binary.LittleEndian.Uint32(src[2:]), dst[:small:small], src[6:22:22]
		for i, b := range in {
			out[i] = d * float32(int(b&15)|int(high>>i&1)<<4-16)
			out[i+16] = d * float32(int(b>>4)|int(high>>(i+16)&1)<<4-16)
		}
	}
}

// decodeQ5_1: d, m, 32 fifth bits, values as Q4_0 has them. A value v is d·v+m.
func decodeQ5_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[small:], src[24:] {
		d, m, high, out, in := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:]), dst[:small:small], src[8:24:24]
		for i, b := range in {
			out[i] = float32(d*float32(uint32(b&15)|high>>i&1<<4)) + m
			out[i+16] = float32(d*float32(uint32(b>>4)|high>>(i+16)&1<<4)) + m
		}
	}
}

// decodeQ8_0: d, 32 signed bytes. A value v is d·v.
func decodeQ8_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[small:], src[34:] {
		d, out, in := half(src), dst[:small:small], src[2:34:34]
		for i, b := range in {
			out[i] = d * float32(int8(b))
		}
	}
}

// quarter cuts a block of a k-quant into groups of 32 values whose bits lie side by side in 32 bytes: group g of half h has bits 2g and
// 2g+1 of the 32 bytes at 32h. It calls f for each.
func quarter(qs []byte, f func(at int, bytes []byte, shift int)) {
	for h := range 2 {
		for g := range 4 {
			f(128*h+32*g, qs[32*h:32*h+32], 2*g)
		}
	}
}

// decodeQ2K: 16 bytes of two scales each, 64 bytes of four values each, d, dmin. Of 16 values each, a value v is d·low·v − dmin·high, with
// low and high the halves of the scale's byte.
func decodeQ2K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[super:], src[84:] {
		d, dmin, out := half(src[80:]), half(src[82:]), dst[:super]
		quarter(src[16:80], func(at int, bytes []byte, shift int) {
			for i, b := range bytes {
				s := src[(at+i)/16]
				out[at+i] = float32(float32(d*float32(s&15))*float32(b>>shift&3)) - float32(dmin*float32(s>>4))
			}
		})
	}
}

// decodeQ3K: 32 bytes of third bits, 64 bytes of four values each, 16 scales of six bits, d. Of 16 values each, a value v is
// d·(scale−32)·(v−4).
func decodeQ3K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[super:], src[110:] {
		d, out, high, packed := half(src[108:]), dst[:super], src[:32], src[96:108]
		var scales [16]float32
		for i := range scales {
			low := packed[i%8] >> (i / 8 * 4) & 15
			scales[i] = d * float32(int(low|packed[8+i%4]>>(i/4*2)&3<<4)-32)
		}
		quarter(src[32:96], func(at int, bytes []byte, shift int) {
			for i, b := range bytes {
				v := int(b>>shift&3) - 4 + int(high[i]>>(at/32)&1)<<2
				out[at+i] = scales[(at+i)/16] * float32(v)
			}
		})
	}
}

// scaleMin is scale i and minimum i of the eight that a Q4_K or a Q5_K packs into 12 bytes, six bits each.
func scaleMin(packed []byte, i int) (scale, least byte) {
	if i < 4 {
		return packed[i] & 63, packed[i+4] & 63
	}
	return packed[i+4]&15 | packed[i-4]>>6<<4, packed[i+4]>>4 | packed[i]>>6<<4
}

// decodeQ4K: d, dmin, scales and minima, 128 bytes: of 32 bytes the low halves are 32 values, the high ones the next 32. Of 32 values each,
// a value v is d·scale·v − dmin·min.
func decodeQ4K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[super:], src[144:] {
		d, dmin := half(src), half(src[2:])
		for g := range 8 {
			s, m := scaleMin(src[4:16], g)
			scale, least := d*float32(s), dmin*float32(m)
			out, in, shift := dst[32*g:32*g+32:32*g+32], src[16+g/2*32:][:32], g%2*4
			for i, b := range in {
				out[i] = float32(scale*float32(b>>shift&15)) - least
			}
		}
	}
}

// decodeQ5K: d, dmin, scales and minima, 32 bytes of fifth bits, values as Q4_K has them.
func decodeQ5K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[super:], src[176:] {
		d, dmin, high := half(src), half(src[2:]), src[16:48]
		for g := range 8 {
			s, m := scaleMin(src[4:16], g)
			scale, least := d*float32(s), dmin*float32(m)
			out, in, shift := dst[32*g:32*g+32:32*g+32], src[48+g/2*32:][:32], g%2*4
			for i, b := range in {
				out[i] = float32(scale*float32(b>>shift&15|high[i]>>g&1<<4)) - least
			}
		}
	}
}

// decodeQ6K: 128 bytes of the low four bits, 64 of the high two, 16 signed scales, d. Of 128 values each, the low bits of values 0 to 63 are
// the low halves of 64 bytes, those of 64 to 127 the high ones. Of 16 values each, a value v is d·scale·(v−32).
func decodeQ6K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[super:], src[210:] {
		d, out := half(src[208:]), dst[:super]
		var scales [16]float32
		for i, s := range src[192:208] {
			scales[i] = d * float32(int8(s))
		}
		quarter(src[128:192], func(at int, bytes []byte, shift int) {
			low, lowShift := src[at/128*64+at%64:][:32], at%128/64*4
			for i, b := range bytes {
				v := low[i]>>lowShift&15 | b>>shift&3<<4
				out[at+i] = scales[(at+i)/16] * float32(int(v)-32)
			}
		})
	}
}
