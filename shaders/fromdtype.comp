#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[i] = w[i], exactly
//
// w [count] weight dtype · y [count] f32
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.

layout(push_constant) uniform Push { uint count; };
layout(binding = 0) readonly  buffer W4 { words4 w4[]; };
layout(binding = 0) readonly  buffer W { uint w[]; };
layout(binding = 1) writeonly buffer Y4 { uvec4 y4[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };

void main() {
    uint i = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (4 * i + 4 <= count) {
        y4[i] = floatBitsToUint(unpack4(w4[i]));
        return;
    }
    for (uint e = 4 * i; e < count; e++)
        y[e] = floatBitsToUint(load_weight(w, e));
}
