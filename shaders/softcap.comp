#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/tanh.glsl"

// y[i] = scale · x[i], and where CAPPED cap · tanh(that / cap)          Gemma 2, arXiv 2408.00118, section 2
//
// x, y [count] f32; y may be x
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(constant_id = 1) const uint CAPPED = 0;
layout(push_constant) uniform Push { uint count; float scale; float cap; };

vec4 capped(vec4 v) {
    v *= scale;
    return CAPPED != 0 ? cap * tanh_of(v / cap) : v;
}

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    y[i] = capped(uintBitsToFloat(imageLoad(x, int(i))));
}
#else
layout(binding = 0) readonly  buffer X4 { vec4  x4[]; };
layout(binding = 0) readonly  buffer X  { float x[]; };
layout(binding = 1) writeonly buffer Y4 { vec4  y4[]; };
layout(binding = 1) writeonly buffer Y  { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        y4[i] = capped(x4[i]);
        return;
    }
    for (uint e = first; e < count; e++)
        y[e] = capped(vec4(x[e])).x;
}
#endif
