#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// Sorts the pairs of a token and an expert that it chose by the expert, those of one in their order:
//   offsets[e] = how many pairs have an expert below e · place[p] = where pair p goes · row[place[p]] = p / chosen, its token
//
// choice [pairs] u32, below `experts` · offsets [experts + 1] u32 · place, row [pairs] u32
// One workgroup an expert: an invocation goes through a part of the pairs twice, to count and to place them. No atomics, so that the order
// is the same each time. 2·pairs/WORKGROUP iterations: below lavapipe's 65,535 for pairs ≤ 2 million; no subgroup operations.

layout(push_constant) uniform Push { uint pairs; uint chosen; uint experts; };
layout(binding = 0) readonly  buffer Choice { uint choice[]; };
layout(binding = 1) writeonly buffer Offsets { uint offsets[]; };
layout(binding = 2) writeonly buffer Place { uint place[]; };
layout(binding = 3) writeonly buffer Row { uint row[]; };

shared uint lower[WORKGROUP], own[WORKGROUP];

void main() {
    uint lane = gl_LocalInvocationID.x, expert = gl_WorkGroupID.x;
    uint each = (pairs + WORKGROUP - 1) / WORKGROUP, begin = min(lane * each, pairs), end = min(begin + each, pairs);
    uint below = 0, equal = 0;
    for (uint p = begin; p < end; p++) {
        uint e = choice[p];
        below += e < expert ? 1u : 0u;
        equal += e == expert ? 1u : 0u;
    }
    lower[lane] = below;
    own[lane] = equal;
    barrier();
    uint at = 0;
    for (uint i = 0; i < WORKGROUP; i++) at += lower[i];
    if (lane == 0) {
        offsets[expert] = at;
        if (expert == experts - 1) offsets[experts] = pairs;
    }
    for (uint i = 0; i < lane; i++) at += own[i];
    for (uint p = begin; p < end; p++)
        if (choice[p] == expert) {
            place[p] = at;
            row[at] = p / chosen;
            at++;
        }
}
