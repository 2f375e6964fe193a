#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t,i] = (x[t,i] − m) · rsqrt(mean_i (x[t,i] − m)² + eps) · w[i] + b[i], m = mean_i x[t,i]          LayerNorm, Ba et al. 2016, arXiv 1607.06450
//
// x [rows, hidden] f32 · w, b [hidden] weight dtype · y [rows, hidden] f32, may be x
// One workgroup a row; f32 accumulation, the variance in a second pass, around the mean; any hidden; no subgroup operations.
// 3·hidden/WORKGROUP iterations: below lavapipe's 65,535 for hidden ≤ 87,000 with 4 invocations.

layout(push_constant) uniform Push { uint hidden; float eps; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer W { uint  w[]; };
layout(binding = 2) readonly  buffer B { uint  b[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };

void main() {
    uint row = gl_WorkGroupID.x * hidden;
    float sum = 0.0, squares = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        sum += x[row + i];
    float mean = workgroup_sum(sum) / float(hidden);
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        squares += (x[row + i] - mean) * (x[row + i] - mean);
    float scale = inversesqrt(workgroup_sum(squares) / float(hidden) + eps);
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        y[row + i] = (x[row + i] - mean) * scale * load_weight(w, i) + load_weight(b, i);
}
