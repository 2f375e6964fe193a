#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// table[skip_table + p, i] += Σ_t dy[t, i] over the t of [row, row + rows) with t % window = position + p, one by one in ascending order
//
// table [.., hidden], dy [rows, hidden] f32, dy from row `row` of the whole on
// One invocation an element, gl_WorkGroupID.y is p. rows/window iterations: at most 32,768 rows a dispatch, as lavapipe 22.3 stops at
// 65,535.

layout(push_constant) uniform Push { uint hidden; uint window; uint position; uint skip_table; uint row; uint rows; };
layout(binding = 0) buffer Table { float table[]; };
layout(binding = 1) readonly buffer Dy { float dy[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, p = gl_WorkGroupID.y;
    if (i >= hidden) return;
    uint to = (skip_table + p) * hidden + i;
    float sum = table[to];
    for (uint t = (position + p + window - row % window) % window; t < rows; t += window)
        sum += dy[t * hidden + i];
    table[to] = sum;
}
