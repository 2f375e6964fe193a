#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/silu.glsl"

// y[i] = gate[i] · σ(gate[i]) · up[i], σ(z) = 1/(1 + e^−z), or with GELU gelu(gate[i]) · up[i]          Shazeer 2020, arXiv 2002.05202
//
// gate, up, y [count] f32; y may be gate or up
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(constant_id = 1) const uint GELU = 0;
layout(push_constant) uniform Push { uint count; };

vec4 activated(vec4 z) { return GELU != 0 ? gelu(z) : silu(z); }

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer gate;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
layout(binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    y[i] = activated(uintBitsToFloat(imageLoad(gate, int(i)))) * uintBitsToFloat(imageLoad(up, int(i)));
}
#else
layout(binding = 0) readonly  buffer Gate4 { vec4  gate4[]; };
layout(binding = 0) readonly  buffer Gate  { float gate[]; };
layout(binding = 1) readonly  buffer Up4   { vec4  up4[]; };
layout(binding = 1) readonly  buffer Up    { float up[]; };
layout(binding = 2) writeonly buffer Y4    { vec4  y4[]; };
layout(binding = 2) writeonly buffer Y     { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        y4[i] = activated(gate4[i]) * up4[i];
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = activated(vec4(gate[e])).x * up[e];
}
#endif
