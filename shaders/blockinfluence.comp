#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// influence[t] = 1 − clamp(cos(x[t], y[t]), 0, 1)          ShortGPT, arXiv 2403.03853; a cosine that is not a number counts as 0.5
//
// x, y [rows, hidden] f32 · influence [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; no subgroup operations. Precision: common/cosine.glsl.

layout(push_constant) uniform Push { uint hidden; uint first; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 2) writeonly buffer Influence { float influence[]; };

#include "common/cosine.glsl"

void main() {
    float d = one_minus_cosine(gl_WorkGroupID.x * hidden, hidden);
    if (gl_LocalInvocationID.x == 0) influence[first + gl_WorkGroupID.x] = d;
}
