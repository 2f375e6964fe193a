#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// dx[i] = dy[i] where y[i] > 0, else 0
//
// dy, y, dx [count] f32; dx may be dy or y
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(push_constant) uniform Push { uint count; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer dy;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 2) writeonly buffer Dx { vec4 dx[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (4 * i >= count) return;
    vec4 d = uintBitsToFloat(imageLoad(dy, int(i))), v = uintBitsToFloat(imageLoad(y, int(i)));
    dx[i] = mix(vec4(0.0), d, greaterThan(v, vec4(0.0)));
}
#else
layout(binding = 0) readonly  buffer Dy4 { vec4  dy4[]; };
layout(binding = 0) readonly  buffer Dy  { float dy[]; };
layout(binding = 1) readonly  buffer Y4  { vec4  y4[]; };
layout(binding = 1) readonly  buffer Y   { float y[]; };
layout(binding = 2) writeonly buffer Dx4 { vec4  dx4[]; };
layout(binding = 2) writeonly buffer Dx  { float dx[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        dx4[i] = mix(vec4(0.0), dy4[i], greaterThan(y4[i], vec4(0.0)));
        return;
    }
    for (uint e = first; e < count; e++)
        dx[e] = y[e] > 0.0 ? dy[e] : 0.0;
}
#endif
