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

// What linear.comp computes, of f16 weights by cooperative matrices: x comes from tohalf.comp, row m times 1/unscale[m].
//
// x [rows, depth], w, up [columns, depth], bias, up_bias [stride] f16 · unscale [rows], residual, y [rows, stride] f32;
// depth a multiple of 8. f32 accumulation, in the order of slices of MATRIX_K k, and of the device's own within one.
// One workgroup a tile of ROWS × COLUMNS of y, or ROWS × COLUMNS/2 with up beside w; a subgroup, of SUBGROUP invocations, HIGH × WIDE of
// it as matrices of MATRIX_M × MATRIX_N in registers. Slices of SLICE k pass through two buffers in shared memory: the fetch of slice
// s+1 is hidden by the products of slice s. In the end the sums pass through it to memory, so that no edge needs a path of its own.
// WORKGROUP is ROWS/HIGH · COLUMNS/WIDE · SUBGROUP, all subgroups full. MATRIX_K divides SLICE, MATRIX_M HIGH, MATRIX_N WIDE/2; each is
// a multiple of 8. The loops with an attribute must be unrolled, as their indices are of registers.

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
const uint EIGHTS = SLICE / 8;    // of a row in a slice: uvec4 of 8 f16
const uint PITCH = EIGHTS + 1;    // odd, so that 8 rows of a matrix lie in different banks
const uint LINES = ROWS + COLUMNS, UNITS = LINES * EIGHTS, FETCHES = (UNITS + WORKGROUP - 1) / WORKGROUP;
const uint ACROSS = COLUMNS / WIDE, SUBGROUPS = ROWS / HIGH * ACROSS;
const uint PATCH_PITCH = WIDE / 4 + 1, PATCH = MATRIX_M * PATCH_PITCH; // a row of a subgroup's matrices, f32
const uint STAGES = 2 * LINES * PITCH, PATCHES = SUBGROUPS * PATCH;
shared uvec4 tile[STAGES > PATCHES ? STAGES : PATCHES];

uint m0, n0;

// Eight of line t of the tile: rows of x, then for each subgroup its columns of w, or half of them and the same of up. Rows beyond the
// edge are the last one again and never written; what is beyond the depth is zero.
uvec4 fetch(uint t, uint eighth) {
    uint eighths = depth / 8;
    if (eighth >= eighths) return uvec4(0);
    if (t < ROWS) return x[min(m0 + t, rows - 1) * eighths + eighth];
    t -= ROWS;
    uint at = min(n0 + t / WIDE * OUT_WIDE + t % OUT_WIDE, columns - 1) * eighths + eighth;
    if (t % WIDE >= OUT_WIDE) return up[at];
    return w[at];
}

void main() {
    uint lane = gl_LocalInvocationID.x, own_m = gl_SubgroupID / ACROSS, own_n = gl_SubgroupID % ACROSS;
    m0 = gl_WorkGroupID.y * ROWS;
    n0 = gl_WorkGroupID.x * OUT;
    const uint DOWN_M = HIGH / MATRIX_M, DOWN_N = WIDE / MATRIX_N;
    coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sum[DOWN_M * DOWN_N];
    [[unroll]] for (uint i = 0; i < DOWN_M * DOWN_N; i++) sum[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);

    uint slices = (depth + SLICE - 1) / SLICE;
    for (uint s = 0; s <= slices; s++) { // fetches slice s and multiplies the one before
        uvec4 next[FETCHES];
        if (s < slices)
            [[unroll]] for (uint f = 0; f < FETCHES; f++) {
                uint e = lane + f * WORKGROUP;
                if (e < UNITS) next[f] = fetch(e / EIGHTS, s * EIGHTS + e % EIGHTS);
            }
        if (s > 0) {
            uint line = ((s - 1) & 1) * LINES;
            for (uint k = 0; k < SLICE / MATRIX_K; k++) {
                coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> a[DOWN_M];
                coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> b;
                [[unroll]] for (uint i = 0; i < DOWN_M; i++)
                    coopMatLoad(a[i], tile, (line + own_m * HIGH + i * MATRIX_M) * PITCH + k * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint j = 0; j < DOWN_N; j++) {
                    coopMatLoad(b, tile, (line + ROWS + own_n * WIDE + j * MATRIX_N) * PITCH + k * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                    [[unroll]] for (uint i = 0; i < DOWN_M; i++) sum[i * DOWN_N + j] = coopMatMulAdd(a[i], b, sum[i * DOWN_N + j]);
                }
            }
        }
        if (s < slices)
            [[unroll]] for (uint f = 0; f < FETCHES; f++) {
                uint e = lane + f * WORKGROUP;
                if (e < UNITS) tile[((s & 1) * LINES + e / EIGHTS) * PITCH + e % EIGHTS] = next[f];
            }
        barrier();
    }

    uint patch_ = gl_SubgroupID * PATCH;
    [[unroll]] for (uint i = 0; i < DOWN_M; i++) {
        [[unroll]] for (uint j = 0; j < DOWN_N; j++)
            coopMatStore(sum[i * DOWN_N + j], tile, patch_ + j * (MATRIX_N / 4), PATCH_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        for (uint e = gl_SubgroupInvocationID; e < MATRIX_M * OUT_WIDE / 4; e += SUBGROUP) {
            uint r = e / (OUT_WIDE / 4), c = e % (OUT_WIDE / 4), m = m0 + own_m * HIGH + i * MATRIX_M + r, n = n0 + own_n * OUT_WIDE + 4 * c;
            if (m >= rows) continue;
            vec4 v = uintBitsToFloat(tile[patch_ + r * PATCH_PITCH + c]) * unscale[m], u = vec4(0.0);
            if (EPILOGUE == 2) u = uintBitsToFloat(tile[patch_ + r * PATCH_PITCH + OUT_WIDE / 4 + c]) * unscale[m];
            [[unroll]] for (uint q = 0; q < 4; q++) {
                if (n + q >= columns) continue;
                uint at = m * stride + column + n + q;
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
