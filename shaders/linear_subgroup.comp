#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[m, column+n] = Σ_k x[m,k] · w[n,k]  (+ bias[column+n] where BIASED)
//
// x [rows, depth] f32 · w [columns, depth] weight dtype · bias [stride] weight dtype · y [rows, stride] f32; depth a multiple of 4
// For drivers that run on the CPU: there shared memory and barriers cost more than they save. One workgroup, which is one subgroup of
// 8, a tile of 8·BANDS × 64 of y: a lane holds a row of x for each band, which it broadcasts to the others, and eight columns of the
// tile. f32 accumulation, k in order.
// depth/4 iterations: below lavapipe 22.3's 65,535 for depth ≤ 240,000.

layout(constant_id = 1) const uint BIASED = 0; // no push constant: a branch on one takes a fifth of Mesa 26's speed
layout(constant_id = 2) const uint BANDS = 4;  // of 8 rows of x, at most 4
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; };
layout(binding = 0) readonly  buffer X { vec4 x[]; };
layout(binding = 1) readonly  buffer W { words4 w[]; };
layout(binding = 2) readonly  buffer Bias { uint bias[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };

const uint LANES = 8, COLUMNS = 8;

// Row i of a band, times the lane's columns: a macro, as the lane to broadcast from is a constant.
#define FROM(i) { \
    vec4 a = subgroupBroadcast(own, i); \
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) { \
        float s = fma(a.x, b[j].x, sum[r * LANES + i][j]); \
        s = fma(a.y, b[j].y, s); \
        s = fma(a.z, b[j].z, s); \
        sum[r * LANES + i][j] = fma(a.w, b[j].w, s); \
    } \
}

void main() {
    uint lane = gl_SubgroupInvocationID, m0 = gl_WorkGroupID.y * LANES * BANDS, n0 = gl_WorkGroupID.x * LANES * COLUMNS + lane;
    uint quads = depth / 4;
    uint from_x[4], from_w[COLUMNS]; // beyond the edge the last row again, never written
    [[unroll]] for (uint r = 0; r < BANDS; r++) from_x[r] = min(m0 + r * LANES + lane, rows - 1) * quads;
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) from_w[j] = min(n0 + j * LANES, columns - 1) * quads;
    float sum[4 * LANES][COLUMNS];
    [[unroll]] for (uint i = 0; i < BANDS * LANES; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[i][j] = 0.0;

    for (uint k = 0; k < quads; k++) {
        vec4 b[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) b[j] = unpack4(w[from_w[j] + k]);
        [[unroll]] for (uint r = 0; r < BANDS; r++) {
            vec4 own = x[from_x[r] + k];
            FROM(0) FROM(1) FROM(2) FROM(3) FROM(4) FROM(5) FROM(6) FROM(7)
        }
    }

    [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
        uint n = n0 + j * LANES;
        if (n < columns) {
            float add = 0.0;
            if (BIASED != 0) add = load_weight(bias, column + n);
            [[unroll]] for (uint i = 0; i < BANDS * LANES; i++)
                if (m0 + i < rows) y[(m0 + i) * stride + column + n] = sum[i][j] + add;
        }
    }
}
