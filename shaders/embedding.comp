#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[t,:] = table[tokens[t] − first, :]     where first ≤ tokens[t] < first + rows; other rows of y stay as they are
//
// y [.., hidden] f32 · table [rows, hidden] weight dtype · tokens [..] u32, of which the first of y is number `token`
// One workgroup a row of y; any hidden; hidden/WORKGROUP iterations; no subgroup operations.

layout(push_constant) uniform Push { uint hidden; uint rows; uint first; uint token; };
layout(binding = 0) readonly  buffer Table { uint table[]; };
layout(binding = 1) readonly  buffer Tokens { uint tokens[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

void main() {
    uint from = tokens[token + gl_WorkGroupID.x] - first; // wraps where it is before the first
    if (from >= rows) return;
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP)
        y[gl_WorkGroupID.x * hidden + i] = load_weight(table, from * hidden + i);
}
