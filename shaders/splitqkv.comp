#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/pairs.glsl"

// q[t], k[t], v[t] = the heads of row t of qkv, those of q and k turned by the angles of the row's position (RoPE, Su et al. 2021,
// arXiv 2104.09864) after x · rsqrt(mean_i x[i]² + eps) · (w[i] + PLUS_ONE), where there are norms (RMSNorm, arXiv 1910.07467): with
// NORM 1 over each head, with NORM 2 over all heads of q, and all of k, together.
//
// Of a head's first ROTARY channels angle i turns i and i + ROTARY/2, or with INTERLEAVED 2i and 2i + 1; the others stay.
//
// qkv [rows, (heads + 2·kv_heads)·d] f32 · table [positions, ROTARY] f32: the cosines of a position, then the sines
// q [rows, heads·d], k, v [rows, kv_heads·d] f32, neither may be qkv · q_norm, k_norm weight dtype: [d], with NORM 2 [heads·d], [kv_heads·d]
// Row t of the dispatch is row skip_x + t of the bound qkv, its position row skip_table + (first + t) % window of the bound table.
//
// LANES invocations take a head, a vec4 and its partner at a time, or two floats where d or ROTARY is no multiple of 8; no word is
// read twice but for a norm. f32, an order of additions that depends on d and LANES alone, with NORM 2 on the heads too. At most 2·d/2
// iterations, with NORM 2 heads·d more.
// With TEXELS, for d and ROTARY that are multiples of 8, qkv and table are texel buffers, which lavapipe reads much faster in loops.

layout(constant_id = 1) const uint HEAD_DIM = 64;
layout(constant_id = 2) const uint LANES = 8;
layout(constant_id = 3) const uint NORM = 0;
layout(constant_id = 4) const uint TURN = 1; // 0: no angles, and no table

layout(constant_id = 5) const uint ROTARY = 64;
layout(constant_id = 6) const uint INTERLEAVED = 0;
layout(constant_id = 7) const uint PLUS_ONE = 0;

const uint UNIT = (HEAD_DIM | ROTARY) % 8 == 0 ? 4 : 1;
const uint UNITS = HEAD_DIM / 2 / UNIT;

layout(push_constant) uniform Push {
    uint rows; uint heads; uint kv_heads; uint window; uint first;
    uint skip_x; uint skip_table; uint skip_q; uint skip_k; // rows of the bound qkv, table, q, k and v before the first
    float eps;
};
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x4;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer table4;
#define LOAD(name, at) uintBitsToFloat(imageLoad(name##4, int((at) / 4)))
#else
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 0) readonly  buffer X  { float x[]; };
layout(binding = 1) readonly  buffer T4 { vec4 table4[]; };
layout(binding = 1) readonly  buffer T  { float table[]; };
#define LOAD(name, at) (UNIT == 4 ? name##4[(at) / 4] : vec4(name[at], 0.0, 0.0, 0.0))
#endif
layout(binding = 2) writeonly buffer Q4 { vec4 q4[]; };
layout(binding = 2) writeonly buffer Q  { float q[]; };
layout(binding = 3) writeonly buffer K4 { vec4 k4[]; };
layout(binding = 3) writeonly buffer K  { float k[]; };
layout(binding = 4) writeonly buffer V4 { vec4 v4[]; };
layout(binding = 4) writeonly buffer V  { float v[]; };
layout(binding = 5) readonly  buffer QNorm4 { words4 q_norm4[]; };
layout(binding = 5) readonly  buffer QNorm { uint q_norm[]; };
layout(binding = 6) readonly  buffer KNorm4 { words4 k_norm4[]; };
layout(binding = 6) readonly  buffer KNorm { uint k_norm[]; };

#define STORE(name, at, value) { if (UNIT == 4) name##4[(at) / 4] = value; else name[at] = value.x; }
#define NORM4(name, at) (float(PLUS_ONE) + (UNIT == 4 ? unpack4(name##4[(at) / 4]) : vec4(load_weight(name, at))))

shared float squares_of[64]; // WORKGROUP at most

void main() {
    uint thread = gl_LocalInvocationID.x, lane = thread % LANES, per_row = heads + 2 * kv_heads;
    uint unit = gl_WorkGroupID.x * (WORKGROUP / LANES) + thread / LANES;
    bool in_range = thread / LANES < WORKGROUP / LANES && unit < rows * per_row;
    uint t = unit / per_row, head = unit % per_row;
    bool is_q = head < heads, is_k = !is_q && head < heads + kv_heads;
    uint from = ((skip_x + t) * per_row + head) * HEAD_DIM, angles = (skip_table + (first + t) % window) * ROTARY;

    float scale = 1.0;
    if (NORM != 0) {
        float squares = 0.0;
        uint count = NORM == 1 ? HEAD_DIM : (is_q ? heads : kv_heads) * HEAD_DIM;
        if (in_range && (is_q || is_k)) {
            uint row = (skip_x + t) * per_row * HEAD_DIM + (is_q ? 0 : heads * HEAD_DIM);
            if (NORM == 1)
                [[dont_unroll]] for (uint u = lane; u < UNITS; u += LANES) {
                    vec4 a = LOAD(x, from + u * UNIT), b = LOAD(x, from + HEAD_DIM / 2 + u * UNIT);
                    squares += dot(a, a) + dot(b, b);
                }
            else
                [[dont_unroll]] for (uint e = lane * UNIT; e < count; e += LANES * UNIT) {
                    vec4 a = LOAD(x, row + e);
                    squares += dot(a, a);
                }
        }
        if (LANES > 1) {
            squares_of[thread] = squares;
            barrier();
            squares = 0.0;
            for (uint n = 0; n < LANES; n++) squares += squares_of[min(thread - lane + n, WORKGROUP - 1)];
        }
        scale = inversesqrt(squares / float(count) + eps);
    }
    if (!in_range) return;

    uint q_at = ((skip_q + t) * heads + head) * HEAD_DIM;
    uint k_at = ((skip_k + t) * kv_heads + (head - heads) % kv_heads) * HEAD_DIM;
    uint weight = NORM == 2 ? (is_q ? head : (head - heads) % kv_heads) * HEAD_DIM : 0;
    [[dont_unroll]] for (uint u = lane; u < UNITS; u += LANES) {
        // The channels that are turned, then the others, which go in pairs too.
        uint i = u * UNIT, low = i, apart = ROTARY / 2;
        bool turned = i < ROTARY / 2;
        if (!turned) {
            low = i + ROTARY / 2;
            apart = (HEAD_DIM - ROTARY) / 2;
        } else if (INTERLEAVED != 0) {
            low = 2 * i;
            apart = UNIT;
        }
        uint high = low + apart;
        vec4 a = LOAD(x, from + low), b = LOAD(x, from + high);
        if (!is_q && !is_k) {
            STORE(v, k_at + low, a)
            STORE(v, k_at + high, b)
            continue;
        }
        if (NORM != 0) {
            a *= scale * (is_q ? NORM4(q_norm, weight + low) : NORM4(k_norm, weight + low));
            b *= scale * (is_q ? NORM4(q_norm, weight + high) : NORM4(k_norm, weight + high));
        }
        if (TURN != 0 && turned) {
            vec4 c = LOAD(table, angles + i), s = LOAD(table, angles + ROTARY / 2 + i);
            if (INTERLEAVED != 0 && UNIT == 4) APART_PAIRS(a, b)
            vec4 first_of = a * c - b * s;
            b = b * c + a * s;
            a = first_of;
            if (INTERLEAVED != 0 && UNIT == 4) JOIN_PAIRS(a, b)
        }
        if (is_q) {
            STORE(q, q_at + low, a)
            STORE(q, q_at + high, b)
        } else {
            STORE(k, k_at + low, a)
            STORE(k, k_at + high, b)
        }
    }
}
