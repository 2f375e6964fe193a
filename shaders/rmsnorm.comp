#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t,i] = x[t,i] · rsqrt(mean_i x[t,i]² + eps) · w[i]          RMSNorm, Zhang & Sennrich 2019, arXiv 1910.07467
//
// x [rows, hidden] f32 · w [hidden] weight dtype · y [rows, hidden] f32, may be x
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations.

layout(push_constant) uniform Push { uint hidden; float eps; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer W { uint  w[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

void main() {
    uint row = gl_WorkGroupID.x * hidden;
    float squares = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        squares += x[row + i] * x[row + i];
    float scale = inversesqrt(workgroup_sum(squares) / float(hidden) + eps);
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        y[row + i] = x[row + i] * scale * load_weight(w, i);
}
