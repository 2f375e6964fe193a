#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t,i] = (x[t,i] − m) · rsqrt(mean_i (x[t,i] − m)² + eps) · w[i] + b[i], m = mean_i x[t,i]          LayerNorm, Ba et al. 2016, arXiv 1607.06450
//
// x [rows, hidden] f32 · w, b [hidden] weight dtype · y [rows, hidden] f32, may be x
// One workgroup a row; f32 accumulation, the variance in a second pass, around the mean; any hidden; no subgroup operations.
// 3·hidden/4/WORKGROUP iterations: far from lavapipe's 65,535.

layout(constant_id = 1) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(push_constant) uniform Push { uint hidden; float eps; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer W { uint  w[]; };
layout(binding = 1) readonly  buffer W4 { words4 w4[]; };
layout(binding = 2) readonly  buffer B { uint  b[]; };
layout(binding = 2) readonly  buffer B4 { words4 b4[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };
layout(binding = 3) writeonly buffer Y4 { vec4 y4[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * hidden, first = 4 * gl_LocalInvocationID.x, step = 4 * WORKGROUP;
    vec4 sums = vec4(0.0), squares = vec4(0.0);
    for (uint i = first; i < hidden; i += step) sums += FOUR(x, row + i, hidden - i, 0.0);
    float mean = workgroup_sum(sum_of(sums)) / float(hidden);
    for (uint i = first; i < hidden; i += step) {
        vec4 v = FOUR(x, row + i, hidden - i, mean) - mean; // 0 beyond the row
        squares += v * v;
    }
    float scale = inversesqrt(workgroup_sum(sum_of(squares)) / float(hidden) + eps);
    for (uint i = first; i < hidden; i += step) {
        uint left = hidden - i;
        vec4 v = (FOUR(x, row + i, left, 0.0) - mean) * scale * FOUR_WEIGHTS(w, i, left) + FOUR_WEIGHTS(b, i, left);
        STORE_FOUR(y, row + i, left, v)
    }
}
