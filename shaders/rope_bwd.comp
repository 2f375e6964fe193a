#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/pairs.glsl"

// x[t, h·d + i], x[t, h·d + i + ROTARY/2], or with INTERLEAVED x[t, h·d + 2i], x[t, h·d + 2i + 1], turned by the opposite of the angle
// i < ROTARY/2 of the row's position: the gradient of RoPE, Su et al. 2021, arXiv 2104.09864. The other channels of a head stay.
//
// x, y [rows, cols] f32, y being x · table [positions, ROTARY] f32: the cosines of a position, then the sines.
// Row t of the dispatch is row skip_x + t of the bound x, its position row skip_table + (first + t) % window of the bound table.
// One invocation UNIT pairs, four where d and ROTARY are multiples of eight, of ROWS rows, which is the number of iterations. With TEXELS, for
// drivers that run on the CPU: d and ROTARY multiples of eight. The table is the host's: Vulkan's sin and cos promise 2^-11 within ±π.

layout(constant_id = 1) const uint HEAD_DIM = 2;
layout(constant_id = 2) const uint ROTARY = 2;
layout(constant_id = 3) const uint INTERLEAVED = 0;
layout(constant_id = 4) const uint ROWS = 1;

const uint UNIT = (HEAD_DIM | ROTARY) % 8 == 0 ? 4 : 1;
const uint HALF = ROTARY / 2;
const uint APART = INTERLEAVED != 0 ? UNIT : HALF; // what is read with a unit

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
    if (pair >= cols / HEAD_DIM * HALF) return;
    uint i = pair % HALF, at = (skip_x + t) * cols + pair / HALF * HEAD_DIM + (INTERLEAVED != 0 ? 2 * i : i);
    uint position = (first + t) % window, end = min(t + ROWS, rows);
    do { // at its end, or drivers on the CPU load for each lane by itself
        uint angle = (skip_table + position) * ROTARY + i;
        vec4 c = LOAD(table, angle), s = -LOAD(table, angle + HALF), u = LOAD(x, at), v = LOAD(x, at + APART);
        if (INTERLEAVED != 0 && UNIT == 4) APART_PAIRS(u, v)
        vec4 x0 = u * c - v * s, x1 = v * c + u * s;
        if (INTERLEAVED != 0 && UNIT == 4) JOIN_PAIRS(x0, x1)
        STORE(at, x0)
        STORE(at + APART, x1)
        at += cols;
        position = position + 1 == window ? 0 : position + 1;
    } while (++t < end);
}
