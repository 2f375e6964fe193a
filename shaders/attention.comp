#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"

// o[i,h] = Σ_j softmax_j(q[i,h]·k[j,h/group]/√d) v[j,h/group] over the keys j ≤ position of i, and > position − sliding where that
// is not 0: causal grouped-query attention. Logits are capped where CAP says so. The softmax is rescaled as larger logits come (Milakov & Gimelshein 2018,
// arXiv 1805.02867; in tiles, Dao et al. 2022, arXiv 2205.14135).
//
// q, o [windows·queries, kv_heads·group·d] f32, o may be q · k, v [windows·key_stride, kv_heads·d] f32
// Query i of the dispatch is at position first + i of its window. Row i·group + h of a window and KV head is query i of the head
// kv_head·group + h: the heads of a group share the tiles of K and V.
//
// A workgroup takes ROWS rows (x) of a KV head (y) of a window (z); the others are keys. Any d that is a multiple of 2, by vec4 if of 4.
// f32; the order of additions to an element depends on nothing but d and the positions of the keys.
// activity [windows·blocks, kv_heads·group·d] f32, where it is wanted: Σ|o| over the rows of each workgroup, in their order.
//
// PACKED: the tokens of segments instead of windows, see common/attention.glsl; there is no activity.
//
// lavapipe 22.3 stops an invocation's loops at 65,535 iterations. Those that are left when [[unroll]] is obeyed, for each tile of 64
// keys: d/32 chunks of the dot products and d/64 blocks of 1 + 16 for the values: 39 for d = 128, 77 for d = 256: 2,500 and 5,000 for
// 4096 keys, 20,000 and 40,000 for 32,768.

layout(constant_id = 5) const uint ACTIVITY = 0; // 1: write that too

layout(binding = 0) readonly  buffer Q4 { vec4  q4[]; };
layout(binding = 0) readonly  buffer Q  { float q[]; };
layout(binding = 1) writeonly buffer O4 { vec4  o4[]; };
layout(binding = 1) writeonly buffer O  { float o[]; };
#if !defined(PACKED)
layout(binding = 2) writeonly buffer A4 { vec4  activity4[]; };
layout(binding = 2) writeonly buffer A  { float activity[]; };
#endif
layout(binding = 3) readonly  buffer K4 { vec4  k4[]; };
layout(binding = 3) readonly  buffer K  { float k[]; };
layout(binding = 4) readonly  buffer V4 { vec4  v4[]; };
layout(binding = 4) readonly  buffer V  { float v[]; };

uint query0, key0; // rows of q and k before the window's; PACKED: where the segment's table begins
uint row_at(uint row) { return (query0 + row / group) * kv_heads * group + gl_WorkGroupID.y * group + row % group; }
#if defined(PACKED)
uint other_at(uint key) { return map[key0 + key] * kv_heads + gl_WorkGroupID.y; }
#else
uint other_at(uint key) { return (key0 + key) * kv_heads + gl_WorkGroupID.y; }
#endif
#include "common/attention_tiles.glsl"

// Block N of activity: see ACCUMULATE_BLOCK.
#define ACTIVITY_BLOCK(N) \
    if (N < BLOCKS) { \
        barrier(); /* the weights were read */ \
        [[unroll]] for (uint i = 0; i < EACH; i++) weights[(tr + THREAD_ROWS * i) * THREAD_COLS + tc] = abs(acc[i][min(N, BLOCKS - 1)]); \
        barrier(); \
        for (uint e = thread; e < group * WIDTH; e += WORKGROUP) { \
            uint h = e / WIDTH, c = N * WIDTH + e % WIDTH; \
            vec4 total = vec4(0.0); \
            for (uint r = (h + group - row0 % group) % group; r < count; r += group) total += weights[r * THREAD_COLS + e % WIDTH]; \
            if (c < DIMS) STORE(activity, block * q_cols + (gl_WorkGroupID.y * group + h) * HEAD_DIM, c, total) \
        } \
    }

void main() {
    uint thread = gl_LocalInvocationID.x, tr = thread / THREAD_COLS, tc = thread % THREAD_COLS;
#if defined(PACKED)
    READ_ITEM
    query0 = q_window;
    key0 = table;
    uint rows = queries * group;
#else
    uint rows = queries * group, row0 = ((rows - 1) / ROWS - gl_WorkGroupID.x) * ROWS; // those with most keys start first
    query0 = skip_q + gl_WorkGroupID.z * queries;
    key0 = skip_k + gl_WorkGroupID.z * key_stride;
#endif
    uint end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / OTHERS * OTHERS : 0;

    uint row[EACH], low[EACH], span[EACH]; // a row sees the keys low to low + span
    float top[EACH], sum[EACH];            // sum: of this invocation's keys
    vec4 acc[EACH][BLOCKS];
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        row[i] = row0 + tr + THREAD_ROWS * i;
        low[i] = lowest_key(first + row[i] / group);
        span[i] = first + row[i] / group - low[i];
        top[i] = MASKED;
        sum[i] = 0.0;
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) acc[i][n] = vec4(0.0);
    }

    for (uint other0 = begin; other0 < end; other0 += OTHERS) {
        vec4 logits[EACH]; // component j is key tc + THREAD_COLS·j
        [[unroll]] for (uint i = 0; i < EACH; i++) logits[i] = vec4(0.0);
        PRODUCTS(logits, q, k)
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            float best = MASKED;
            [[unroll]] for (uint j = 0; j < THEIRS; j++) {
                logits[i][j] = other0 + tc + THREAD_COLS * j - low[i] <= span[i] ? capped(logits[i][j] * scale) : MASKED; // wraps before low
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
            [[unroll]] for (uint n = 0; n < BLOCKS; n++) acc[i][n] *= rescale;
            [[unroll]] for (uint j = 0; j < THEIRS; j++) {
                logits[i][j] = logits[i][j] == MASKED ? 0.0 : exp2(logits[i][j] - best);
                sum[i] += logits[i][j];
            }
        }
        ACCUMULATE(acc, logits, v)
    }

    barrier(); // the partial maxima of the last tile were read
    [[unroll]] for (uint i = 0; i < EACH; i++) partial[i * WORKGROUP + thread] = sum[i];
    barrier();
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        float total = 0.0;
        [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) total += partial[i * WORKGROUP + tr * THREAD_COLS + n];
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) acc[i][n] /= total;
    }
    STORE_ROWS(o, acc)
#if !defined(PACKED)
    if (ACTIVITY == 0) return;
    uint q_cols = kv_heads * group * HEAD_DIM, block = skip_activity + gl_WorkGroupID.z * blocks + row0 / ROWS, count = min(ROWS, rows - row0);
    ACTIVITY_BLOCK(0) ACTIVITY_BLOCK(1) ACTIVITY_BLOCK(2) ACTIVITY_BLOCK(3)
#endif
}
