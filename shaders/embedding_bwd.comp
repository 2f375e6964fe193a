#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// table[ids[n] − first, :] += Σ_t dy[t, :] over the t = order[starts[n]], …, order[starts[n+1] − 1] in [row, row + rows), one by one in
// this order, which is ascending; where first ≤ ids[n] < first + table_rows
//
// table [table_rows, hidden], dy [rows, hidden] f32, dy from row `row` of the whole on · ids, starts, order u32
// Workgroup (g, c) is number n = id + g and the columns c·WORKGROUP on, one an invocation. rows + 32 iterations: at most 32,768 rows a
// dispatch, as lavapipe 22.3 stops at 65,535.
//
// With TEXELS, for drivers that run on the CPU: hidden a multiple of 4, four columns an invocation.

layout(push_constant) uniform Push { uint hidden; uint table_rows; uint first; uint id; uint row; uint rows; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform uimageBuffer table;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer dy;
#define VALUES vec4
#define COLUMNS 4
#define TABLE(i) uintBitsToFloat(imageLoad(table, int(i)))
#define STORE(i, v) imageStore(table, int(i), floatBitsToUint(v))
#define DY(i) uintBitsToFloat(imageLoad(dy, int(i)))
#else
layout(binding = 0) buffer Table { float table[]; };
layout(binding = 1) readonly buffer Dy { float dy[]; };
#define VALUES float
#define COLUMNS 1
#define TABLE(i) table[i]
#define STORE(i, v) table[i] = v
#define DY(i) dy[i]
#endif
layout(binding = 2) readonly buffer Ids { uint ids[]; };
layout(binding = 3) readonly buffer Starts { uint starts[]; };
layout(binding = 4) readonly buffer Order { uint order[]; };

void main() {
    uint n = id + gl_WorkGroupID.x, c = gl_WorkGroupID.y * WORKGROUP + gl_LocalInvocationID.x, width = hidden / COLUMNS;
    uint to = ids[n] - first; // wraps where it is before the first
    if (to >= table_rows || c >= width) return;
    uint low = starts[n], end = starts[n + 1], high = end;
    if (row > 0) while (low < high) { // to the first in range
        uint middle = (low + high) / 2;
        if (order[middle] < row) low = middle + 1; else high = middle;
    }
    if (low == end) return;
    uint t = order[low] - row;
    if (t >= rows) return;
    VALUES sum = TABLE(to * width + c);
    do { // at its end, or drivers on the CPU load for each lane by itself
        sum += DY(t * width + c);
        low++;
        t = low < end ? order[low] - row : rows;
    } while (t < rows);
    STORE(to * width + c, sum);
}
