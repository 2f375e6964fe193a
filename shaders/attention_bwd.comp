#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"
#include "common/attention_bwd.glsl"

// The gradients of attention.comp over whole windows: with p_ij the softmax of row i, a query of a head, at key j,
// D_i = Σ_c do[i,c]·o[i,c], which is Σ_j p_ij·(do_i·v_j), and ds_ij = p_ij·(do_i·v_j − D_i):
//
// Where logits are capped, ds_ij is multiplied by the slope of that.
//
//   dq_i = Σ_j ds_ij·k_j/√d      dk_j = Σ_i ds_ij·q_i/√d      dv_j = Σ_i p_ij·do_i       Dao et al. 2022, arXiv 2205.14135
//
// q, do, o, dq [windows·queries, kv_heads·group·d] f32, dq may be o · k, v, dk, dv [windows·queries, kv_heads·d] f32
// statistics [windows·queries, kv_heads·group] of log2 Σ_j exp2(logit_ij) and D_i
//
// The first pass has a query and head in a row: it makes dq in one go over the keys, the sum of exponentials rescaled as in
// attention.comp, and the statistics. With OF_KEYS, the second, a row is a key: it goes over the queries of all heads of its group, in
// the order of i·group + h.
//
// A workgroup takes ROWS rows (x) of a KV head (y) of a window (z). Any d that is a multiple of 2. f32; the order of additions to an element
// depends on nothing but d, group and positions.
//
// lavapipe 22.3 stops an invocation's loops at 65,535 iterations. Those that are left when [[unroll]] is obeyed, for each tile of 64:
// 1, d/32 chunks of 2 dot products, and 1 + 16 for d/64 blocks of each gradient: 19,000 for 32,768 keys of 64, and times the group
// (and 37 in place of 20) for as many queries.

// x and y are what a row has, a and b what the others have: x·a is the logit, y·b the gradient of p.
layout(binding = 0) readonly buffer X4 { vec4  x4[]; };
layout(binding = 0) readonly buffer X  { float x[]; };
layout(binding = 1) readonly buffer Y4 { vec4  y4[]; };
layout(binding = 1) readonly buffer Y  { float y[]; };
layout(binding = 2) buffer Statistics { vec2 statistics[]; };
layout(binding = 3) writeonly buffer DX4 { vec4  dx4[]; };
layout(binding = 3) writeonly buffer DX  { float dx[]; };
#if defined(OF_KEYS)
layout(binding = 4) writeonly buffer DY4 { vec4  dy4[]; };
layout(binding = 4) writeonly buffer DY  { float dy[]; };
#else
layout(binding = 4) readonly buffer O4 { vec4  o4[]; };
layout(binding = 4) readonly buffer O  { float o[]; };
#endif
layout(binding = 5) readonly buffer A4 { vec4  a4[]; };
layout(binding = 5) readonly buffer A  { float a[]; };
layout(binding = 6) readonly buffer B4 { vec4  b4[]; };
layout(binding = 6) readonly buffer B  { float b[]; };

#include "common/attention_tiles.glsl"

void main() {
    uint thread = gl_LocalInvocationID.x, tr = thread / THREAD_COLS, tc = thread % THREAD_COLS;
    uint rows = row_count(), row0 = first_row(ROWS), begin, end;
    others_of(row0, min(row0 + ROWS, rows), begin, end);

    uint row[EACH], low[EACH], span[EACH];
    vec4 gradient[EACH][BLOCKS];
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        row[i] = row0 + tr + THREAD_ROWS * i;
        seen_by(row[i], low[i], span[i]);
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) gradient[i][n] = vec4(0.0);
    }
#if defined(OF_KEYS)
    vec4 values[EACH][BLOCKS];
    [[unroll]] for (uint i = 0; i < EACH; i++)
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) values[i][n] = vec4(0.0);
#else
    float top[EACH], sum[EACH], mean[EACH]; // sum: of this invocation's others
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        top[i] = MASKED;
        sum[i] = 0.0;
        vec4 product = vec4(0.0);
        if (row[i] < rows)
            [[unroll]] for (uint c0 = 0; c0 < DIMS; c0 += THREAD_COLS) {
                uint c = c0 + tc, at = row_at(row[i]) * HEAD_DIM;
                if (c < DIMS) product += LOAD(y, at, c) * LOAD(o, at, c);
            }
        partial[i * WORKGROUP + thread] = (product.x + product.y) + (product.z + product.w);
    }
    barrier();
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        mean[i] = 0.0;
        [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) mean[i] += partial[i * WORKGROUP + tr * THREAD_COLS + n];
    }
#endif

    for (uint other0 = begin; other0 < end; other0 += OTHERS) {
        vec4 logits[EACH], dp[EACH]; // component j is other tc + THREAD_COLS·j
        [[unroll]] for (uint i = 0; i < EACH; i++) logits[i] = dp[i] = vec4(0.0);
        PRODUCTS(logits, x, a)
        PRODUCTS(dp, y, b)

#if defined(OF_KEYS)
        [[unroll]] for (uint j = 0; j < THEIRS; j++) {
            uint other = other0 + tc + THREAD_COLS * j;
            vec2 of = statistics[statistics_at(min(other, end - 1))];
            [[unroll]] for (uint i = 0; i < EACH; i++) {
                float logit = capped(logits[i][j] * scale), p = other - low[i] <= span[i] ? exp2(min(logit - of.x, 0.0)) : 0.0;
                logits[i][j] = p;
                dp[i][j] = p * (dp[i][j] - of.y) * cap_slope(logit);
            }
        }
        ACCUMULATE(values, logits, b)
#else
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            float best = MASKED;
            [[unroll]] for (uint j = 0; j < THEIRS; j++) {
                logits[i][j] = other0 + tc + THREAD_COLS * j - low[i] <= span[i] ? capped(logits[i][j] * scale) : MASKED;
                best = max(best, logits[i][j]);
            }
            partial[i * WORKGROUP + thread] = best;
        }
        barrier();
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            float best = top[i];
            [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) best = max(best, partial[i * WORKGROUP + tr * THREAD_COLS + n]);
            float rescale = top[i] == best ? 1.0 : exp2(top[i] - best); // 1 exactly where the tile changes nothing
            top[i] = best;
            sum[i] *= rescale;
            [[unroll]] for (uint n = 0; n < BLOCKS; n++) gradient[i][n] *= rescale;
            [[unroll]] for (uint j = 0; j < THEIRS; j++) {
                float p = logits[i][j] == MASKED ? 0.0 : exp2(logits[i][j] - best);
                sum[i] += p;
                dp[i][j] = p * (dp[i][j] - mean[i]) * cap_slope(logits[i][j]);
            }
        }
#endif
        ACCUMULATE(gradient, dp, a)
    }

#if defined(OF_KEYS)
    float inverse = scale * LN2;
    STORE_ROWS(dy, values)
#else
    barrier(); // the statistics of the last tile were read
    [[unroll]] for (uint i = 0; i < EACH; i++) partial[i * WORKGROUP + thread] = sum[i];
    barrier();
#endif
    [[unroll]] for (uint i = 0; i < EACH; i++) {
#if !defined(OF_KEYS)
        float total = 0.0;
        [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) total += partial[i * WORKGROUP + tr * THREAD_COLS + n];
        if (row[i] < rows && tc == 0) statistics[statistics_at(row[i])] = vec2(top[i] + log2(total), mean[i]);
        float inverse = scale * LN2 / total;
#endif
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) gradient[i][n] *= inverse;
    }
    STORE_ROWS(dx, gradient)
}
