#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// Reads all of x and does next to nothing with it: the bandwidth that other kernels can hope for.
//
// x [quads] uvec4, a multiple of READS · WORKGROUP · workgroups; y is written if the words' exclusive or is `never`
// An invocation reads READS quads, neighbours next to each other. With TEXELS x is a texel buffer: what a CPU driver reads fastest.

layout(push_constant) uniform Push { uint never; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
#define LOAD(i) imageLoad(x, int(i))
#else
layout(binding = 0) readonly buffer X { uvec4 x[]; };
#define LOAD(i) x[i]
#endif
layout(binding = 1) writeonly buffer Y { uint y[]; };

const uint READS = 16; // readsOfInvocation in model/bench

void main() {
    uint at = gl_WorkGroupID.x * WORKGROUP * READS + gl_LocalInvocationID.x;
    uvec4 all = uvec4(0);
    [[unroll]] for (uint i = 0; i < READS; i++) all ^= LOAD(at + i * WORKGROUP);
    if ((all.x ^ all.y ^ all.z ^ all.w) == never) y[0] = all.x;
}
