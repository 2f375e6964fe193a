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
// A workgroup takes 4·THREAD_ROWS rows (x) of a KV head (y) of a window (z), and passes over the keys in tiles of 4·THREAD_COLS: an
// invocation has 4 rows by 4 keys of the logits, and 4 rows by every THREAD_COLS-th vec4 of o. Any d that is a multiple of 2, by
// vec4 if of 4. f32; the order of additions to an element depends on nothing but d and the positions of the keys.
// activity [windows·blocks, kv_heads·group·d] f32, where it is wanted: Σ|o| over the rows of each workgroup, in their order.
//
// PACKED: the tokens of segments instead of windows, see common/attention.glsl; there is no activity.
//
// lavapipe 22.3 stops an invocation's loops at 65,535 iterations. Those that are left when [[unroll]] is obeyed, for each tile of 64
// keys: d/32 chunks of the dot products and d/64 blocks of 1 + 16 for the values: 39 for d = 128, 77 for d = 256: 2,500 and 5,000 for
// 4096 keys, 20,000 and 40,000 for 32,768.

layout(constant_id = 3) const uint THREAD_ROWS = 8;
layout(constant_id = 4) const uint CHUNK = 8;    // vec4 of the dot products that are in shared memory at a time, at most 8
layout(constant_id = 5) const uint ACTIVITY = 0; // 1: write that too

const uint THREAD_COLS = 16;                    // WORKGROUP / THREAD_ROWS
const uint KEYS = 4 * THREAD_COLS;
const uint ROWS = 4 * THREAD_ROWS;
const uint CHUNKS = (DIMS + CHUNK - 1) / CHUNK;
const uint BLOCKS = (DIMS + THREAD_COLS - 1) / THREAD_COLS;
const uint WIDTH = DIMS < THREAD_COLS ? DIMS : THREAD_COLS;

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

// 26 KiB at most.
shared vec4 tile[KEYS * THREAD_COLS]; // CHUNK × (ROWS + KEYS) of q and k, or KEYS × WIDTH of v
shared vec4 weights[ROWS * THREAD_COLS];
shared vec4 partial[THREAD_ROWS * THREAD_COLS];

void main() {
    uint thread = gl_LocalInvocationID.x, tr = thread / THREAD_COLS, tc = thread % THREAD_COLS;
#if defined(PACKED)
    READ_ITEM
    uint rows = queries * group;
#else
    uint rows = queries * group, tile_row = (rows - 1) / ROWS - gl_WorkGroupID.x; // those with most keys start first
    uint row0 = tile_row * ROWS;
    uint q_window = skip_q + gl_WorkGroupID.z * queries, k_window = skip_k + gl_WorkGroupID.z * key_stride;
#endif
    uint kv_head = gl_WorkGroupID.y;
    uint q_cols = kv_heads * group * HEAD_DIM, k_cols = kv_heads * HEAD_DIM;

    uvec4 row; // by element: SPIRV-Tools of 2023 folds vectors of specialization constants to invalid code
    [[unroll]] for (uint i = 0; i < 4; i++) row[i] = row0 + tr + THREAD_ROWS * i;
    uvec4 position = first + row / group;
    uint end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;
    uvec4 low;
    [[unroll]] for (uint i = 0; i < 4; i++) low[i] = lowest_key(position[i]);

    vec4 top = vec4(MASKED), sum = vec4(0.0); // sum: of this invocation's keys
    vec4 acc[4][BLOCKS];
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) acc[i][n] = vec4(0.0);

    for (uint key0 = begin; key0 < end; key0 += KEYS) {
        mat4 logits = mat4(0.0); // [key][row]: column j is key tc + THREAD_COLS·j
        for (uint chunk = 0; chunk < CHUNKS; chunk++) {
            barrier(); // the tile was read
            [[unroll]] for (uint e0 = 0; e0 < CHUNK * (ROWS + KEYS); e0 += WORKGROUP) {
                uint e = e0 + thread, c = chunk * CHUNK + e % CHUNK, line = e / CHUNK;
                vec4 value = vec4(0.0);
                if (c < DIMS && line < ROWS && row0 + line < rows) {
                    uint at = (q_window + (row0 + line) / group) * q_cols + (kv_head * group + (row0 + line) % group) * HEAD_DIM;
                    value = LOAD(q, at, c) * scale;
                } else if (c < DIMS && line >= ROWS && key0 + line - ROWS < end) {
                    uint at = KEY_ROW(key0 + line - ROWS) * k_cols + kv_head * HEAD_DIM;
                    value = LOAD(k, at, c);
                }
                if (line < ROWS + KEYS) tile[e % CHUNK * (ROWS + KEYS) + line] = value;
            }
            barrier();
            [[unroll]] for (uint c = 0; c < CHUNK; c++) {
                uint at = c * (ROWS + KEYS);
                vec4 a[4], b[4];
                [[unroll]] for (uint i = 0; i < 4; i++) {
                    a[i] = tile[at + tr + THREAD_ROWS * i];
                    b[i] = tile[at + ROWS + tc + THREAD_COLS * i];
                }
                [[unroll]] for (uint j = 0; j < 4; j++)
                    [[unroll]] for (uint i = 0; i < 4; i++)
                        logits[j][i] += dot(a[i], b[j]);
            }
        }

        [[unroll]] for (uint j = 0; j < 4; j++) logits[j] = capped(logits[j]);
        bvec4 seen[4];
        vec4 best = vec4(MASKED);
        [[unroll]] for (uint j = 0; j < 4; j++) {
            seen[j] = lessThanEqual(key0 + tc + THREAD_COLS * j - low, position - low); // wraps before low
            best = max(best, mix(vec4(MASKED), logits[j], seen[j]));
        }
        partial[thread] = best;
        barrier();
        [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) best = max(best, partial[tr * THREAD_COLS + n]);
        best = max(best, top);
        vec4 rescale = mix(exp2(top - best), vec4(1.0), equal(top, best)); // 1 exactly where the tile changes nothing
        top = best;
        sum *= rescale;
        mat4 p;
        [[unroll]] for (uint j = 0; j < 4; j++) {
            p[j] = mix(vec4(0.0), exp2(min(logits[j] - top, 0.0)), seen[j]);
            sum += p[j];
        }
        p = transpose(p);
        [[unroll]] for (uint i = 0; i < 4; i++) weights[(tr + THREAD_ROWS * i) * THREAD_COLS + tc] = p[i];

        [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
            barrier(); // the tile was read; weights are written
            [[unroll]] for (uint e0 = 0; e0 < KEYS * WIDTH; e0 += WORKGROUP) {
                uint e = e0 + thread, c = n * WIDTH + e % WIDTH, key = key0 + e / WIDTH;
                vec4 value = vec4(0.0);
                if (c < DIMS && e < KEYS * WIDTH && key < end) {
                    uint at = KEY_ROW(key) * k_cols + kv_head * HEAD_DIM;
                    value = LOAD(v, at, c);
                }
                if (e < KEYS * WIDTH) tile[e] = value;
            }
            barrier();
            [[unroll]] for (uint i = 0; i < 4; i++) acc[i][n] *= rescale[i];
            if (tc < WIDTH)
                for (uint s = 0; s < THREAD_COLS; s++) {
                    vec4 a[4];
                    [[unroll]] for (uint i = 0; i < 4; i++) a[i] = weights[(tr + THREAD_ROWS * i) * THREAD_COLS + s];
                    [[unroll]] for (uint j = 0; j < 4; j++) {
                        vec4 value = tile[(s + THREAD_COLS * j) * WIDTH + tc];
                        [[unroll]] for (uint i = 0; i < 4; i++) acc[i][n] += a[i][j] * value;
                    }
                }
        }
    }

    partial[thread] = sum; // read since: barriers of the values lie between
    barrier();
    sum = vec4(0.0);
    [[unroll]] for (uint n = 0; n < THREAD_COLS; n++) sum += partial[tr * THREAD_COLS + n];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        uint at = (q_window + row[i] / group) * q_cols + (kv_head * group + row[i] % group) * HEAD_DIM;
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
            uint c = n * WIDTH + tc;
            acc[i][n] /= sum[i];
            if (row[i] < rows && tc < WIDTH && c < DIMS) STORE(o, at, c, acc[i][n])
        }
    }
#if !defined(PACKED)
    if (ACTIVITY == 0) return;
    uint block = skip_activity + gl_WorkGroupID.z * blocks + tile_row, count = min(ROWS, rows - row0);
    [[unroll]] for (uint n = 0; n < BLOCKS; n++) {
        barrier(); // the weights were read
        [[unroll]] for (uint i = 0; i < 4; i++) weights[(tr + THREAD_ROWS * i) * THREAD_COLS + tc] = abs(acc[i][n]);
        barrier();
        for (uint e = thread; e < group * WIDTH; e += WORKGROUP) {
            uint h = e / WIDTH, c = n * WIDTH + e % WIDTH;
            vec4 total = vec4(0.0);
            for (uint r = (h + group - row0 % group) % group; r < count; r += group) total += weights[r * THREAD_COLS + e % WIDTH];
            if (c < DIMS) STORE(activity, block * q_cols + (kv_head * group + h) * HEAD_DIM, c, total)
        }
    }
#endif
}
