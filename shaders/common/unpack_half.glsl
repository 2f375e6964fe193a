// The two f16 of a word, the low one first. Package vk specializes the constant, on drivers that have no instructions for f16 and give wrong
// ones for unpackHalf2x16: vk.HalfUnpacking. Elsewhere that is one instruction.
layout(constant_id = 16) const uint HALF_BY_INTEGERS = 0;

vec2 unpack_half(uint w) {
    if (HALF_BY_INTEGERS == 0) return unpackHalf2x16(w);
    uvec2 h = uvec2(w & 0xffffu, w >> 16), a = h & 0x7fffu;
    uvec2 bits = (a << 13) + mix(uvec2(0x38000000u), uvec2(0x70000000u), greaterThanEqual(a, uvec2(0x7c00u))); // infinity and NaN keep all ones
    bits = mix(bits, floatBitsToUint(vec2(a) * 5.9604644775390625e-8), lessThan(a, uvec2(0x400u))); // steps of 2^-24, which in f32 are normal
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}
