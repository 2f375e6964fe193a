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
// in registers. Slices of 16 k pass through two buffers in shared memory: slice s is fetched before the products of slice s−1, which
// hide the fetch, and goes to the other buffer after them. Nothing branches between one fetch and the next, so that all are in flight at
// once: every invocation fetches as many of x, of w and of up. Shared memory: 128 · (ROWS + COLUMNS) bytes.
// WORKGROUP is ROWS/EDGE_M · COLUMNS/EDGE_N, and divides 4·ROWS and 4·COLUMNS; ROWS and COLUMNS are multiples of 32, EDGE_M and EDGE_N of 4.
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

// Four rows of x or the weights at one k are a vec4, and lie side by side with those of other rows; those of other k in other banks, by the
// exclusive or, both when 32 invocations write 8 rows of 4 k each, and when they read neighbours of one k.
const uint GROUPS_X = ROWS / 4, GROUPS = GROUPS_X + COLUMNS / 4;
const bool HALVES = OUT * QUADS < WORKGROUP; // half of the invocations fetch of w, the others of up
const uint X_FETCHES = ROWS * QUADS / WORKGROUP, W_FETCHES = HALVES ? 1 : OUT * QUADS / WORKGROUP, UP_FETCHES = EPILOGUE == 2 && !HALVES ? W_FETCHES : 0; // of 4 k each
shared vec4 tile[2 * SLICE * GROUPS];
uint place(uint buffer_, uint quad, uint q, uint group) { return ((buffer_ * QUADS + quad) * 4 + q) * GROUPS + (group ^ (2 * quad)); }

// Where rows of w and up are in the tile: w behind x and up behind w, or where an invocation has but four columns, pairs of both by turns.
const bool PAIRS = EPILOGUE == 2 && EDGE_N == 4;
uint w_row(uint r) { return ROWS + (PAIRS ? r / 2 * 4 + r % 2 : r); }
uint up_row(uint r) { return ROWS + (PAIRS ? r / 2 * 4 + 2 + r % 2 : OUT + r); }

// Four k of a row of the tile to shared memory.
void put(uint buffer_, uint quad, uint row, vec4 v) {
    [[unroll]] for (uint q = 0; q < 4; q++) tile[place(buffer_, quad, q, row / 4)][row % 4] = v[q];
}

// The fetches of slice s. What is beyond the depth is the last of it again, or zero where rows are not made of fours.
#define FETCH(s) { \
        if (BY_FOUR != 0) { \
            uint at = min((s) * QUADS + quad, depth / 4 - 1); \
            [[unroll]] for (uint f = 0; f < X_FETCHES; f++) next_x[f] = x4[at_x[f] + at]; \
            [[unroll]] for (uint f = 0; f < W_FETCHES; f++) next_w[f] = HALVES && row >= OUT ? up4[at_w[f] + at] : w4[at_w[f] + at]; \
            [[unroll]] for (uint f = 0; f < UP_FETCHES; f++) next_up[f] = up4[at_w[f] + at]; \
        } else { \
            uint k = (s) * SLICE + quad * 4; \
            [[unroll]] for (uint f = 0; f < X_FETCHES; f++) \
                [[unroll]] for (uint q = 0; q < 4; q++) odd_x[f][q] = k + q < depth ? x[at_x[f] + k + q] : 0.0; \
            [[unroll]] for (uint f = 0; f < W_FETCHES; f++) \
                [[unroll]] for (uint q = 0; q < 4; q++) odd_w[f][q] = k + q >= depth ? 0.0 : HALVES && row >= OUT ? load_weight(up, at_w[f] + k + q) : load_weight(w, at_w[f] + k + q); \
            [[unroll]] for (uint f = 0; f < UP_FETCHES; f++) \
                [[unroll]] for (uint q = 0; q < 4; q++) odd_up[f][q] = k + q < depth ? load_weight(up, at_w[f] + k + q) : 0.0; \
        } \
    }

// What was fetched of slice s, to its buffer: zero beyond the depth.
#define KEEP(s) { \
        bool there = BY_FOUR == 0 || (s) * QUADS + quad < depth / 4; \
        [[unroll]] for (uint f = 0; f < X_FETCHES; f++) put((s) & 1, quad, row + f * STEP, BY_FOUR == 0 ? odd_x[f] : there ? next_x[f] : vec4(0.0)); \
        [[unroll]] for (uint f = 0; f < W_FETCHES; f++) put((s) & 1, quad, HALVES && row >= OUT ? up_row(row - OUT) : w_row(row + f * STEP), BY_FOUR == 0 ? odd_w[f] : there ? unpack4(next_w[f]) : vec4(0.0)); \
        [[unroll]] for (uint f = 0; f < UP_FETCHES; f++) put((s) & 1, quad, up_row(row + f * STEP), BY_FOUR == 0 ? odd_up[f] : there ? unpack4(next_up[f]) : vec4(0.0)); \
        barrier(); \
    }

// The products of slice s.
#define MULTIPLY(s) \
    for (uint part = 0; part < QUADS; part++) \
        [[unroll]] for (uint q = 0; q < 4; q++) { \
            vec4 a[EDGE_M / 4], b[EDGE_N / 4]; \
            [[unroll]] for (uint i = 0; i < EDGE_M / 4; i++) a[i] = tile[place((s) & 1, part, q, i * DOWN + ty)]; \
            [[unroll]] for (uint j = 0; j < EDGE_N / 4; j++) b[j] = tile[place((s) & 1, part, q, GROUPS_X + j * ACROSS + tx)]; \
            [[unroll]] for (uint i = 0; i < EDGE_M; i++) \
                [[unroll]] for (uint j = 0; j < EDGE_N; j++) sum[i][j] = fma(a[i / 4][i % 4], b[j / 4][j % 4], sum[i][j]); \
        }

void main() {
    uint m0, lane = gl_LocalInvocationID.x;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#else
    m0 = gl_WorkGroupID.y * ROWS;
#endif
    uint n0 = gl_WorkGroupID.x * OUT;
    const uint ACROSS = COLUMNS / EDGE_N, DOWN = ROWS / EDGE_M, STEP = WORKGROUP / QUADS;
    uint tx = lane % ACROSS, ty = lane / ACROSS, quad = lane % QUADS, row = lane / QUADS;
    float sum[EDGE_M][EDGE_N];
    [[unroll]] for (uint i = 0; i < EDGE_M; i++)
        [[unroll]] for (uint j = 0; j < EDGE_N; j++) sum[i][j] = 0.0;

    // Where the rows begin that an invocation fetches of. Those beyond the edge are the last one again, and never written.
    uint at_x[X_FETCHES], at_w[W_FETCHES], length = BY_FOUR != 0 ? depth / 4 : depth, slices = (depth + SLICE - 1) / SLICE;
    [[unroll]] for (uint f = 0; f < X_FETCHES; f++) at_x[f] = min(m0 + row + f * STEP, ROWS_END - 1) * length;
    [[unroll]] for (uint f = 0; f < W_FETCHES; f++) at_w[f] = W_ROW(min(n0 + (HALVES ? row % OUT : row + f * STEP), columns - 1)) * length;
    vec4 next_x[X_FETCHES], odd_x[X_FETCHES], odd_w[W_FETCHES], odd_up[UP_FETCHES + 1];
    words4 next_w[W_FETCHES], next_up[UP_FETCHES + 1];
    FETCH(0)
    KEEP(0)
    [[dont_unroll]] for (uint s = 1; s < slices; s++) {
        FETCH(s)
        MULTIPLY(s - 1)
        KEEP(s)
    }
    MULTIPLY(slices - 1)

    [[unroll]] for (uint j = 0; j < (EPILOGUE == 2 ? EDGE_N / 2 : EDGE_N); j++) {
        uint n = n0 + (PAIRS ? tx * 2 + j : (j / 4 * ACROSS + tx) * 4 + j % 4);
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
