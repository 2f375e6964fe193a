#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[i] = a[i] + b[i]
//
// a, b, y [count] f32; y may be a or b
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(push_constant) uniform Push { uint count; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer a;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer b;
layout(binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    y[i] = uintBitsToFloat(imageLoad(a, int(i))) + uintBitsToFloat(imageLoad(b, int(i)));
}
#else
layout(binding = 0) readonly  buffer A4 { vec4  a4[]; };
layout(binding = 0) readonly  buffer A  { float a[]; };
layout(binding = 1) readonly  buffer B4 { vec4  b4[]; };
layout(binding = 1) readonly  buffer B  { float b[]; };
layout(binding = 2) writeonly buffer Y4 { vec4  y4[]; };
layout(binding = 2) writeonly buffer Y  { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        y4[i] = a4[i] + b4[i];
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = a[e] + b[e];
}
#endif
