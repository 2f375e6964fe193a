#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/silu.glsl"

// y[m, column+n] = Σ_k x[m,k] · w[n,k]  (+ bias[column+n] where BIASED), and with EPILOGUE
//   1: + residual[m, column+n]
//   2: SwiGLU: silu of that, times Σ_k x[m,k] · up[n,k]  (+ up_bias[column+n])          Shazeer 2020, arXiv 2002.05202
//
// x [rows, depth] f32 · w, up [columns, depth] weight dtype · bias, up_bias [stride] weight dtype · residual, y [rows, stride] f32
// One workgroup a tile of 64 × 64 of y, or 64 × 32 of it with up beside w, through slices of 16 k in shared memory; WORKGROUP is 64,
// an invocation 8 × 8 of the tile.
// f32 accumulation, k in order; any shape; no subgroup operations.
// An invocation loops depth/16 · 17 times, unless the compiler unrolls: below lavapipe 22.3's 65,535 for depth ≤ 56,000. The loops
// with an attribute must be unrolled, as their indices are of registers or the count would be larger.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0;
layout(constant_id = 3) const uint BY_FOUR = 0; // depth is a multiple of 4: four elements a load
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; };
layout(binding = 0) readonly  buffer W { uint w[]; };
layout(binding = 0) readonly  buffer W4 { words4 w4[]; }; // the same elements
layout(binding = 1) readonly  buffer Up { uint up[]; };
layout(binding = 1) readonly  buffer Up4 { words4 up4[]; }; // the same elements
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7) readonly  buffer X { float x[]; };
layout(binding = 7) readonly  buffer X4 { vec4 x4[]; }; // the same elements

const uint TILE = 64, SLICE = 16, EDGE = 8;
const uint OUT = EPILOGUE == 2 ? TILE / 2 : TILE; // columns of y; row r ≥ OUT of the weights' tile is one of up
const uint PITCH = TILE + 2; // so that neighbours write to different banks
shared float xs[SLICE * PITCH];
shared float ws[SLICE * PITCH];

void main() {
    uint lane = gl_LocalInvocationID.x, tx = lane % EDGE, ty = lane / EDGE;
    uint m0 = gl_WorkGroupID.y * TILE, n0 = gl_WorkGroupID.x * OUT;
    float sum[EDGE][EDGE];
    [[unroll]] for (uint i = 0; i < EDGE; i++)
        [[unroll]] for (uint j = 0; j < EDGE; j++) sum[i][j] = 0.0;

    for (uint k0 = 0; k0 < depth; k0 += SLICE) {
        // Rows beyond the edge are the last one again and never written; what is beyond the depth is zero on both sides.
        if (BY_FOUR != 0) {
            [[unroll]] for (uint i = 0; i < TILE * SLICE / 4 / 64; i++) {
                uint e = lane + 64 * i, r = e / (SLICE / 4), c = e % (SLICE / 4) * 4, k = (k0 + c) / 4;
                vec4 a = vec4(0.0), b = vec4(0.0);
                if (k0 + c < depth) {
                    a = x4[min(m0 + r, rows - 1) * (depth / 4) + k];
                    uint at = min(n0 + r % OUT, columns - 1) * (depth / 4) + k;
                    b = r < OUT ? unpack4(w4[at]) : unpack4(up4[at]);
                }
                [[unroll]] for (uint q = 0; q < 4; q++) {
                    xs[(c + q) * PITCH + r] = a[q];
                    ws[(c + q) * PITCH + r] = b[q];
                }
            }
        } else {
            [[unroll]] for (uint i = 0; i < TILE * SLICE / 64; i++) {
                uint e = lane + 64 * i, r = e / SLICE, c = e % SLICE, k = k0 + c;
                float a = 0.0, b = 0.0;
                if (k < depth) {
                    a = x[min(m0 + r, rows - 1) * depth + k];
                    uint at = min(n0 + r % OUT, columns - 1) * depth + k;
                    b = r < OUT ? load_weight(w, at) : load_weight(up, at);
                }
                xs[c * PITCH + r] = a;
                ws[c * PITCH + r] = b;
            }
        }
        barrier();
        for (uint k = 0; k < SLICE; k++) {
            float a[EDGE], b[EDGE];
            [[unroll]] for (uint i = 0; i < EDGE; i++) a[i] = xs[k * PITCH + ty * EDGE + i];
            [[unroll]] for (uint j = 0; j < EDGE; j++) b[j] = ws[k * PITCH + j * EDGE + tx];
            [[unroll]] for (uint i = 0; i < EDGE; i++)
                [[unroll]] for (uint j = 0; j < EDGE; j++) sum[i][j] = fma(a[i], b[j], sum[i][j]);
        }
        barrier();
    }

    [[unroll]] for (uint j = 0; j < OUT / EDGE; j++) {
        uint n = n0 + j * EDGE + tx;
        if (n >= columns) continue;
        float add = 0.0, up_add = 0.0;
        if (BIASED != 0) {
            add = load_weight(bias, column + n);
            if (EPILOGUE == 2) up_add = load_weight(up_bias, column + n);
        }
        [[unroll]] for (uint i = 0; i < EDGE; i++) {
            uint m = m0 + ty * EDGE + i;
            if (m >= rows) continue;
            uint at = m * stride + column + n;
            float v = sum[i][j] + add;
            if (EPILOGUE == 1) v += residual[at];
            if (EPILOGUE == 2) v = silu(vec4(v)).x * (sum[i][(j + EDGE / 2) % EDGE] + up_add);
            y[at] = v;
        }
    }
}
