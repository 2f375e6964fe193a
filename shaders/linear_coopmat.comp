#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_cooperative_matrix : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/silu.glsl"

// What linear.comp computes, by cooperative matrices: x comes from tohalf.comp, row m times 1/unscale[m], and weights that are no f16 from
// halfrows.comp, with what undoes a row's scale behind it.
//
// x [rows, depth], w, up [columns, depth] f16 · bias, up_bias [stride] weight dtype · unscale [rows], residual, y [rows, stride] f32;
// depth a multiple of 8. With PARTS, for weights of f32, rows of x, w and up are in two parts, high and low, each of depth f16, and y is the sum of
// high·high, high·low and low·high: all bits of f32 but the last two. f32 accumulation, in the order of slices of MATRIX_K k, and of the device's own within one.
// One workgroup a tile of ROWS × COLUMNS of y, or ROWS × COLUMNS/2 with up beside w; a subgroup, of SUBGROUP invocations, HIGH × WIDE of
// it as matrices of MATRIX_M × MATRIX_N in registers. Slices of SLICE k pass through two buffers in shared memory: slice s is fetched
// before the products of slice s−1, which hide the fetch, and goes to the other buffer after them. Nothing branches between one fetch and
// the next, so that all are in flight at once: every invocation fetches as many of x, of w and of up. Two slices are always multiplied; one
// beyond the depth adds zeros. In the end the sums pass through shared memory, a row of matrices at a time, so that no edge needs a path of
// its own.
// WORKGROUP is ROWS/HIGH · COLUMNS/WIDE · SUBGROUP, all subgroups full, and divides ROWS·SLICE/8 and, with up, COLUMNS/2·SLICE/8, else
// COLUMNS·SLICE/8. MATRIX_K divides SLICE, MATRIX_M HIGH, MATRIX_N WIDE/2; each is a multiple of 8. HIGH is at most 8·MATRIX_M.
// The loops with an attribute must be unrolled, as their indices are of registers; one that holds a loop may not be, whatever is asked.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint SUBGROUP = 8;
layout(constant_id = 4) const uint MATRIX_M = 8;
layout(constant_id = 5) const uint MATRIX_N = 8;
layout(constant_id = 6) const uint MATRIX_K = 8;
layout(constant_id = 7) const uint ROWS = 64;
layout(constant_id = 8) const uint COLUMNS = 64;
layout(constant_id = 9) const uint HIGH = 32;
layout(constant_id = 10) const uint WIDE = 32;
layout(constant_id = 11) const uint SLICE = 16;
layout(constant_id = 12) const uint PARTS = 0;
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; };
layout(binding = 0) readonly  buffer W { uvec4 w[]; };
layout(binding = 1) readonly  buffer Up { uvec4 up[]; };
layout(binding = 2) readonly  buffer Unscale { float unscale[]; };
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7) readonly  buffer X { uvec4 x[]; };

const uint OUT = EPILOGUE == 2 ? COLUMNS / 2 : COLUMNS, OUT_WIDE = EPILOGUE == 2 ? WIDE / 2 : WIDE; // columns of y
const uint EIGHTS = SLICE / 8;          // of a row in a slice: uvec4 of 8 f16
const uint PITCH = EIGHTS + 1;          // odd, so that 8 rows of a matrix lie in different banks
const uint LINES = ROWS + COLUMNS;      // rows of x, then for each subgroup its columns of w, or half of them and the same of up
const uint STEP = WORKGROUP / EIGHTS;   // rows that are fetched at once
const uint EITHER = EPILOGUE == 2 ? 2 * OUT / STEP % 2 : 0; // 1: an invocation fetches either w or up
const uint X_FETCHES = ROWS / STEP, W_FETCHES = OUT / STEP + EITHER, UP_FETCHES = EPILOGUE == 2 ? OUT / STEP : 0;
const uint ACROSS = COLUMNS / WIDE, SUBGROUPS = ROWS / HIGH * ACROSS;
const uint DOWN_M = HIGH / MATRIX_M, DOWN_N = WIDE / MATRIX_N;
const uint PATCH_PITCH = WIDE / 4 + 1, PATCH = MATRIX_M * PATCH_PITCH; // a row of a subgroup's matrices, f32
const uint STAGE = LINES * PITCH, PATCHES = SUBGROUPS * PATCH; // a buffer of a slice, and what takes the place of both
shared uvec4 tile[LARGER(2 * STAGE, PATCHES)];

// The fetches of slice s. What is beyond the depth is the last of it again.
#define FETCH(s) { \
        uint at = min((s) * EIGHTS + eighth, eighths - 1), of_x = PARTS != 0 && at >= whole ? at - whole : at; \
        if (PARTS != 0 && at >= 2 * whole) at -= 2 * whole; \
        [[unroll]] for (uint f = 0; f < X_FETCHES; f++) next_x[f] = x[at_x[f] + of_x]; \
        if (of_up) next_w[0] = up[at_w[0] + at]; \
        else [[unroll]] for (uint f = 0; f < W_FETCHES; f++) next_w[f] = w[at_w[f] + at]; \
        [[unroll]] for (uint f = 0; f < UP_FETCHES; f++) next_up[f] = up[at_w[f] + at]; \
    }

// What was fetched of slice s, to the buffer that begins at stage. Zeros of x are enough beyond the depth: what w has there again is finite, or y is not.
#define KEEP(s, stage) { \
        uint to = (stage) + eighth; \
        bool there = (s) * EIGHTS + eighth < eighths; \
        [[unroll]] for (uint f = 0; f < X_FETCHES; f++) tile[to + (row + f * STEP) * PITCH] = there ? next_x[f] : uvec4(0); \
        [[unroll]] for (uint f = 0; f < W_FETCHES; f++) tile[to + (line_w(row_w + f * STEP) + (of_up ? OUT_WIDE : 0)) * PITCH] = next_w[f]; \
        [[unroll]] for (uint f = 0; f < UP_FETCHES; f++) tile[to + (line_w(row + f * STEP) + OUT_WIDE) * PITCH] = next_up[f]; \
        barrier(); \
    }

// The products of the slice in the buffer that begins at stage.
#define MULTIPLY(stage) { \
        uint from_a = (stage) + own_m * HIGH * PITCH, from_b = (stage) + (ROWS + own_n * WIDE) * PITCH; \
        for (uint k = 0; k < SLICE / MATRIX_K; k++) { \
            coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> a[DOWN_M]; \
            coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> b; \
            [[unroll]] for (uint i = 0; i < DOWN_M; i++) \
                coopMatLoad(a[i], tile, from_a + i * MATRIX_M * PITCH + k * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor); \
            [[unroll]] for (uint j = 0; j < DOWN_N; j++) { \
                coopMatLoad(b, tile, from_b + j * MATRIX_N * PITCH + k * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor); \
                [[unroll]] for (uint i = 0; i < DOWN_M; i++) sum[i * DOWN_N + j] = coopMatMulAdd(a[i], b, sum[i * DOWN_N + j]); \
            } \
        } \
    }

// Row i of a subgroup's matrices to its patch of shared memory, if it is the one of number ROW.
#define STORE(ROW) \
    if (i == ROW && ROW < DOWN_M) \
        [[unroll]] for (uint j = 0; j < DOWN_N; j++) \
            coopMatStore(sum[min(ROW, DOWN_M - 1) * DOWN_N + j], tile, patch_ + j * (MATRIX_N / 4), PATCH_PITCH, gl_CooperativeMatrixLayoutRowMajor);

#define X_PITCH (PARTS != 0 ? 2 * whole : whole)

// What undoes the scale of w's row n, and of up's.
#if defined(F16)
#define W_PITCH X_PITCH
#define W_UNSCALE(w, n) 1.0
#else
#define W_PITCH (X_PITCH + 1)
#define W_UNSCALE(w, n) uintBitsToFloat(w[(n) * W_PITCH + X_PITCH].x)
#endif

// The line of the tile where row r of w belongs.
uint line_w(uint r) { return ROWS + r + r / OUT_WIDE * (WIDE - OUT_WIDE); }

void main() {
    uint lane = gl_LocalInvocationID.x, own_m = gl_SubgroupID / ACROSS, own_n = gl_SubgroupID % ACROSS;
    uint m0 = gl_WorkGroupID.y * ROWS, n0 = gl_WorkGroupID.x * OUT, eighth = lane % EIGHTS, row = lane / EIGHTS;
    bool of_up = EITHER == 1 && row >= OUT;
    uint row_w = EITHER == 1 ? row % OUT : row;
    coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sum[DOWN_M * DOWN_N];
    [[unroll]] for (uint i = 0; i < DOWN_M * DOWN_N; i++) sum[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);

    // Where the rows begin that an invocation fetches of. Those beyond the edge are the last one again, and never written.
    uint at_x[X_FETCHES], at_w[W_FETCHES], whole = depth / 8, eighths = PARTS != 0 ? 3 * whole : whole, slices = (eighths + EIGHTS - 1) / EIGHTS;
    [[unroll]] for (uint f = 0; f < X_FETCHES; f++) at_x[f] = min(m0 + row + f * STEP, rows - 1) * X_PITCH;
    [[unroll]] for (uint f = 0; f < W_FETCHES; f++) at_w[f] = min(n0 + row_w + f * STEP, columns - 1) * W_PITCH;
    uvec4 next_x[X_FETCHES], next_w[W_FETCHES], next_up[UP_FETCHES + 1];
    FETCH(0)
    KEEP(0, 0)
    // The first turn stands before the loop, which so begins with sums where products put them. Compilers put zeros into any registers, and
    // moved the sums at every turn: by NVK it had 489 instructions and has 95 (128×128/32×64/32), on Xe2 169 and 93 (64×64/16×32/16; .ci/gpu).
    FETCH(1)
    MULTIPLY(0)
    KEEP(1, STAGE)
    uint stage = STAGE; // of the last slice that was kept
    [[dont_unroll]] for (uint s = 2; s < slices; s++) {
        FETCH(s)
        MULTIPLY(stage)
        stage = STAGE - stage;
        KEEP(s, stage)
    }
    MULTIPLY(stage)
    barrier();

    uint patch_ = gl_SubgroupID * PATCH;
    [[dont_unroll]] for (uint i = 0; i < DOWN_M; i++) {
        STORE(0) STORE(1) STORE(2) STORE(3) STORE(4) STORE(5) STORE(6) STORE(7)
        barrier();
        for (uint e = gl_SubgroupInvocationID; e < MATRIX_M * OUT_WIDE / 4; e += SUBGROUP) {
            uint r = e / (OUT_WIDE / 4), c = e % (OUT_WIDE / 4), m = m0 + own_m * HIGH + i * MATRIX_M + r, n = n0 + own_n * OUT_WIDE + 4 * c;
            if (m >= rows) continue;
            vec4 v = uintBitsToFloat(tile[patch_ + r * PATCH_PITCH + c]) * unscale[m], u = vec4(0.0);
            if (EPILOGUE == 2) u = uintBitsToFloat(tile[patch_ + r * PATCH_PITCH + OUT_WIDE / 4 + c]) * unscale[m];
            [[unroll]] for (uint q = 0; q < 4; q++) {
                if (n + q >= columns) continue;
                uint at = m * stride + column + n + q;
                v[q] *= W_UNSCALE(w, n + q);
                if (EPILOGUE == 2) u[q] *= W_UNSCALE(up, n + q);
                if (BIASED != 0) {
                    v[q] += load_weight(bias, column + n + q);
                    if (EPILOGUE == 2) u[q] += load_weight(up_bias, column + n + q);
                }
                if (EPILOGUE == 1) v[q] += residual[at];
                if (EPILOGUE == 2) v[q] = silu(vec4(v[q])).x * u[q];
                y[at] = v[q];
            }
        }
        barrier();
    }
}
