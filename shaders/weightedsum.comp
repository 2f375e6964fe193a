#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// scratch[i] (+)= weight · x[i]; with the last term, y[i] = scratch[i] to nearest even in the dtype instead
//
// x, y [n] one dtype · scratch [n] f32; `first` starts it anew
// One invocation a 32-bit word of x and y. f32 accumulation, each product and each sum rounded (no fused multiply-add), so that every
// device gives the same bits.

layout(push_constant) uniform Push { uint n; float weight; uint first; uint last; };
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) buffer Scratch { float scratch[]; };
layout(binding = 2) buffer Y { uint y[]; };

float term(uint i) {
    precise float v = weight * load_weight(x, i);
    if (first == 0) v += scratch[i];
    return v;
}

void main() {
    uint w = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x, i = w * WEIGHTS_PER_WORD;
    if (i >= n) return;
    bool pair = WEIGHTS_PER_WORD == 2 && i + 1 < n;
    float low = term(i), high = pair ? term(i + 1) : 0.0;
    if (last == 0) {
        scratch[i] = low;
        if (pair) scratch[i + 1] = high;
        return;
    }
#if WEIGHTS_PER_WORD == 1
    y[w] = to_bits(low);
#else
    y[w] = to_bits(low) | (pair ? to_bits(high) << 16 : y[w] & 0xffff0000u); // an odd tensor's last word is shared with what follows
#endif
}
