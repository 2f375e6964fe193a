#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t] = Σ_i (sqrt(w[t])·x[t,i])²
//
// x [rows, cols] f32 · w, y [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; any cols; no subgroup operations. cols/4/WORKGROUP iterations.

layout(constant_id = 1) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(push_constant) uniform Push { uint cols; uint first; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer W { float w[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * cols, t = first + gl_WorkGroupID.x;
    float by = sqrt(w[t]);
    vec4 squares = vec4(0.0);
    for (uint i = 4 * gl_LocalInvocationID.x; i < cols; i += 4 * WORKGROUP) {
        vec4 v = by * FOUR(x, row + i, cols - i, 0.0);
        squares = fma(v, v, squares);
    }
    float sum = workgroup_sum(sum_of(squares));
    if (gl_LocalInvocationID.x == 0) y[t] = sum;
}
