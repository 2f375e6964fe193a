#ifndef HALF_GLSL
#define HALF_GLSL
// The bits of f32 rounded to nearest even in f16: packHalf2x16 may round as it likes; SwiftShader's makes infinity and overflow NaNs,
// and truncates subnormals.
uint half_bits(float v) {
    uint b = floatBitsToUint(v), a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    if (a > 0x7f800000u) return sign | 0x7e00u;
    if (a >= 0x477ff000u) return sign | 0x7c00u; // 65520, halfway to 2^16, and more
    if (a >= 0x38800000u) return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13);
    uint shift = 126u - (a >> 23); // below 2^-14: steps of 2^-24
    if (shift > 24u) return sign;
    uint m = (a & 0x7fffffu) | 0x800000u;
    return sign | ((m + (1u << (shift - 1u)) - 1u + ((m >> shift) & 1u)) >> shift);
}

// Two of them in a word, the first low.
uint half_pair(float a, float b) { return half_bits(a) | half_bits(b) << 16; }

// The f32 that the f16 of these bits is, which is finite: by integers, as unpackHalf2x16 may take subnormals for zero.
float half_value(uint h) {
    uint a = h & 0x7fffu;
    float v = a < 0x400u ? float(a) * 5.9604644775390625e-8 : uintBitsToFloat((a << 13) + 0x38000000u); // steps of 2^-24
    return (h & 0x8000u) != 0 ? -v : v;
}

// What f16 loses of four numbers.
vec4 half_rest(vec4 v) {
    return v - vec4(half_value(half_bits(v.x)), half_value(half_bits(v.y)), half_value(half_bits(v.z)), half_value(half_bits(v.w)));
}

float power_of_two(int s) { return uintBitsToFloat(uint(127 + s) << 23); }

// The s in ±126 that brings the largest of a row, times 2^s, into [2^14, 2^15), near the end of what f16 holds; 0 for one that is zero or
// not finite.
int half_exponent(float largest) {
    uint bits = floatBitsToUint(largest);
    return bits == 0 || bits >= 0x7f800000u ? 0 : min(141 - int(bits >> 23), 126);
}
#endif
