// What the kernels of attention by cooperative matrices share, behind common/attention.glsl: operands, a tile of keys and values, and how they are
// fetched (attention_fetch.glsl). q, k and v come from tohalf.comp, a head of a row times the power of two that brings its largest element near the end
// of what f16 holds, and 1/unscale of it.
//
// q [windows·queries, kv_heads·group·d], k, v [windows·key_stride, kv_heads·d] f16, from the first row that is meant; unscale of each, by row
// and head, f32 · o f32, skip_q rows before · d a multiple of 8 and of what MATRIX_K and MATRIX_N are
//
// A workgroup takes ROWS rows (x), MATRIX_M of them a band, of a KV head (y) of a window (z): tiles of KEYS keys and values pass through shared memory.
// f32 sums; the order of additions to an element depends on nothing but d, the positions of the keys, and within a matrix the device.
// activity as in attention.comp, of blocks of ROWS.

layout(constant_id = 3) const uint SUBGROUP = 8; // a multiple of MATRIX_M, and at most 8 times it
layout(constant_id = 4) const uint MATRIX_M = 8;
layout(constant_id = 5) const uint MATRIX_N = 8; // divides KEYS/2
layout(constant_id = 6) const uint MATRIX_K = 8; // divides KEYS
layout(constant_id = 7) const uint ACTIVITY = 0; // 1: write that too
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
const uint BANDS = 4, ROWS = BANDS * MATRIX_M;
const uint DEEP = HEAD_DIM / MATRIX_K, OUT = HEAD_DIM / MATRIX_N; // matrices of a row of q, and of o
const uint K_FETCHES = (KEYS * EIGHTHS + WORKGROUP - 1) / WORKGROUP, V_FETCHES = (KEYS / 2 * EIGHTHS + WORKGROUP - 1) / WORKGROUP; // of v two rows each
const uint VALUES = KEYS * PITCH, VALUE_PITCH = KEYS / 8 + 1; // where values begin in the tile, a row for each of the head's d: a matrix reads along keys

shared uvec4 tile[VALUES + HEAD_DIM * VALUE_PITCH]; // keys, then values transposed; first the rows of q, which are no more

#define MATRIX(use, rows, columns) coopmat<float16_t, gl_ScopeSubgroup, rows, columns, use>
#define SUM coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>

uint q_at(uint row) { return (gl_WorkGroupID.z * queries + row / group) * kv_heads * group + gl_WorkGroupID.y * group + row % group; }
uint k_at(uint key) { return (gl_WorkGroupID.z * key_stride + key) * kv_heads + gl_WorkGroupID.y; }

// Puts the rows from row0 on of q into the tile, of which those from `rows` on are the last again.
void put_rows(uint row0, uint rows) {
    for (uint e = gl_LocalInvocationID.x; e < ROWS * EIGHTHS; e += WORKGROUP) tile[e / EIGHTHS * PITCH + e % EIGHTHS] = q[q_at(min(row0 + e / EIGHTHS, rows - 1)) * EIGHTHS + e % EIGHTHS];
    barrier();
}

// The activity of the block of rows from row0 on, when all of o is there.
void add_activity(uint row0, uint rows) {
    memoryBarrierBuffer();
    barrier();
    uint quads = HEAD_DIM / 4, block = skip_activity + gl_WorkGroupID.z * blocks + row0 / ROWS, count = min(ROWS, rows - row0);
    for (uint e = gl_LocalInvocationID.x; e < group * quads; e += WORKGROUP) {
        vec4 added = vec4(0.0);
        for (uint i = (e / quads + group - row0 % group) % group; i < count; i += group) added += abs(o[(skip_q * kv_heads * group + q_at(row0 + i)) * quads + e % quads]);
        activity[((block * kv_heads + gl_WorkGroupID.y) * group) * quads + e] = added;
    }
}
