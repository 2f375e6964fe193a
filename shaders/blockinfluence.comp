#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// influence[t] = 1 − clamp(cos(x[t], y[t]), 0, 1)          ShortGPT, arXiv 2403.03853; a cosine that is not a number counts as 0.5
//
// x, y [rows, hidden] f32 · influence [all rows] f32, from element `first` on
// One workgroup a row, with TEXELS one invocation; f32 accumulation; no subgroup operations. Precision: common/cosine.glsl.

layout(push_constant) uniform Push { uint hidden; uint first; uint rows; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
#else
layout(constant_id = 1) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 1) readonly  buffer Y4 { vec4 y4[]; };
#endif
layout(binding = 2) writeonly buffer Influence { float influence[]; };

#include "common/cosine.glsl"

void main() {
    if (ROW >= rows) return; // all invocations of a workgroup, or with TEXELS this one
    float d = one_minus_cosine(ROW, hidden);
    if (WRITES) influence[first + ROW] = d;
}
