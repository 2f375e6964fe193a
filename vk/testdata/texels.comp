#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[4t + c] = x[t][c] + seed        x a texel buffer of rgba32ui, one invocation a texel

layout(push_constant) uniform Push { uint texels, seed; };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };

void main() {
    uint t = gl_GlobalInvocationID.x;
    if (t < texels) y[t] = imageLoad(x, int(t)) + seed;
}
