// What attention.comp and attention_bwd.comp share: a workgroup takes ROWS rows and goes over the others, what these have to do with, in
// tiles of OTHERS: an invocation has EACH rows by THEIRS of the others, and of what is summed EACH rows by every THREAD_COLS-th vec4 of a head.
// row_at and other_at say where a row's head begins in its tensor, in heads. The macros use main's thread, tr, tc, row0, rows, other0 and end.
// Nothing branches between one fetch and the next, so that all of a tile's are in flight at once: what is beyond the edges is the last again.

layout(constant_id = 3) const uint EACH = 4;   // rows of an invocation, at most 4: fewer need fewer registers
layout(constant_id = 4) const uint THEIRS = 4; // 4, or 2, which needs less shared memory, or 1 of 32 columns, each of which has fewer sums

const uint THREAD_ROWS = 8, THREAD_COLS = WORKGROUP / THREAD_ROWS; // 16, or 32
const uint OTHERS = THEIRS * THREAD_COLS;
const uint ROWS = EACH * THREAD_ROWS;
const uint CHUNK = 8; // vec4 of the dot products that are in shared memory at a time
const uint CHUNKS = (DIMS + CHUNK - 1) / CHUNK;
const uint BLOCKS = (DIMS + THREAD_COLS - 1) / THREAD_COLS; // at most 4
const uint WIDTH = DIMS < THREAD_COLS ? DIMS : THREAD_COLS;
const uint STEP = THREAD_ROWS * THREAD_COLS / CHUNK; // lines of a chunk that are fetched at once
const uint PARTS = 1 + LESS(EACH, 2u) * LESS(THEIRS, 3u); // of a tile's others, whose blocks are in shared memory one after the other
const uint PART = OTHERS / PARTS, ALONG = PART < THREAD_COLS ? PART : THREAD_COLS; // columns of which a part has others
const uint ROW_FETCHES = (ROWS + STEP - 1) / STEP, OTHER_FETCHES = OTHERS / STEP, BLOCK_FETCHES = (PART * WIDTH + STEP * CHUNK - 1) / (STEP * CHUNK);
const uint OF_BOTH = CHUNK * (ROWS + OTHERS), OF_PART = PART * THREAD_COLS;

// 26 KiB at most: attentionTile.shared in model/op/attention.go says how much.
shared vec4 tile[LARGER(OF_BOTH, OF_PART)]; // CHUNK × (ROWS + OTHERS) of both sides, or PART × WIDTH of one
shared vec4 weights[ROWS * THREAD_COLS];
shared float partial[ROWS * THREAD_COLS];

// result[i][j] += mine·theirs for row i of the invocation and j of its others
#define PRODUCTS(result, mine, theirs) { \
    uint line = thread / CHUNK, mine_at[ROW_FETCHES], theirs_at[OTHER_FETCHES]; \
    [[unroll]] for (uint f = 0; f < ROW_FETCHES; f++) mine_at[f] = row_at(min(row0 + min(line + f * STEP, ROWS - 1), rows - 1)) * HEAD_DIM; \
    [[unroll]] for (uint f = 0; f < OTHER_FETCHES; f++) theirs_at[f] = other_at(min(other0 + line + f * STEP, end - 1)) * HEAD_DIM; \
    [[dont_unroll]] for (uint chunk = 0; chunk < CHUNKS; chunk++) { \
        uint c = chunk * CHUNK + thread % CHUNK, near = min(c, DIMS - 1), to = thread % CHUNK * (ROWS + OTHERS) + line; \
        vec4 got_mine[ROW_FETCHES], got_theirs[OTHER_FETCHES]; \
        [[unroll]] for (uint f = 0; f < ROW_FETCHES; f++) got_mine[f] = LOAD(mine, mine_at[f], near); \
        [[unroll]] for (uint f = 0; f < OTHER_FETCHES; f++) got_theirs[f] = LOAD(theirs, theirs_at[f], near); \
        barrier(); /* the tile was read */ \
        [[unroll]] for (uint f = 0; f < ROW_FETCHES; f++) \
            if (ROWS % STEP == 0 || line + f * STEP < ROWS) tile[to + f * STEP] = c < DIMS ? got_mine[f] : vec4(0.0); \
        [[unroll]] for (uint f = 0; f < OTHER_FETCHES; f++) tile[to + ROWS + f * STEP] = got_theirs[f]; \
        barrier(); \
        [[unroll]] for (uint k = 0; k < CHUNK; k++) { \
            vec4 left[EACH], right[THEIRS]; \
            [[unroll]] for (uint i = 0; i < EACH; i++) left[i] = tile[k * (ROWS + OTHERS) + tr + THREAD_ROWS * i]; \
            [[unroll]] for (uint j = 0; j < THEIRS; j++) right[j] = tile[k * (ROWS + OTHERS) + ROWS + tc + THREAD_COLS * j]; \
            [[unroll]] for (uint i = 0; i < EACH; i++) \
                [[unroll]] for (uint j = 0; j < THEIRS; j++) result[i][j] += dot(left[i], right[j]); \
        } \
    } }

// acc[i][N] += Σ_j weights[i][j]·theirs_j over the others of part P of the tile: N and P are numbers, as a loop over blocks, which holds a loop, may not be
// unrolled whatever is asked, and acc then is in memory.
#define ACCUMULATE_PART(N, P, acc, theirs) \
    if (N < BLOCKS && P < PARTS) { \
        vec4 got[BLOCK_FETCHES]; \
        [[unroll]] for (uint f = 0; f < BLOCK_FETCHES; f++) { \
            uint e = min(f * STEP * CHUNK + thread, PART * WIDTH - 1); \
            got[f] = LOAD(theirs, other_at(min(other0 + P * PART + e / WIDTH, end - 1)) * HEAD_DIM, min(N * WIDTH + e % WIDTH, DIMS - 1)); \
        } \
        barrier(); /* the tile was read; weights are written */ \
        [[unroll]] for (uint f = 0; f < BLOCK_FETCHES; f++) tile[min(f * STEP * CHUNK + thread, PART * WIDTH - 1)] = got[f]; \
        barrier(); \
        if (tc < WIDTH) \
            [[dont_unroll]] for (uint s = 0; s < ALONG; s++) { \
                vec4 left[EACH]; \
                [[unroll]] for (uint i = 0; i < EACH; i++) left[i] = weights[(tr + THREAD_ROWS * i) * THREAD_COLS + P * PART % THREAD_COLS + s]; \
                [[unroll]] for (uint j = 0; j < PART / ALONG; j++) { \
                    vec4 value = tile[(s + THREAD_COLS * j) * WIDTH + tc]; \
                    [[unroll]] for (uint i = 0; i < EACH; i++) acc[i][min(N, BLOCKS - 1)] += left[i][min(P * (THEIRS / PARTS) + j, THEIRS - 1)] * value; \
                } \
            } \
    }
#define ACCUMULATE_BLOCK(N, acc, theirs) ACCUMULATE_PART(N, 0, acc, theirs) ACCUMULATE_PART(N, 1, acc, theirs)

// acc[i][n] += Σ_j weight[i][j]·theirs_j for every block n; component j of weight is other tc + THREAD_COLS·j
#define ACCUMULATE(acc, weight, theirs) \
    barrier(); /* the weights were read */ \
    [[unroll]] for (uint i = 0; i < EACH; i++) weights[(tr + THREAD_ROWS * i) * THREAD_COLS + tc] = weight[i]; \
    ACCUMULATE_BLOCK(0, acc, theirs) ACCUMULATE_BLOCK(1, acc, theirs) ACCUMULATE_BLOCK(2, acc, theirs) ACCUMULATE_BLOCK(3, acc, theirs)

#define STORE_ROWS(name, acc) \
    [[unroll]] for (uint i = 0; i < EACH; i++) { \
        uint at = row_at(row[i]) * HEAD_DIM; \
        [[unroll]] for (uint n = 0; n < BLOCKS; n++) { \
            uint c = n * WIDTH + tc; \
            if (row[i] < rows && tc < WIDTH && c < DIMS) STORE(name, at, c, acc[i][n]) \
        } \
    }
