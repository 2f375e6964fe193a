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
#endif
