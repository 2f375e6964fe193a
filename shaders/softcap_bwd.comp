#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// dx[i] = scale · dy[i] · (1 − (y[i] / cap)²) of y = cap · tanh(scale · x / cap)          Gemma 2, arXiv 2408.00118, section 2
//
// dy, y, dx [count] f32; dx may be dy or y
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(push_constant) uniform Push { uint count; float scale; float cap; };

vec4 back(vec4 d, vec4 v) {
    vec4 t = v / cap;
    return scale * d * ((1.0 - t) * (1.0 + t));
}

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer dy;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 2) writeonly buffer DX { vec4 dx[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    dx[i] = back(uintBitsToFloat(imageLoad(dy, int(i))), uintBitsToFloat(imageLoad(y, int(i))));
}
#else
layout(binding = 0) readonly  buffer DY4 { vec4  dy4[]; };
layout(binding = 0) readonly  buffer DY  { float dy[]; };
layout(binding = 1) readonly  buffer Y4  { vec4  y4[]; };
layout(binding = 1) readonly  buffer Y   { float y[]; };
layout(binding = 2) writeonly buffer DX4 { vec4  dx4[]; };
layout(binding = 2) writeonly buffer DX  { float dx[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        dx4[i] = back(dy4[i], y4[i]);
        return;
    }
    for (uint e = first; e < count; e++)
        dx[e] = back(vec4(dy[e]), vec4(y[e])).x;
}
#endif
