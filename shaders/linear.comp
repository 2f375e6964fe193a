#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/silu.glsl"
#include "common/grouped.glsl"

// y[m, column+n] = Σ_k x[m,k] · w[n,k]  (+ bias[column+n] where BIASED), and with EPILOGUE
//   1: + residual[m, column+n]
//   2: SwiGLU: silu of that, times Σ_k x[m,k] · up[n,k]  (+ up_bias[column+n])          Shazeer 2020, arXiv 2002.05202
//
// x [rows, depth] f32 · w, up [columns, depth] weight dtype · bias, up_bias [stride] weight dtype · residual, y [rows, stride] f32
// One workgroup a tile of ROWS × COLUMNS of y, or ROWS × COLUMNS/2 of it with up beside w; an invocation EDGE_M × EDGE_N of the tile,
// in registers. Slices of 16 k pass through two buffers in shared memory: slice s+1 is fetched before the products of slice s, which
// hide the fetch, and goes to the other buffer after them. Shared memory: 128 · (ROWS + COLUMNS) bytes.
// WORKGROUP is ROWS/EDGE_M · COLUMNS/EDGE_N; ROWS and COLUMNS are multiples of 32, EDGE_M of 4, EDGE_N of 8.
// f32 accumulation, k in order: the bits of y do not depend on the tile. Any shape; no subgroup operations.
// An invocation loops 5 times a slice: below lavapipe 22.3's 65,535 for depth ≤ 200,000. The loops with an attribute must be unrolled,
// as their indices are of registers.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0;
layout(constant_id = 3) const uint BY_FOUR = 0; // depth is a multiple of 4: four elements a load
layout(constant_id = 4) const uint ROWS = 64;
layout(constant_id = 5) const uint COLUMNS = 64;
layout(constant_id = 6) const uint EDGE_M = 8;
layout(constant_id = 7) const uint EDGE_N = 8;
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH };
layout(binding = 0) readonly  buffer W { uint w[]; };
layout(binding = 0) readonly  buffer W4 { words4 w4[]; }; // the same elements
layout(binding = 1) readonly  buffer Up { uint up[]; };
layout(binding = 1) readonly  buffer Up4 { words4 up4[]; }; // the same elements
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7) readonly  buffer X { float x[]; };
layout(binding = 7) readonly  buffer X4 { vec4 x4[]; }; // the same elements

const uint SLICE = 16, QUADS = SLICE / 4;
const uint OUT = EPILOGUE == 2 ? COLUMNS / 2 : COLUMNS; // columns of y; row r ≥ OUT of the weights' tile is one of up

// A block is 4 rows × 4 k of x or of the weights. It lies transposed: one vec4 of 4 rows for each k, and blocks of other k in other
// banks, by the exclusive or, both when 8 invocations write blocks and when they read neighbours of one k.
const uint GROUPS_X = ROWS / 4, GROUPS_W = COLUMNS / 4, GROUPS = GROUPS_X + GROUPS_W;
const uint BLOCKS = GROUPS * QUADS, FETCHES = (BLOCKS + WORKGROUP - 1) / WORKGROUP;
shared vec4 tile[2 * SLICE * GROUPS];
uint place(uint buffer_, uint quad, uint q, uint group) { return ((buffer_ * QUADS + quad) * 4 + q) * GROUPS + (group ^ (2 * quad)); }

uint m0, n0, lane;

// Row r of a block of x or the weights at k to k+3. Rows beyond the edge are the last one again and never written; what is beyond the
// depth is zero on both sides.
vec4 fetch(uint group, uint r, uint k) {
    bool weights = group >= GROUPS_X;
    uint t = (weights ? group - GROUPS_X : group) * 4 + r;
    bool of_up = weights && t >= OUT;
    uint row = weights ? W_ROW(min(n0 + (of_up ? t - OUT : t), columns - 1)) : min(m0 + t, ROWS_END - 1);
    vec4 v = vec4(0.0);
    if (BY_FOUR != 0) {
        uint at = row * (depth / 4) + k / 4;
        if (k < depth) {
            if (!weights) v = x4[at];
            else if (!of_up) v = unpack4(w4[at]);
            else v = unpack4(up4[at]);
        }
        return v;
    }
    uint at = row * depth + k;
    [[unroll]] for (uint q = 0; q < 4; q++)
        if (k + q < depth) {
            if (!weights) v[q] = x[at + q];
            else if (!of_up) v[q] = load_weight(w, at + q);
            else v[q] = load_weight(up, at + q);
        }
    return v;
}

void main() {
    lane = gl_LocalInvocationID.x;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#else
    m0 = gl_WorkGroupID.y * ROWS;
#endif
    n0 = gl_WorkGroupID.x * OUT;
    const uint ACROSS = COLUMNS / EDGE_N, DOWN = ROWS / EDGE_M;
    uint tx = lane % ACROSS, ty = lane / ACROSS;
    float sum[EDGE_M][EDGE_N];
    [[unroll]] for (uint i = 0; i < EDGE_M; i++)
        [[unroll]] for (uint j = 0; j < EDGE_N; j++) sum[i][j] = 0.0;

    uint slices = (depth + SLICE - 1) / SLICE;
    for (uint s = 0; s <= slices; s++) { // fetches slice s and multiplies the one before
        vec4 next[FETCHES][4];
        if (s < slices)
            [[unroll]] for (uint f = 0; f < FETCHES; f++) {
                uint e = lane + f * WORKGROUP, group = e / QUADS, k = s * SLICE + e % QUADS * 4;
                if (e < BLOCKS) [[unroll]] for (uint r = 0; r < 4; r++) next[f][r] = fetch(group, r, k);
            }
        if (s > 0)
            for (uint quad = 0; quad < QUADS; quad++)
                [[unroll]] for (uint q = 0; q < 4; q++) {
                    vec4 a[EDGE_M / 4], b[EDGE_N / 4];
                    [[unroll]] for (uint i = 0; i < EDGE_M / 4; i++) a[i] = tile[place((s - 1) & 1, quad, q, i * DOWN + ty)];
                    [[unroll]] for (uint j = 0; j < EDGE_N / 4; j++) b[j] = tile[place((s - 1) & 1, quad, q, GROUPS_X + j * ACROSS + tx)];
                    [[unroll]] for (uint i = 0; i < EDGE_M; i++)
                        [[unroll]] for (uint j = 0; j < EDGE_N; j++) sum[i][j] = fma(a[i / 4][i % 4], b[j / 4][j % 4], sum[i][j]);
                }
        if (s < slices)
            [[unroll]] for (uint f = 0; f < FETCHES; f++) {
                uint e = lane + f * WORKGROUP, group = e / QUADS, quad = e % QUADS;
                if (e < BLOCKS) {
                    mat4 b = transpose(mat4(next[f][0], next[f][1], next[f][2], next[f][3]));
                    [[unroll]] for (uint q = 0; q < 4; q++) tile[place(s & 1, quad, q, group)] = b[q];
                }
            }
        barrier();
    }

    [[unroll]] for (uint j = 0; j < (EPILOGUE == 2 ? EDGE_N / 2 : EDGE_N); j++) {
        uint n = n0 + (j / 4 * ACROSS + tx) * 4 + j % 4;
        if (n >= columns) continue;
        float add = 0.0, up_add = 0.0;
#if !defined(GROUPED)
        if (BIASED != 0) {
            add = load_weight(bias, column + n);
            if (EPILOGUE == 2) up_add = load_weight(up_bias, column + n);
        }
#endif
        [[unroll]] for (uint i = 0; i < EDGE_M; i++) {
            uint m = m0 + (i / 4 * DOWN + ty) * 4 + i % 4;
            if (m >= ROWS_END) continue;
            uint at = m * stride + column + n;
            float v = sum[i][j] + add;
            if (EPILOGUE == 1) v += residual[at];
            if (EPILOGUE == 2) v = silu(vec4(v)).x * (sum[i][(j + EDGE_N / 2) % EDGE_N] + up_add);
            y[at] = v;
        }
    }
}
