#version 450
#extension GL_GOOGLE_include_directive : require
#define BITS_ONLY
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// counts[slot] += number of x[i] that are NaN or infinite, i < elements
//
// x any dtype · counts u32
// An invocation takes four times four words, neighbours next to each other: no loop, and no atomic where all is well. The last
// elements, too few for four words, fall to the first workgroup. WORKGROUP is at least 8; no subgroup operations.

layout(push_constant) uniform Push { uint elements; uint slot; };
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 0) readonly buffer X4 { uvec4 x4[]; }; // the same words
layout(binding = 1) buffer Counts { uint counts[]; };

// An element is not finite when all bits of its exponent are ones.
#if defined(F32)
const uint EXPONENT = 0x7f800000u;
#elif defined(F16)
const uint EXPONENT = 0x7c00u;
#else
const uint EXPONENT = 0x7f80u;
#endif

uint count(uvec4 words) {
    uvec4 low = words & EXPONENT;
    uvec4 n = uvec4(equal(low, uvec4(EXPONENT)));
#if WEIGHTS_PER_WORD == 2
    uvec4 high = (words >> 16) & EXPONENT;
    n += uvec4(equal(high, uvec4(EXPONENT)));
#endif
    return n.x + n.y + n.z + n.w;
}

void main() {
    uint quads = elements / (4 * WEIGHTS_PER_WORD), n = 0;
    uint at = gl_WorkGroupID.x * 4 * WORKGROUP + gl_LocalInvocationID.x;
    if (at < quads) n += count(x4[at]);
    if (at + WORKGROUP < quads) n += count(x4[at + WORKGROUP]);
    if (at + 2 * WORKGROUP < quads) n += count(x4[at + 2 * WORKGROUP]);
    if (at + 3 * WORKGROUP < quads) n += count(x4[at + 3 * WORKGROUP]);
    uint rest = quads * 4 * WEIGHTS_PER_WORD + at;
    if (gl_WorkGroupID.x == 0 && rest < elements && (load_bits(x, rest) & EXPONENT) == EXPONENT) n++;
    if (n > 0) atomicAdd(counts[slot], n);
}
