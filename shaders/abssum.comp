#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/workgroup.glsl"

// sums[g,c] (+)= Σ_{i < rows} f(x[g·window + i, c]), f(x) = |x|, x², x or |x·y[g·window + i, c]| by OF = 0, 1, 2 or 3
//
// x [.., cols] weight dtype, y [.., cols] f32, from row `row` and row_y of the binding on, y touched only by OF = 3 · sums [.., cols] f32,
// from row `sum` on
// One invocation four columns and a window; with TEXELS, for drivers that run on the CPU, a texel's columns, cols being a multiple of those.
// f32 accumulation in blocks of 64 rows: the rounding errors of 32,768 rows add up like those of some hundred, and a dispatch may end
// at any block and the next continue with the same additions.
// 65/64·rows iterations: at most 32,768 rows a dispatch, as lavapipe 22.3 stops at 65,535.

layout(push_constant) uniform Push { uint cols; uint rows; uint window; uint row; uint sum; uint more; uint row_y; };
layout(binding = 1) buffer Sums { float sums[]; };

layout(constant_id = 1) const uint OF = 0;

const uint BLOCK = 64; // absBlock in model/op/sensitivity.go

#define TERM(v, y) (OF == 0 ? abs(v) : OF == 1 ? v * v : OF == 2 ? v : abs(v * y))

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer y;

void main() {
    uint texels = cols / TEXEL_WEIGHTS, t = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (t >= texels) return;
    uint at = (row + gl_WorkGroupID.y * window) * texels + t, at_y = (row_y + gl_WorkGroupID.y * window) * (cols / 4) + t * TEXEL_QUADS;
    uint to = (sum + gl_WorkGroupID.y) * cols + t * TEXEL_WEIGHTS;
    precise vec4 total[TEXEL_QUADS];
    [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++)
        total[q] = more != 0 ? vec4(sums[to + 4 * q], sums[to + 4 * q + 1], sums[to + 4 * q + 2], sums[to + 4 * q + 3]) : vec4(0.0);
    for (uint begin = 0; begin < rows; begin += BLOCK) {
        precise vec4 block[TEXEL_QUADS];
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) block[q] = vec4(0.0);
        for (uint i = begin; i < min(begin + BLOCK, rows); i++) {
            uvec4 texel = imageLoad(x, int(at));
            [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
                vec4 v = texel_quad(texel, q), other = OF == 3 ? uintBitsToFloat(imageLoad(y, int(at_y + q))) : vec4(0.0);
                block[q] += TERM(v, other);
            }
            at += texels;
            at_y += cols / 4;
        }
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) total[q] += block[q];
    }
    [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++)
        [[unroll]] for (uint c = 0; c < 4; c++) sums[to + 4 * q + c] = total[q][c];
}
#else
layout(constant_id = 2) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 0) readonly buffer X4 { words4 x4[]; };
layout(binding = 1) buffer Sums4 { vec4 sums4[]; };
layout(binding = 2) readonly buffer Y { float y[]; };
layout(binding = 2) readonly buffer Y4 { vec4 y4[]; };
#include "common/fours.glsl"

void main() {
    uint c = 4 * (gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x), left = cols - c;
    if (c >= cols) return;
    uint at = (row + gl_WorkGroupID.y * window) * cols + c, at_y = (row_y + gl_WorkGroupID.y * window) * cols + c;
    uint to = (sum + gl_WorkGroupID.y) * cols + c;
    precise vec4 total = vec4(0.0);
    if (more != 0) total = FOUR(sums, to, left, 0.0);
    for (uint begin = 0; begin < rows; begin += BLOCK) {
        precise vec4 block = vec4(0.0);
        for (uint i = begin; i < min(begin + BLOCK, rows); i++) {
            vec4 v = FOUR_WEIGHTS(x, at, left), other = vec4(0.0);
            if (OF == 3) other = FOUR(y, at_y, left, 0.0);
            block += TERM(v, other);
            at += cols;
            at_y += cols;
        }
        total += block;
    }
    STORE_FOUR(sums, to, left, total)
}
#endif
