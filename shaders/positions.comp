#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[t,i] += table[skip_table + (first + t) % window, i]: learned positions
//
// y [rows, hidden] f32 · table [positions, hidden] weight dtype
// Row t of the dispatch is row skip_y + t of the bound y. One invocation an element, no loop.

layout(push_constant) uniform Push { uint hidden; uint window; uint first; uint skip_y; uint skip_table; };
layout(binding = 0) buffer Y { float y[]; };
layout(binding = 1) readonly buffer Table { uint table[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (i < hidden) y[(skip_y + t) * hidden + i] += load_weight(table, (skip_table + (first + t) % window) * hidden + i);
}
