#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// sum[i] += Σ_p x[p·stride + i], in integers of 128 bits: exact, so that the order of the terms, and how they are spread over calls,
// changes nothing
//
// sum [count] of 4 × uint32, the lowest first, two's complement, in units of 2^-80: below 2^47; bound twice, to be read and to be
// written · x f32 · bad [1] uint32
// A term's bits below 2^-80 are cut off. bad becomes 1 where a term is not finite or not below 2^46, or a sum would leave its range;
// it is never set to 0. One invocation an element; `terms` iterations.
//
// With TEXELS, for drivers that run on the CPU: stride and first multiples of 4, one invocation 4 elements.

layout(push_constant) uniform Push { uint count; uint first; uint terms; uint stride; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer before;
#define LANES 4
#define LOAD(p) uintBitsToFloat(imageLoad(x, int((p) * (stride / 4) + first / 4 + i)))
#define BEFORE(e) imageLoad(before, int(e))
#else
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer Before { uvec4 before[]; };
#define LANES 1
#define LOAD(p) vec4(x[(p) * stride + first + i])
#define BEFORE(e) before[e]
#endif
layout(binding = 2) writeonly buffer Sum { uvec4 sum[]; };
layout(binding = 3) writeonly buffer Bad { uint bad[]; };

bool wrong = false;

uvec4 added(uvec4 s, float term) {
    uint bits = floatBitsToUint(term), exponent = bits >> 23 & 0xffu;
    uint mantissa = (bits & 0x7fffffu) | (exponent == 0 ? 0u : 0x800000u);
    wrong = wrong || exponent >= 127 + 46;
    int shift = int(max(exponent, 1)) - 150 + 80; // of the mantissa's lowest bit
    mantissa = shift < 0 ? (shift > -24 ? mantissa >> -shift : 0u) : mantissa;
    uint at = uint(max(shift, 0)), word = at >> 5, by = at & 31u;
    uint low = mantissa << by, high = by > 8 ? mantissa >> (32 - by) : 0u;
    uvec4 v = uvec4(word == 0 ? low : 0u, word == 1 ? low : word == 0 ? high : 0u, word == 2 ? low : word == 1 ? high : 0u, word == 3 ? low : word == 2 ? high : 0u);
    uint negative = bits >> 31;
    v ^= uvec4(0u - negative);
    uvec4 t; // with the carry of a negative's complement
    t.x = s.x + negative;
    uint carry = t.x < negative ? 1u : 0u;
    t.x += v.x;
    carry += t.x < v.x ? 1u : 0u;
    t.y = s.y + carry;
    carry = t.y < carry ? 1u : 0u;
    t.y += v.y;
    carry += t.y < v.y ? 1u : 0u;
    t.z = s.z + carry;
    carry = t.z < carry ? 1u : 0u;
    t.z += v.z;
    carry += t.z < v.z ? 1u : 0u;
    t.w = s.w + v.w + carry;
    wrong = wrong || ((s.w ^ t.w) & (v.w ^ t.w)) >> 31 != 0;
    return t;
}

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i * LANES >= count) return;
    uvec4 s[LANES];
    [[unroll]] for (uint e = 0; e < LANES; e++) s[e] = BEFORE(min(i * LANES + e, count - 1));
    for (uint p = 0; p < terms; p++) {
        vec4 v = LOAD(p);
        [[unroll]] for (uint e = 0; e < LANES; e++)
            if (i * LANES + e < count) s[e] = added(s[e], v[e]);
    }
    [[unroll]] for (uint e = 0; e < LANES; e++)
        if (i * LANES + e < count) sum[i * LANES + e] = s[e];
    if (wrong) bad[0] = 1u;
}
