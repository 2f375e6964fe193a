#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// total[slot] (+)= Σ_t loss[t]
//
// loss [n] f32 · total f32
// One workgroup. An invocation's sum is compensated (Kahan 1965), so that its roundings do not grow with n, and those of the invocations
// are added in pairs. n/WORKGROUP iterations: below lavapipe's 65,535 for n ≤ 4 million.

layout(push_constant) uniform Push { uint n; uint slot; uint more; };
layout(binding = 0) readonly buffer Loss { float loss[]; };
layout(binding = 1) buffer Total { float total[]; };

void main() {
    precise float sum = 0.0, lost = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n; i += WORKGROUP) {
        precise float term = loss[i] - lost, next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    float all = workgroup_sum(sum);
    if (gl_LocalInvocationID.x == 0) total[slot] = more != 0 ? total[slot] + all : all;
}
