#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[t,i] = residual[t,i] + Σ_c share[t,c] · x[place[t,c], i], added up in the order of c
//
// x [pairs, cols] f32 · share [tokens, chosen] f32 · place [tokens, chosen] u32 · residual, y [tokens, cols] f32, y may be residual
// An invocation an element: WORKGROUP columns of a token a workgroup; any shape; no subgroup operations; nothing is contracted.

layout(push_constant) uniform Push { uint cols; uint chosen; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer Share { float share[]; };
layout(binding = 2) readonly  buffer Place { uint place[]; };
layout(binding = 3) readonly  buffer Residual { float residual[]; };
layout(binding = 4) writeonly buffer Y { float y[]; };

void main() {
    uint i = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x, t = gl_WorkGroupID.y;
    if (i >= cols) return;
    precise float sum = 0.0;
    for (uint c = 0; c < chosen; c++) {
        precise float term = share[t * chosen + c] * x[place[t * chosen + c] * cols + i];
        sum += term;
    }
    y[t * cols + i] = residual[t * cols + i] + sum;
}
