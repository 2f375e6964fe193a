#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// x[t, h·d + i], x[t, h·d + i + d/2] turned by the opposite of the angle i of the row's position, d = 2·HALF: the gradient of RoPE, Su et al.
// 2021, arXiv 2104.09864
//
// x, y [rows, cols] f32, y being x · table [positions, 2·HALF] f32: the cosines of a position, then the sines.
// Row t of the dispatch is row skip_x + t of the bound x, its position row skip_table + (first + t) % window of the bound table.
// One invocation UNIT pairs, four where HALF is a multiple of four, of ROWS rows, which is the number of iterations. With TEXELS, for
// drivers that run on the CPU: HALF a multiple of four. The table is the host's: Vulkan's sin and cos promise 2^-11 within ±π.

layout(constant_id = 1) const uint HALF = 1;
layout(constant_id = 2) const uint ROWS = 1;

const uint UNIT = HALF % 4 == 0 ? 4 : 1;

layout(push_constant) uniform Push { uint cols; uint rows; uint window; uint first; uint skip_x; uint skip_table; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x4;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer table4;
#define LOAD(name, at) uintBitsToFloat(imageLoad(name##4, int((at) / 4)))
#else
layout(binding = 0) readonly  buffer X4 { vec4  x4[]; };
layout(binding = 0) readonly  buffer X  { float x[]; };
layout(binding = 1) readonly  buffer T4 { vec4  table4[]; };
layout(binding = 1) readonly  buffer T  { float table[]; };
#define LOAD(name, at) (UNIT == 4 ? name##4[(at) / 4] : vec4(name[at], 0.0, 0.0, 0.0))
#endif
layout(binding = 2) writeonly buffer Y4 { vec4  y4[]; };
layout(binding = 2) writeonly buffer Y  { float y[]; };
#define STORE(at, value) { if (UNIT == 4) y4[(at) / 4] = value; else y[at] = value.x; }

void main() {
    uint pair = gl_GlobalInvocationID.x * UNIT, t = gl_WorkGroupID.y * ROWS;
    if (2 * pair >= cols) return;
    uint i = pair % HALF, at = (skip_x + t) * cols + pair / HALF * 2 * HALF + i;
    uint position = (first + t) % window, end = min(t + ROWS, rows);
    do { // at its end, or drivers on the CPU load for each lane by itself
        uint angle = (skip_table + position) * 2 * HALF + i;
        vec4 c = LOAD(table, angle), s = -LOAD(table, angle + HALF), u = LOAD(x, at), v = LOAD(x, at + HALF);
        STORE(at, (u * c - v * s))
        STORE(at + HALF, (v * c + u * s))
        at += cols;
        position = position + 1 == window ? 0 : position + 1;
    } while (++t < end);
}
