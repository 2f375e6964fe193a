#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// angle[t] = arccos(clamp(cos(x[t], y[t]), 0, 1))/π          a cosine that is not a number counts as 0.5
//
// x, y [rows, hidden] f32 · angle [all rows] f32, from element `first` on
// One workgroup a row, with TEXELS one invocation; f32 accumulation; no subgroup operations. Precision: common/cosine.glsl, half of its relative error.

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
layout(binding = 2) writeonly buffer Angle { float angle[]; };

#include "common/cosine.glsl"

// arccos(1 − 2z)/π = 2/π · arcsin(√z) for z in [0, 1/2]. Vulkan allows its own acos an error of 4096 ulp and more. The polynomial
// interpolates 2/π · arcsin(√z)/√z at the Chebyshev nodes of that interval: relative error 1.8e-8, in f32 1.8e-7 and sqrt's own.
float angle_of(float z) {
    float p = 0.0698206263;
    p = p * z - 0.0573506668;
    p = p * z + 0.0480901009;
    p = p * z + 0.010651533;
    p = p * z + 0.0295906278;
    p = p * z + 0.0476708171;
    p = p * z + 0.106105129;
    p = p * z + 0.636619765;
    return p * sqrt(z);
}

void main() {
    if (ROW >= rows) return; // all invocations of a workgroup, or with TEXELS this one
    float d = one_minus_cosine(ROW, hidden);
    if (WRITES) angle[first + ROW] = angle_of(0.5 * d);
}
