#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"

// What attention.comp computes, for few rows after many keys: a workgroup takes ROWS rows (x) of a KV head (y) of a window (z) and one
// of `blocks` runs of CHUNK keys (also x, the faster), so that a single query fills a device (Flash-Decoding, Dao et al. 2023,
// crfm.stanford.edu/2023/10/12/flashdecoding.html). Where there is more than one run, o is scratch for attention_combine.comp: for
// each window, KV head, row and run the sums of the d values, padded to 4, their largest logit, the sum of the weights, and 2 words more.
//
// q [windows·queries, kv_heads·group·d] f32 · k, v [windows·key_stride, kv_heads·d] f32 · rows as in attention.comp
// WORKGROUP is 128: for the logits 8 invocations read a row of k, for the values DIMS a row of v. ROWS is at most 8. f32; the order
// of additions depends on d and the position of a key alone. Any d that is a multiple of 2. At most 200 iterations.

layout(constant_id = 3) const uint ROWS = 4;

const uint CHUNK = 128;
const uint PER_KEY = 8;                         // invocations
const uint STEP = 16;                           // keys at a time: WORKGROUP / PER_KEY
const uint BATCH = 2 * STEP;                    // keys whose products are in shared memory
const uint PARTS = (DIMS + PER_KEY - 1) / PER_KEY;
const uint SLICES = 128 / DIMS;                 // rows of v at a time
const uint PER_ROW = 16;                        // invocations of the softmax of a row

layout(binding = 0) readonly  buffer Q4 { vec4  q4[]; };
layout(binding = 0) readonly  buffer Q  { float q[]; };
layout(binding = 1) writeonly buffer O4 { vec4  o4[]; };
layout(binding = 1) writeonly buffer O  { float o[]; };
layout(binding = 2) readonly  buffer K4 { vec4  k4[]; };
layout(binding = 2) readonly  buffer K  { float k[]; };
layout(binding = 3) readonly  buffer V4 { vec4  v4[]; };
layout(binding = 3) readonly  buffer V  { float v[]; };

const uint PRODUCTS = ROWS * BATCH * (PER_KEY + 1); // padded: lanes of a column are in different banks
shared float products[LARGER(PRODUCTS, 4u * 128u)]; // in the end the components of the sums of 128 invocations, one after the other
shared float weights[ROWS * CHUNK];
shared float tops[8 * PER_ROW], sums[8 * PER_ROW];

vec4 sums_of(uint invocation) { return vec4(products[invocation], products[128 + invocation], products[256 + invocation], products[384 + invocation]); }

void main() {
    uint thread = gl_LocalInvocationID.x, kv_head = gl_WorkGroupID.y;
    uint run = gl_WorkGroupID.x % blocks, rows = queries * group, row0 = gl_WorkGroupID.x / blocks * ROWS;
    uint k_window = skip_k + gl_WorkGroupID.z * key_stride, k_cols = kv_heads * HEAD_DIM, q_cols = k_cols * group;
    uint key0 = (lowest_key(first) / CHUNK + run) * CHUNK; // the same run whatever the other rows

    uint at[ROWS], lane = thread % PER_KEY;
    vec4 query[ROWS][PARTS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint row = min(row0 + r, rows - 1);
        at[r] = (skip_q + gl_WorkGroupID.z * queries + row / group) * q_cols + (kv_head * group + row % group) * HEAD_DIM;
        [[unroll]] for (uint m = 0; m < PARTS; m++) {
            uint c = m * PER_KEY + lane;
            query[r][m] = vec4(0.0);
            if (c < DIMS) query[r][m] = LOAD(q, at[r], c) * scale;
        }
    }

    for (uint batch = 0; batch < CHUNK; batch += BATCH) {
        [[unroll]] for (uint s = 0; s < BATCH; s += STEP) {
            uint n = s + thread / PER_KEY;
            uint from = (k_window + min(key0 + batch + n, keys - 1)) * k_cols + kv_head * HEAD_DIM;
            float product[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++) product[r] = 0.0;
            [[unroll]] for (uint m = 0; m < PARTS; m++) {
                vec4 value = LOAD(k, from, min(m * PER_KEY + lane, DIMS - 1));
                [[unroll]] for (uint r = 0; r < ROWS; r++) product[r] += dot(query[r][m], value);
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++) products[(r * BATCH + n) * (PER_KEY + 1) + lane] = product[r];
        }
        barrier();
        for (uint e = thread; e < ROWS * BATCH; e += WORKGROUP) {
            float logit = 0.0;
            [[unroll]] for (uint n = 0; n < PER_KEY; n++) logit += products[e * (PER_KEY + 1) + n];
            uint position = first + min(row0 + e / BATCH, rows - 1) / group, low = lowest_key(position);
            bool seen = key0 + batch + e % BATCH - low <= position - low; // wraps before low
            weights[e / BATCH * CHUNK + batch + e % BATCH] = seen ? capped(logit) : MASKED;
        }
        barrier();
    }

    uint r16 = thread / PER_ROW, row_lane = thread % PER_ROW; // its rows from ROWS on are idle
    float top = MASKED, sum = 0.0;
    if (r16 < ROWS)
        [[unroll]] for (uint n = 0; n < CHUNK; n += PER_ROW) top = max(top, weights[r16 * CHUNK + n + row_lane]);
    tops[thread] = top;
    barrier();
    [[unroll]] for (uint n = 0; n < PER_ROW; n++) top = max(top, tops[r16 * PER_ROW + n]);
    if (r16 < ROWS)
        [[unroll]] for (uint n = 0; n < CHUNK; n += PER_ROW) {
            uint e = r16 * CHUNK + n + row_lane;
            float weight = weights[e] == MASKED ? 0.0 : exp2(weights[e] - top);
            weights[e] = weight;
            sum += weight;
        }
    sums[thread] = sum;
    barrier();

    uint slice = thread / DIMS, c = thread % DIMS;
    vec4 acc[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) acc[r] = vec4(0.0);
    if (slice < SLICES)
        for (uint n0 = slice; n0 < CHUNK; n0 += 4 * SLICES) {
            vec4 value[4];
            [[unroll]] for (uint j = 0; j < 4; j++)
                value[j] = LOAD(v, (k_window + min(key0 + n0 + j * SLICES, keys - 1)) * k_cols + kv_head * HEAD_DIM, c);
            [[unroll]] for (uint j = 0; j < 4; j++) {
                uint n = n0 + j * SLICES;
                [[unroll]] for (uint r = 0; r < ROWS; r++) acc[r] += (n < CHUNK ? weights[r * CHUNK + n] : 0.0) * value[j];
            }
        }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        barrier(); // the last row's sums were read
        [[unroll]] for (uint j = 0; j < 4; j++) products[j * 128 + thread] = acc[r][j];
        barrier();
        if (thread < DIMS && row0 + r < rows) {
            vec4 total = sums_of(thread);
            for (uint n = 1; n < SLICES; n++) total += sums_of(n * DIMS + thread);
            top = MASKED;
            sum = 0.0;
            [[unroll]] for (uint n = 0; n < PER_ROW; n++) {
                top = max(top, tops[r * PER_ROW + n]);
                sum += sums[r * PER_ROW + n];
            }
            if (blocks == 1) {
                total /= sum;
                STORE(o, at[r], thread, total)
            } else {
                uint part = (((gl_WorkGroupID.z * kv_heads + kv_head) * rows + row0 + r) * blocks + run) * (DIMS + 1);
                o4[part + thread] = total;
                if (thread == 0) o4[part + DIMS] = vec4(top, sum, 0.0, 0.0);
            }
        }
    }
}
