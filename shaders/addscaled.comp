#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[i] = residual[i] + scale · x[i]
//
// x, residual, y [count] f32; y may be x or residual
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(push_constant) uniform Push { uint count; float scale; };

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer residual;
layout(binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    y[i] = uintBitsToFloat(imageLoad(residual, int(i))) + scale * uintBitsToFloat(imageLoad(x, int(i)));
}
#else
layout(binding = 0) readonly  buffer X4 { vec4  x4[]; };
layout(binding = 0) readonly  buffer X  { float x[]; };
layout(binding = 1) readonly  buffer R4 { vec4  residual4[]; };
layout(binding = 1) readonly  buffer R  { float residual[]; };
layout(binding = 2) writeonly buffer Y4 { vec4  y4[]; };
layout(binding = 2) writeonly buffer Y  { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        y4[i] = residual4[i] + scale * x4[i];
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = residual[e] + scale * x[e];
}
#endif
