#version 450
#extension GL_GOOGLE_include_directive : require
#define BITS_ONLY
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[i] = scale · (h(seed + i) / 2^24 − 1/2), h a hash of 24 bits: uniform in ± scale/2, the same on every device
//
// y [elements] weight dtype, of which element 0 is number `first`. One invocation a word; no loop but that over its elements.
// h is PCG's output function (O'Neill 2014, RXS-M-XS 32) over one step of its generator, without the low byte.

layout(push_constant) uniform Push { uint elements; uint first; uint seed; float scale; };
layout(binding = 0) writeonly buffer Y { uint y[]; };

float value(uint i) {
    uint s = (seed + first + i) * 747796405u + 2891336453u;
    uint h = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    h = (h >> 22u) ^ h;
    return float(int(h >> 8) - 8388608) * (scale / 16777216.0);
}

void main() {
    uint word = gl_GlobalInvocationID.x, i = word * WEIGHTS_PER_WORD;
    if (i >= elements) return;
    uint bits = to_bits(value(i));
#if WEIGHTS_PER_WORD == 2
    bits &= 0xffffu;
    if (i + 1 < elements) bits |= to_bits(value(i + 1)) << 16;
#endif
    y[word] = bits;
}
