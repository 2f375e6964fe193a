#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[i] = 0 where x[i] < 0, else x[i]: NaN stays NaN, which max(x, 0) need not keep
//
// x, y [count] f32; y may be x
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(push_constant) uniform Push { uint count; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    vec4 v = uintBitsToFloat(imageLoad(x, int(i)));
    y[i] = mix(v, vec4(0.0), lessThan(v, vec4(0.0)));
}
#else
layout(binding = 0) readonly  buffer X4 { vec4  x4[]; };
layout(binding = 0) readonly  buffer X  { float x[]; };
layout(binding = 1) writeonly buffer Y4 { vec4  y4[]; };
layout(binding = 1) writeonly buffer Y  { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        vec4 v = x4[i];
        y4[i] = mix(v, vec4(0.0), lessThan(v, vec4(0.0)));
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = x[e] < 0.0 ? 0.0 : x[e];
}
#endif
