#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[m, column+n] = Σ_k x[m,k] · w[n,k]  (+ bias[column+n] where BIASED), for the few rows of x of one token or some
//
// x [rows, depth] f32 · w [columns, depth] weight dtype · bias [stride] weight dtype · y [rows, stride] f32; rows ≤ ROWS
// One workgroup COLUMNS columns of y, its invocations side by side along k, which reads weights once and in order; their sums meet in
// shared memory. WORKGROUP is a power of two; ROWS · COLUMNS · WORKGROUP is at most 8192; f32 accumulation; any depth; no subgroup operations.
// depth/WORKGROUP iterations and a few: below lavapipe 22.3's 65,535 for depth ≤ 500,000 where WORKGROUP is 8.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint BY_FOUR = 0; // depth is a multiple of 4: four elements a load
layout(constant_id = 3) const uint ROWS = 1;    // at most 4
layout(constant_id = 4) const uint COLUMNS = 4; // at most 16
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; }; // the same elements
layout(binding = 1) readonly  buffer W { uint w[]; };
layout(binding = 1) readonly  buffer W4 { words4 w4[]; }; // the same elements
layout(binding = 2) readonly  buffer Bias { uint bias[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };

shared float part[ROWS * COLUMNS][WORKGROUP];

void main() {
    uint lane = gl_LocalInvocationID.x, n0 = gl_WorkGroupID.x * COLUMNS;
    float sum[ROWS][COLUMNS];
    [[unroll]] for (uint m = 0; m < ROWS; m++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[m][j] = 0.0;

    if (BY_FOUR != 0) {
        uint quads = depth / 4;
        for (uint k = lane; k < quads; k += WORKGROUP) {
            vec4 a[ROWS];
            [[unroll]] for (uint m = 0; m < ROWS; m++) a[m] = x4[min(m, rows - 1) * quads + k];
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                vec4 b = unpack4(w4[min(n0 + j, columns - 1) * quads + k]);
                [[unroll]] for (uint m = 0; m < ROWS; m++)
                    sum[m][j] = fma(a[m].x, b.x, fma(a[m].y, b.y, fma(a[m].z, b.z, fma(a[m].w, b.w, sum[m][j]))));
            }
        }
    } else {
        for (uint k = lane; k < depth; k += WORKGROUP)
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                float b = load_weight(w, min(n0 + j, columns - 1) * depth + k);
                [[unroll]] for (uint m = 0; m < ROWS; m++) sum[m][j] = fma(x[min(m, rows - 1) * depth + k], b, sum[m][j]);
            }
    }

    [[unroll]] for (uint m = 0; m < ROWS; m++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) part[m * COLUMNS + j][lane] = sum[m][j];
    barrier();
    for (uint half_size = WORKGROUP >> 1; half_size > 0; half_size >>= 1) {
        if (lane < half_size)
            [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) part[i][lane] += part[i][lane + half_size];
        barrier();
    }
    for (uint i = lane; i < ROWS * COLUMNS; i += WORKGROUP) {
        uint m = i / COLUMNS, n = n0 + i % COLUMNS;
        if (m < rows && n < columns) {
            float add = 0.0;
            if (BIASED != 0) add = load_weight(bias, column + n);
            y[m * stride + column + n] = part[i][0] + add;
        }
    }
}
