#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// partial[first + b] = Σ g[i]² over block b of 1024 elements; gradnorm_total.comp adds the partials up
//
// g [count] f32 · partial f32
// One workgroup a block, WORKGROUP at most 256. With TEXELS, for drivers that run on the CPU, count is a multiple of 4.

layout(push_constant) uniform Push { uint count; uint first; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer g;
#else
layout(binding = 0) readonly  buffer G4 { vec4 g4[]; };
layout(binding = 0) readonly  buffer G { float g[]; };
#endif
layout(binding = 1) writeonly buffer Partial { float partial[]; };

const uint QUADS = 256; // of a block: gradBlock in model/op/gradnorm.go

// Elements 4i to 4i + 3, zeros beyond the end.
vec4 quad(uint i) {
#if defined(TEXELS)
    return 4 * i < count ? uintBitsToFloat(imageLoad(g, int(i))) : vec4(0.0);
#else
    if (4 * i + 4 <= count) return g4[i];
    vec4 v = vec4(0.0);
    for (uint e = 4 * i; e < count; e++) v[e - 4 * i] = g[e];
    return v;
#endif
}

void main() {
    uint begin = gl_WorkGroupID.x * QUADS + gl_LocalInvocationID.x;
    vec4 squares = vec4(0.0);
    [[unroll]] for (uint j = 0; j < QUADS; j += WORKGROUP) {
        vec4 v = quad(begin + j);
        squares = fma(v, v, squares);
    }
    float sum = workgroup_sum(dot(squares, vec4(1.0)));
    if (gl_LocalInvocationID.x == 0) partial[first + gl_WorkGroupID.x] = sum;
}
