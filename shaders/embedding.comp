#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[t,:] = table[tokens[t] − first, :]     where first ≤ tokens[t] < first + rows; other rows of y stay as they are
//
// y [.., hidden] f32 · table [rows, hidden] weight dtype · tokens [..] u32, of which the first of y is number `token`
// One workgroup a row of y; any hidden; hidden/4/WORKGROUP iterations; no subgroup operations.

layout(constant_id = 1) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(push_constant) uniform Push { uint hidden; uint rows; uint first; uint token; };
layout(binding = 0) readonly  buffer Table { uint table[]; };
layout(binding = 0) readonly  buffer Table4 { words4 table4[]; };
layout(binding = 1) readonly  buffer Tokens { uint tokens[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };
layout(binding = 2) writeonly buffer Y4 { vec4 y4[]; };
#include "common/fours.glsl"

void main() {
    uint from = tokens[token + gl_WorkGroupID.x] - first; // wraps where it is before the first
    if (from >= rows) return;
    for (uint i = 4 * gl_LocalInvocationID.x; i < hidden; i += 4 * WORKGROUP) {
        uint left = hidden - i;
        vec4 v = FOUR_WEIGHTS(table, from * hidden + i, left);
        STORE_FOUR(y, gl_WorkGroupID.x * hidden + i, left, v)
    }
}
