#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/silu.glsl"
#include "common/grouped.glsl"

// What linear.comp computes for the few rows of x of one token or some, rows ≤ ROWS; where NORM, of the RMS-normed x:
//   Σ_k x[m,k] · norm[k] · w[n,k] · rsqrt(mean_k x[m,k]² + eps)
//
// norm [depth] weight dtype. One workgroup COLUMNS columns of w, or half as many of w and up; its invocations lie side by side along
// k, which reads weights once and in order; their sums meet in shared memory. WORKGROUP is a power of two from 2 on; ROWS · (COLUMNS + 1) ·
// WORKGROUP is at most 8192; f32 accumulation; any depth; no subgroup operations.
// depth/WORKGROUP iterations and a few: below lavapipe 22.3's 65,535 for depth ≤ 500,000 where WORKGROUP is 8.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint BY_FOUR = 0;  // depth is a multiple of 4: four elements a load
layout(constant_id = 4) const uint ROWS = 1;     // at most 4
layout(constant_id = 5) const uint COLUMNS = 4;  // even
layout(constant_id = 6) const uint NORM = 0;     // 2: by norm[k] + 1
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH };
layout(binding = 0) readonly  buffer W { uint w[]; };
layout(binding = 0) readonly  buffer W4 { words4 w4[]; }; // the same elements
layout(binding = 1) readonly  buffer Up { uint up[]; };
layout(binding = 1) readonly  buffer Up4 { words4 up4[]; }; // the same elements
layout(binding = 2) readonly  buffer Norm { uint norm[]; };
layout(binding = 2) readonly  buffer Norm4 { words4 norm4[]; }; // the same elements
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
#if defined(GROUPED) // ROWS is 1
#define X_ROW(m) m0
#define Y_ROW(m) m0
#else
#define X_ROW(m) min(m, rows - 1)
#define Y_ROW(m) m
#endif
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7) readonly  buffer X { float x[]; };
layout(binding = 7) readonly  buffer X4 { vec4 x4[]; }; // the same elements

const uint OUT = EPILOGUE == 2 ? COLUMNS / 2 : COLUMNS;
const uint PARTS = ROWS * COLUMNS + ROWS; // the sums of products, then those of squares
const uint HALF = WORKGROUP / 2; // half of what all invocations have is enough, and lets more workgroups on a core
shared float part[PARTS][HALF];

void main() {
    uint lane = gl_LocalInvocationID.x, n0 = gl_WorkGroupID.x * OUT;
#if defined(GROUPED)
    uint m0;
    if (!find_tile(first, groups, columns, m0)) return;
#endif
    float sum[ROWS][COLUMNS], squares[ROWS];
    [[unroll]] for (uint m = 0; m < ROWS; m++) {
        squares[m] = 0.0;
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[m][j] = 0.0;
    }

    if (BY_FOUR != 0) {
        uint quads = depth / 4;
        for (uint k = lane; k < quads; k += WORKGROUP) {
            vec4 a[ROWS], by = vec4(1.0);
            if (NORM != 0) by = unpack4(norm4[k]) + float(NORM - 1);
            [[unroll]] for (uint m = 0; m < ROWS; m++) {
                a[m] = x4[X_ROW(m) * quads + k];
                if (NORM != 0) {
                    squares[m] += dot(a[m], a[m]);
                    a[m] *= by;
                }
            }
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                uint at = W_ROW(min(n0 + j % OUT, columns - 1)) * quads + k;
                vec4 b = j < OUT ? unpack4(w4[at]) : unpack4(up4[at]);
                [[unroll]] for (uint m = 0; m < ROWS; m++)
                    sum[m][j] = fma(a[m].x, b.x, fma(a[m].y, b.y, fma(a[m].z, b.z, fma(a[m].w, b.w, sum[m][j]))));
            }
        }
    } else {
        for (uint k = lane; k < depth; k += WORKGROUP) {
            float a[ROWS];
            [[unroll]] for (uint m = 0; m < ROWS; m++) {
                a[m] = x[X_ROW(m) * depth + k];
                if (NORM != 0) {
                    squares[m] += a[m] * a[m];
                    a[m] *= load_weight(norm, k) + float(NORM - 1);
                }
            }
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                uint at = W_ROW(min(n0 + j % OUT, columns - 1)) * depth + k;
                float b = j < OUT ? load_weight(w, at) : load_weight(up, at);
                [[unroll]] for (uint m = 0; m < ROWS; m++) sum[m][j] = fma(a[m], b, sum[m][j]);
            }
        }
    }

    // The upper half of the invocations puts its sums where the lower half adds its own.
    if (lane >= HALF)
        [[unroll]] for (uint m = 0; m < ROWS; m++) {
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) part[m * COLUMNS + j][lane - HALF] = sum[m][j];
            part[ROWS * COLUMNS + m][lane - HALF] = squares[m];
        }
    barrier();
    if (lane < HALF)
        [[unroll]] for (uint m = 0; m < ROWS; m++) {
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) part[m * COLUMNS + j][lane] = sum[m][j] + part[m * COLUMNS + j][lane];
            part[ROWS * COLUMNS + m][lane] = squares[m] + part[ROWS * COLUMNS + m][lane];
        }
    barrier();
    for (uint half_size = HALF >> 1; half_size > 0; half_size >>= 1) {
        if (lane < half_size)
            [[unroll]] for (uint i = 0; i < (NORM != 0 ? PARTS : ROWS * COLUMNS); i++) part[i][lane] += part[i][lane + half_size];
        barrier();
    }
    for (uint i = lane; i < ROWS * OUT; i += WORKGROUP) {
        uint m = i / OUT, j = i % OUT, n = n0 + j;
        if (Y_ROW(m) >= ROWS_END || n >= columns) continue;
        float scale = NORM != 0 ? inversesqrt(part[ROWS * COLUMNS + m][0] / float(depth) + eps) : 1.0;
        float v = part[m * COLUMNS + j][0] * scale, u = part[m * COLUMNS + (j + OUT) % COLUMNS][0] * scale;
#if !defined(GROUPED)
        if (BIASED != 0) {
            v += load_weight(bias, column + n);
            if (EPILOGUE == 2) u += load_weight(up_bias, column + n);
        }
#endif
        uint at = Y_ROW(m) * stride + column + n;
        if (EPILOGUE == 1) v += residual[at];
        if (EPILOGUE == 2) v = silu(vec4(v)).x * u;
        y[at] = v;
    }
}
