#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_cooperative_matrix : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"
#include "common/attention_coop.glsl"

// What attention.comp computes, by cooperative matrices.
//
// What is multiplied of q and the sums of o stay in registers, a band's in a subgroup. Where a head's sums are too many, two subgroups have the same
// rows (SPLIT), each with one half of the logits and of o. Logits pass through shared memory, to be weighed row by row: the weight of key j is
// 2^(logit_j + e_j − top), with v's unscale of 2^e_j in it, so that it is at most 1 and values may be of any size; a row's sum is of weights, as f16
// has them, over 2^e_j.

layout(constant_id = 8) const uint SPLIT = 1;    // 1 or 2 subgroups have the same rows: each has a part of o, and of the logits; divides KEYS/MATRIX_N and OUT
layout(constant_id = 9) const uint APART = 0;    // 1: the first tile stands before the loop

const uint OWN_OUT = OUT / SPLIT;                                // of o, of a subgroup; WORKGROUP is BANDS · SPLIT · SUBGROUP
const uint ROW_PITCH = KEYS / 4 + 1, FACTOR = KEYS / 8; // of a row of logits; then of its weights, and from FACTOR on by what its sums are multiplied
const uint PER_ROW = SPLIT * SUBGROUP / MATRIX_M;                // invocations that weigh a row, of one subgroup
const uint QUADS = KEYS / 4 / PER_ROW;                           // of logits, of an invocation

shared uvec4 weighed[ROWS * ROW_PITCH];
shared vec4 key_unscale[KEYS / 4], value_exponent[KEYS / 4];
shared uint grown[BANDS * SPLIT]; // of each subgroup: whether a row that it weighs has a new maximum

// MEET waits for the subgroups of a band.
#define MEET { if (SPLIT == 1) subgroupBarrier(); else barrier(); }

void main() {
    uint lane = gl_LocalInvocationID.x, in_subgroup = gl_SubgroupInvocationID;
    uint band = gl_SubgroupID / SPLIT, share = gl_SubgroupID % SPLIT, own = band * MATRIX_M; // the band's first row
    uint rows = queries * group, row0 = ((rows - 1) / ROWS - gl_WorkGroupID.x) * ROWS;                         // those with most keys start first
    uint end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;

    put_rows(row0, rows);
    MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) query[DEEP];
    SUM sum[OWN_OUT];
    [[unroll]] for (uint i = 0; i < DEEP; i++) coopMatLoad(query[i], tile, own * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) sum[n] = SUM(0.0);

    // The row that an invocation weighs with PER_ROW − 1 others, and every PER_ROW-th quad of it.
    uint r = (share * SUBGROUP + in_subgroup) / PER_ROW, part = in_subgroup % PER_ROW, row = row0 + own + r, position = first + row / group;
    uint low = lowest_key(position), span = position - low;
    uint to = row < rows ? (skip_q * kv_heads * group + q_at(row)) * (HEAD_DIM / 4) : ~0u; // where in o it goes, known here so that one number is held and not two
    float unscale = q_unscale[q_at(min(row, rows - 1))] * scale, top = MASKED, total = 0.0; // total: of the quads that it weighs

    uint key0 = begin;
    if (APART == 1) {
#define FIRST
#include "common/attention_turn.glsl"
#undef FIRST
        key0 += KEYS;
    }
    for (; key0 < end; key0 += KEYS) {
#include "common/attention_turn.glsl"
    }

    [[unroll]] for (uint m = 1; m < PER_ROW; m <<= 1) total += subgroupShuffleXor(total, m);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) {
        MEET // what was there was read
        coopMatStore(sum[n], weighed, own * ROW_PITCH + share * (MATRIX_N / 4), ROW_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        MEET
        [[unroll]] for (uint c0 = 0; c0 < SPLIT * (MATRIX_N / 4); c0 += PER_ROW) {
            uint c = c0 + part, of = c / (MATRIX_N / 4); // of which subgroup
            if (to != ~0u && of < SPLIT) o[to + (of * OWN_OUT + n) * (MATRIX_N / 4) + c % (MATRIX_N / 4)] = uintBitsToFloat(weighed[(own + r) * ROW_PITCH + c]) / total;
        }
    }
    if (ACTIVITY == 1) add_activity(row0, rows);
}
