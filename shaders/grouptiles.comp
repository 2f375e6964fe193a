#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// The tiles of `height` rows at most that cover the rows of groups, group after group, of which each begins a tile:
//   tiles[3·i] = the first row, tiles[3·i + 1] = the end of the rows, tiles[3·i + 2] = the group; beyond the last tile all are 0
//
// offsets [groups + 1] u32, ascending · tiles [count, 3] u32, count ≥ rows/height + groups
// One workgroup; groups/WORKGROUP · groups and count/WORKGROUP iterations, and those of a group's tiles: below lavapipe's 65,535 for 1024
// groups, WORKGROUP 64 and 60,000 tiles; no subgroup operations.

layout(push_constant) uniform Push { uint groups; uint height; uint count; };
layout(binding = 0) readonly  buffer Offsets { uint offsets[]; };
layout(binding = 1) writeonly buffer Tiles { uint tiles[]; };

void main() {
    uint lane = gl_LocalInvocationID.x;
    uint at = 0, seen = 0; // tiles of the groups before
    for (uint g = lane; g < groups; g += WORKGROUP) {
        for (; seen < g; seen++) at += (offsets[seen + 1] - offsets[seen] + height - 1) / height;
        uint i = at;
        for (uint m = offsets[g]; m < offsets[g + 1]; m += height) {
            tiles[3 * i] = m;
            tiles[3 * i + 1] = min(m + height, offsets[g + 1]);
            tiles[3 * i + 2] = g;
            i++;
        }
    }
    for (; seen < groups; seen++) at += (offsets[seen + 1] - offsets[seen] + height - 1) / height;
    for (uint i = at + lane; i < count; i += WORKGROUP) {
        tiles[3 * i] = 0;
        tiles[3 * i + 1] = 0;
        tiles[3 * i + 2] = 0;
    }
}
