#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[i] = f(f(…f(x[i]))), `rounds` times f(v) = v · mul + add + EXTRA          in 32-bit unsigned arithmetic
//
// x, y [n] u32; y may be x. One invocation an element; a grid of width × height × any workgroups in row-major order, so that a
// dispatch may be cut along any axis. rounds ≤ 60 000: lavapipe 22.3 stops loops after 65,535 iterations.

layout(constant_id = 1) const uint EXTRA = 0;
layout(push_constant) uniform Push { uint n, width, height, rounds, mul, add; };
layout(binding = 0) readonly  buffer X { uint x[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };

void main() {
    uint group = (gl_WorkGroupID.z * height + gl_WorkGroupID.y) * width + gl_WorkGroupID.x;
    uint i = group * WORKGROUP + gl_LocalInvocationID.x;
    if (i >= n) return;
    uint v = x[i];
    for (uint k = 0; k < rounds; k++)
        v = v * mul + add + EXTRA;
    y[i] = v;
}
