#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[i] = gate[i] · σ(gate[i]) · up[i], σ(z) = 1/(1 + e^−z)          Shazeer 2020, arXiv 2002.05202
//
// gate, up, y [count] f32; y may be gate or up
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.

layout(push_constant) uniform Push { uint count; };
layout(binding = 0) readonly  buffer Gate4 { vec4  gate4[]; };
layout(binding = 0) readonly  buffer Gate  { float gate[]; };
layout(binding = 1) readonly  buffer Up4   { vec4  up4[]; };
layout(binding = 1) readonly  buffer Up    { float up[]; };
layout(binding = 2) writeonly buffer Y4    { vec4  y4[]; };
layout(binding = 2) writeonly buffer Y     { float y[]; };

// e^−|z| never overflows: a device need not have infinities. σ(z) is e^z/(1 + e^z) where z is negative.
vec4 swish(vec4 z) {
    vec4 e = exp(-abs(z));
    return z * mix(vec4(1.0), e, lessThan(z, vec4(0.0))) / (1.0 + e);
}

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        y4[i] = swish(gate4[i]) * up4[i];
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = swish(vec4(gate[e])).x * up[e];
}
