#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// sum[i] += Σ_p x[p·stride + i], in integers of 128 bits: exact, so that the order of the terms, and how they are spread over calls,
// changes nothing
//
// sum [count] of 4 × uint32, the lowest first, two's complement, in units of 2^-80: below 2^47 · x f32 · bad [1] uint32
// A term's bits below 2^-80 are cut off. bad becomes 1 where a term is not finite or not below 2^46, or a sum would leave its range;
// it is never set to 0. One invocation an element; at most `terms` iterations.

layout(push_constant) uniform Push { uint count; uint first; uint terms; uint stride; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) buffer Sum { uvec4 sum[]; };
layout(binding = 2) writeonly buffer Bad { uint bad[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    uvec4 s = sum[i];
    bool wrong = false;
    for (uint p = 0; p < terms; p++) {
        uint bits = floatBitsToUint(x[p * stride + first + i]), exponent = bits >> 23 & 0xffu;
        uint mantissa = (bits & 0x7fffffu) | (exponent == 0 ? 0u : 0x800000u);
        wrong = wrong || exponent >= 127 + 46;
        int shift = int(max(exponent, 1)) - 150 + 80; // of the mantissa's lowest bit
        mantissa = shift < 0 ? (shift > -24 ? mantissa >> -shift : 0u) : mantissa;
        uint at = uint(max(shift, 0)), word = at >> 5, by = at & 31u;
        uint low = mantissa << by, high = by > 8 ? mantissa >> (32 - by) : 0u;
        uvec4 v = uvec4(word == 0 ? low : 0u, word == 1 ? low : word == 0 ? high : 0u, word == 2 ? low : word == 1 ? high : 0u, word == 3 ? low : word == 2 ? high : 0u);
        uint negative = bits >> 31;
        v ^= uvec4(0u - negative);
        uint top = s.w;
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
        wrong = wrong || ((top ^ t.w) & (v.w ^ t.w)) >> 31 != 0;
        s = t;
    }
    sum[i] = s;
    if (wrong) bad[0] = 1u;
}
