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

// What attention.comp computes, by cooperative matrices: q, k and v come from tohalf.comp, a head of a row times the power of two that brings
// its largest element near the end of what f16 holds, and 1/unscale of it.
//
// q [windows·queries, kv_heads·group·d], k, v [windows·key_stride, kv_heads·d] f16, from the first row that is meant; unscale of each, by row
// and head, f32 · o f32, skip_q rows before · d a multiple of 8 and of what MATRIX_K and MATRIX_N are
//
// A workgroup takes ROWS rows (x), MATRIX_M of them a subgroup, of a KV head (y) of a window (z): what is multiplied of q and the sums of o stay in
// registers while tiles of KEYS keys and values pass through shared memory. Where a head's sums are too many, two subgroups have the same rows (SPLIT),
// each with one half of the logits and of o. Logits pass through shared memory too, to be weighed row by row: the weight of key j is
// 2^(logit_j + e_j − top), with v's unscale of 2^e_j in it, so that it is at most 1 and values may be of any size; a row's sum is of weights, as f16
// has them, over 2^e_j.
// f32 sums; the order of additions to an element depends on nothing but d, the positions of the keys, and within a matrix the device.
// activity as in attention.comp, of blocks of ROWS.

layout(constant_id = 3) const uint SUBGROUP = 8; // a multiple of MATRIX_M, and at most 8 times it
layout(constant_id = 4) const uint MATRIX_M = 8;
layout(constant_id = 5) const uint MATRIX_N = 8; // divides KEYS/2
layout(constant_id = 6) const uint MATRIX_K = 8; // divides KEYS
layout(constant_id = 7) const uint ACTIVITY = 0; // 1: write that too
layout(constant_id = 8) const uint SPLIT = 1;    // 1 or 2 subgroups have the same rows: each has a part of o, and of the logits; divides KEYS/MATRIX_N and OUT
layout(constant_id = 9) const uint APART = 0;    // 1: the first tile stands before the loop
layout(binding = 0) readonly  buffer Q { uvec4 q[]; };
layout(binding = 1) coherent  buffer O { vec4 o[]; };
layout(binding = 2) writeonly buffer A { vec4 activity[]; };
layout(binding = 3) readonly  buffer K { uvec4 k[]; };
layout(binding = 4) readonly  buffer V { uvec4 v[]; };
layout(binding = 5) readonly  buffer OfQ { float q_unscale[]; };
layout(binding = 6) readonly  buffer OfK { float k_unscale[]; };
layout(binding = 7) readonly  buffer OfV { float v_unscale[]; };

const uint KEYS = 32;
const uint EIGHTHS = HEAD_DIM / 8, PITCH = EIGHTHS + 1;          // uvec4 of 8 f16; odd or not, 8 rows lie in different banks
const uint BANDS = 4, ROWS = BANDS * MATRIX_M;                   // WORKGROUP is BANDS · SPLIT · SUBGROUP
const uint DEEP = HEAD_DIM / MATRIX_K, OUT = HEAD_DIM / MATRIX_N; // matrices of a row of q, and of o
const uint OWN_OUT = OUT / SPLIT;                                // of o, of a subgroup
const uint K_FETCHES = (KEYS * EIGHTHS + WORKGROUP - 1) / WORKGROUP, V_FETCHES = (KEYS / 2 * EIGHTHS + WORKGROUP - 1) / WORKGROUP; // of v two rows each
const uint VALUES = KEYS * PITCH, VALUE_PITCH = KEYS / 8 + 1; // where values begin in the tile, a row for each of the head's d: a matrix reads along keys
const uint ROW_PITCH = KEYS / 4 + 1, FACTOR = KEYS / 8; // of a row of logits; then of its weights, and from FACTOR on by what its sums are multiplied
const uint PER_ROW = SPLIT * SUBGROUP / MATRIX_M;                // invocations that weigh a row, of one subgroup
const uint QUADS = KEYS / 4 / PER_ROW;                           // of logits, of an invocation

shared uvec4 tile[VALUES + HEAD_DIM * VALUE_PITCH]; // keys, then values transposed; first the rows of q, which are no more
shared uvec4 weighed[ROWS * ROW_PITCH];
shared vec4 key_unscale[KEYS / 4], value_exponent[KEYS / 4];
shared uint grown[BANDS * SPLIT]; // of each subgroup: whether a row that it weighs has a new maximum

// MEET waits for the subgroups of a band.
#define MEET { if (SPLIT == 1) subgroupBarrier(); else barrier(); }

uint q_at(uint row) { return (gl_WorkGroupID.z * queries + row / group) * kv_heads * group + gl_WorkGroupID.y * group + row % group; }
uint k_at(uint key) { return (gl_WorkGroupID.z * key_stride + key) * kv_heads + gl_WorkGroupID.y; }

void main() {
    uint lane = gl_LocalInvocationID.x, in_subgroup = gl_SubgroupInvocationID;
    uint band = gl_SubgroupID / SPLIT, share = gl_SubgroupID % SPLIT, own = band * MATRIX_M; // the band's first row
    uint rows = queries * group, row0 = ((rows - 1) / ROWS - gl_WorkGroupID.x) * ROWS;                         // those with most keys start first
    uint end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;

    for (uint e = lane; e < ROWS * EIGHTHS; e += WORKGROUP) tile[e / EIGHTHS * PITCH + e % EIGHTHS] = q[q_at(min(row0 + e / EIGHTHS, rows - 1)) * EIGHTHS + e % EIGHTHS];
    barrier();
    coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> query[DEEP];
    coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sum[OWN_OUT];
    [[unroll]] for (uint i = 0; i < DEEP; i++) coopMatLoad(query[i], tile, own * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) sum[n] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);

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
    if (ACTIVITY == 0) return;
    memoryBarrierBuffer();
    barrier();
    uint quads = HEAD_DIM / 4, block = skip_activity + gl_WorkGroupID.z * blocks + row0 / ROWS, count = min(ROWS, rows - row0);
    for (uint e = lane; e < group * quads; e += WORKGROUP) {
        vec4 added = vec4(0.0);
        for (uint i = (e / quads + group - row0 % group) % group; i < count; i += group) added += abs(o[(skip_q * kv_heads * group + q_at(row0 + i)) * quads + e % quads]);
        activity[((block * kv_heads + gl_WorkGroupID.y) * group) * quads + e] = added;
    }
}
