#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"
#include "common/attention_coop.glsl"

// What attention_coopmat.comp computes, with the same weights, where logits can be weighed as matrices: each element by its row and column, a row's
// largest by a reduction, and the weights multiplied as they are (VK_NV_cooperative_matrix2). So no logit passes through shared memory, and
// subgroups meet at tiles alone. MATRIX_K is MATRIX_N, as a sum of one product is a factor of the next.
//
// A row's largest logit is looked for only where some element is larger than what it was: that is seldom after the first tiles.

const uint ACROSS = KEYS / MATRIX_N;         // matrices of a row of logits
const uint RESULT_PITCH = MATRIX_N / 4 + 1;

shared uvec4 result[ROWS * RESULT_PITCH];
shared float key_unscale[KEYS], value_exponent[KEYS], value_power[KEYS]; // power: 2^-exponent
shared uint row_low[ROWS], row_span[ROWS];                               // the lowest key that a row sees, and how many follow

float larger(const in float a, const in float b) { return max(a, b); }
float both(const in float a, const in float b) { return a + b; }
// Elements by row and column of a matrix, whose first row is a workgroup's row `own` and whose first column is a tile's key `key`.
float unscale_of(const in uint row, const in uint column, const in float zero, const in uint own, const in uint row0) {
    return q_unscale[q_at(min(row0 + own + row, queries * group - 1))] * scale;
}
float logit_of(const in uint row, const in uint column, const in float product, const in uint key) {
    return capped(product * key_unscale[key + column]) + value_exponent[key + column];
}
float seen_of(const in uint row, const in uint column, const in float logit, const in uint own, const in uint position) {
    return position + column - row_low[own + row] <= row_span[own + row] ? logit : MASKED; // wraps before low
}
float counted_of(const in uint row, const in uint column, const in float weight, const in uint key) { return weight * value_power[key + column]; }

void main() {
    uint lane = gl_LocalInvocationID.x, own = gl_SubgroupID * MATRIX_M; // the band's first row
    uint rows = queries * group, row0 = ((rows - 1) / ROWS - gl_WorkGroupID.x) * ROWS; // those with most keys start first
    uint after = first + row0 / group + 1, end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1); // behind the keys that the first row sees, and the last
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0, low = lowest_key(end - 1); // from low on, all rows see

    for (uint e = lane; e < ROWS; e += WORKGROUP) {
        uint position = first + (row0 + e) / group;
        row_low[e] = lowest_key(position);
        row_span[e] = position - row_low[e];
    }
    put_rows(row0, rows);
    MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) query[DEEP];
    SUM sum[OUT], unscale, top = SUM(MASKED), total = SUM(0.0); // total: of the columns that an element has had
    [[unroll]] for (uint i = 0; i < DEEP; i++) coopMatLoad(query[i], tile, own * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OUT; n++) sum[n] = SUM(0.0);
    coopMatPerElementNV(unscale, total, unscale_of, own, row0);

    for (uint key0 = begin; key0 < end; key0 += KEYS) {
#include "common/attention_fetch.glsl"
        if (lane < KEYS) {
            key_unscale[lane] = got_unscale;
            value_exponent[lane] = got_exponent;
            value_power[lane] = exp2(-got_exponent);
        }
        barrier();

        SUM logit[ACROSS], best = top;
        [[unroll]] for (uint j = 0; j < ACROSS; j++) {
            logit[j] = SUM(0.0);
            [[unroll]] for (uint i = 0; i < DEEP; i++) {
                MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
                coopMatLoad(b, tile, j * MATRIX_N * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                logit[j] = coopMatMulAdd(query[i], b, logit[j]);
            }
            logit[j] = logit[j] * unscale;
            coopMatPerElementNV(logit[j], logit[j], logit_of, j * MATRIX_N);
        }
        if (key0 + KEYS > after || key0 < low) // some row does not see all of the tile
            [[unroll]] for (uint j = 0; j < ACROSS; j++) coopMatPerElementNV(logit[j], logit[j], seen_of, own, key0 + j * MATRIX_N);
        bool grew = false;
        [[unroll]] for (uint j = 0; j < ACROSS; j++)
            [[unroll]] for (uint i = 0; i < best.length(); i++) {
                grew = grew || logit[j][i] > top[i];
                best[i] = max(best[i], logit[j][i]);
            }
        if (subgroupAny(grew)) {
            coopMatReduceNV(best, best, gl_CooperativeMatrixReduceRowNV, larger);
            [[unroll]] for (uint i = 0; i < best.length(); i++) top[i] = top[i] == best[i] ? 1.0 : exp2(top[i] - best[i]); // 1 exactly where a row's did not grow
            total = total * top;
            [[unroll]] for (uint n = 0; n < OUT; n++) sum[n] = sum[n] * top;
            top = best;
        }
        [[unroll]] for (uint j = 0; j < ACROSS; j++) {
            [[unroll]] for (uint i = 0; i < top.length(); i++) logit[j][i] = logit[j][i] == MASKED ? 0.0 : exp2(logit[j][i] - top[i]);
            MATRIX(gl_MatrixUseAccumulator, MATRIX_M, MATRIX_N) halves = MATRIX(gl_MatrixUseAccumulator, MATRIX_M, MATRIX_N)(logit[j]);
            SUM counted = SUM(halves);
            coopMatPerElementNV(counted, counted, counted_of, j * MATRIX_N);
            total = total + counted;
            MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) weight = MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K)(halves);
            [[unroll]] for (uint n = 0; n < OUT; n++) {
                MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
                coopMatLoad(b, tile, VALUES + n * MATRIX_N * VALUE_PITCH + j * (MATRIX_K / 8), VALUE_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                sum[n] = coopMatMulAdd(weight, b, sum[n]);
            }
        }
    }

    coopMatReduceNV(total, total, gl_CooperativeMatrixReduceRowNV, both);
    [[unroll]] for (uint n = 0; n < OUT; n++) {
        [[unroll]] for (uint i = 0; i < total.length(); i++) sum[n][i] /= total[i];
        subgroupBarrier(); // what was there was read
        coopMatStore(sum[n], result, own * RESULT_PITCH, RESULT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        for (uint e = gl_SubgroupInvocationID; e < MATRIX_M * (MATRIX_N / 4); e += SUBGROUP) {
            uint r = own + e / (MATRIX_N / 4), c = e % (MATRIX_N / 4);
            if (row0 + r < rows) o[(skip_q * kv_heads * group + q_at(row0 + r)) * (HEAD_DIM / 4) + n * (MATRIX_N / 4) + c] = uintBitsToFloat(result[r * RESULT_PITCH + c]);
        }
    }
    if (ACTIVITY == 1) add_activity(row0, rows);
}
