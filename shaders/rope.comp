#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// x[t, h·d + i], x[t, h·d + i + d/2] turned by the angle i of the row's position, d = 2·half     RoPE, Su et al. 2021, arXiv 2104.09864
//
// x [rows, cols] f32, in place · table [positions, 2·half] f32: the cosines of a position, then the sines
// Row t of the dispatch is row skip_x + t of the bound x, its position row skip_table + (first + t) % window of the bound table.
// One invocation a pair, gl_WorkGroupID.y a row; no loop. The table is the host's: Vulkan's sin and cos promise 2^-11 within ±π.

layout(push_constant) uniform Push { uint cols; uint half_dim; uint window; uint first; uint skip_x; uint skip_table; };
layout(binding = 0) buffer X { float x[]; };
layout(binding = 1) readonly buffer Table { float table[]; };

void main() {
    uint pair = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (2 * pair >= cols) return;
    uint i = pair % half_dim;
    uint a = (skip_x + t) * cols + pair / half_dim * 2 * half_dim + i, b = a + half_dim;
    uint angle = (skip_table + (first + t) % window) * 2 * half_dim + i;
    float c = table[angle], s = table[angle + half_dim];
    float u = x[a], v = x[b];
    x[a] = u * c - v * s;
    x[b] = v * c + u * s;
}
