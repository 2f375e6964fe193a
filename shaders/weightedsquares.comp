#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t] = Σ_i (sqrt(w[t])·x[t,i])²
//
// x [rows, cols] f32 · w, y [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; any cols; no subgroup operations. cols/WORKGROUP iterations.

layout(push_constant) uniform Push { uint cols; uint first; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer W { float w[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

void main() {
    uint row = gl_WorkGroupID.x * cols, t = first + gl_WorkGroupID.x;
    float by = sqrt(w[t]), sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < cols; i += WORKGROUP) {
        float v = by * x[row + i];
        sum = fma(v, v, sum);
    }
    sum = workgroup_sum(sum);
    if (gl_LocalInvocationID.x == 0) y[t] = sum;
}
