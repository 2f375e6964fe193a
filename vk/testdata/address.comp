#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#include "common/workgroup.glsl"

// y[i] = x[n-1-i]        x read at its address, one invocation an element

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint v[]; };
layout(push_constant) uniform Push { uint n, unused; Words x; };
layout(binding = 0) writeonly buffer Y { uint y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < n) y[i] = x.v[n - 1 - i];
}
