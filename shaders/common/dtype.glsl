// Weights of any dtype, unpacked from 32-bit words: no 16-bit feature needed. Compiled with one of F32, F16, BF16 defined.
// A binding of weights is declared `uint name[]`; elements i and i+1 of a 16-bit dtype share a word, the even one low.
#if !defined(F32) && !defined(F16) && !defined(BF16)
#error compile with -DF32, -DF16 or -DBF16
#endif

// Shaders that move weights and do not read them define BITS_ONLY first.
#if defined(F16) && !defined(BITS_ONLY)
#include "unpack_half.glsl"
#endif

#if defined(F32)
#define WEIGHTS_PER_WORD 1
#define load_weight(w, i) uintBitsToFloat(w[i])
#elif defined(F16)
#define WEIGHTS_PER_WORD 2
#define load_weight(w, i) unpack_half(w[(i) >> 1])[(i) & 1]
#else
#define WEIGHTS_PER_WORD 2
#define load_weight(w, i) uintBitsToFloat((((i) & 1) == 0) ? w[(i) >> 1] << 16 : w[(i) >> 1] & 0xffff0000u)
#endif

// Four weights of a binding declared `words4 name[]`, for rows of a multiple of four.
#if defined(F32)
#define words4 uvec4
#define unpack4(v) uintBitsToFloat(v)
#elif defined(F16)
#define words4 uvec2
#if !defined(BITS_ONLY)
vec4 unpack4(uvec2 v) { return vec4(unpack_half(v.x), unpack_half(v.y)); }
#endif
#else
#define words4 uvec2
vec4 unpack4(uvec2 v) { return uintBitsToFloat(uvec4(v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u)); }
#endif

// The bits of element i of a binding, and f32 rounded to nearest even in the dtype.
#if defined(F32)
#define load_bits(w, i) w[i]
uint to_bits(float v) { return floatBitsToUint(v); }
#else
#define load_bits(w, i) ((w[(i) >> 1] >> (((i) & 1) * 16)) & 0xffffu)
#if defined(F16)
#include "half.glsl"
uint to_bits(float v) { return half_bits(v); }
#else
uint to_bits(float v) {
    uint b = floatBitsToUint(v);
    if ((b & 0x7fffffffu) > 0x7f800000u) return (b >> 16) | 0x40u; // NaN stays NaN
    return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
}
#endif
#endif
