#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common/workgroup.glsl"

// What attention.comp computes, for devices whose lanes are those of a CPU's vectors: the workgroup is one subgroup of 4, 8 or 16
// invocations and needs no barrier nor shared memory. An invocation has ROWS rows. It reads GROUPS of a tile's GROUPS·WORKGROUP keys, a
// vec4 at a time, and broadcasts them to the others: lavapipe reads memory lane by lane, so a read must serve many rows. d is a
// multiple of 4. Loops over d stay loops, or lavapipe compiles for minutes.
//
// lavapipe 22.3 stops an invocation's loops at 65,535 iterations: there are 1 + 2·d/4 for each tile, at most 5·d/4 besides. In tiles
// of 16, 4096 keys take 16,900 for d = 128 and 33,300 for d = 256; AttentionShape.kernel falls back to attention.comp where it must.

layout(constant_id = 1) const uint HEAD_DIM = 64;
layout(constant_id = 2) const uint ROWS = 4;
layout(constant_id = 3) const uint GROUPS = 2;

const uint DIMS = HEAD_DIM / 4;
const uint KEYS = GROUPS * WORKGROUP;
const float MASKED = -3.0e38;

layout(push_constant) uniform Push {
    uint queries; uint keys; uint key_stride; uint kv_heads; uint group;
    uint first;                // position of query 0
    uint sliding;              // 0: every key so far is seen
    uint skip_q; uint skip_k;  // rows of the bound q and o, k and v before the first
    float scale;               // log2(e)/√d
};
layout(binding = 0) readonly  buffer Q { vec4 q[]; };
layout(binding = 1) readonly  buffer K { vec4 k[]; };
layout(binding = 2) readonly  buffer V { vec4 v[]; };
layout(binding = 3) writeonly buffer O { vec4 o[]; };

// f(0) f(1) … for every lane: a broadcast's lane must be a constant.
#define EACH_LANE(f) f(0) f(1) f(2) f(3) \
    if (WORKGROUP > 4) { f(4) f(5) f(6) f(7) } \
    if (WORKGROUP > 8) { f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15) }

void main() {
    uint lane = gl_SubgroupInvocationID, kv_head = gl_WorkGroupID.y;
    uint rows = queries * group, row0 = gl_WorkGroupID.x * WORKGROUP * ROWS;
    uint q_window = skip_q + gl_WorkGroupID.z * queries, k_window = skip_k + gl_WorkGroupID.z * key_stride;

    uint low[ROWS], span[ROWS], at[ROWS]; // the keys low to low + span are seen
    vec4 query[DIMS * ROWS], acc[DIMS * ROWS];
    float top[ROWS], sum[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        uint row = min(row0 + t * WORKGROUP + lane, rows - 1);
        uint position = first + row / group;
        low[t] = sliding > 0 && position >= sliding ? position - sliding + 1 : 0;
        span[t] = position - low[t];
        at[t] = ((q_window + row / group) * kv_heads * group + kv_head * group + row % group) * DIMS;
        top[t] = MASKED;
        sum[t] = 0.0;
    }
    [[dont_unroll]] for (uint c = 0; c < DIMS; c++)
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            query[c * ROWS + t] = q[at[t] + c] * scale;
            acc[c * ROWS + t] = vec4(0.0);
        }
    uint end = min(keys, first + min(row0 + WORKGROUP * ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;

    for (uint key0 = begin; key0 < end; key0 += KEYS) {
        uint from[GROUPS]; // the last key takes the place of those past the end
        [[unroll]] for (uint g = 0; g < GROUPS; g++)
            from[g] = ((k_window + min(key0 + g * WORKGROUP + lane, end - 1)) * kv_heads + kv_head) * DIMS;
        float p[ROWS][KEYS];
        [[unroll]] for (uint t = 0; t < ROWS; t++)
            [[unroll]] for (uint n = 0; n < KEYS; n++) p[t][n] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < DIMS; c++) {
            vec4 mine[ROWS];
            [[unroll]] for (uint t = 0; t < ROWS; t++) mine[t] = query[c * ROWS + t];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) {
                vec4 key = k[from[g] + c];
#define LOGIT(n) { vec4 x = subgroupBroadcast(key, n); \
                [[unroll]] for (uint t = 0; t < ROWS; t++) { \
                    float s = p[t][g * WORKGROUP + n]; \
                    s = fma(x.x, mine[t].x, s); s = fma(x.y, mine[t].y, s); s = fma(x.z, mine[t].z, s); \
                    p[t][g * WORKGROUP + n] = fma(x.w, mine[t].w, s); } }
                EACH_LANE(LOGIT)
            }
        }
        float rescale[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            float best = top[t];
            [[unroll]] for (uint n = 0; n < KEYS; n++) {
                p[t][n] = key0 + n - low[t] <= span[t] ? p[t][n] : MASKED;
                best = max(best, p[t][n]);
            }
            rescale[t] = top[t] == best ? 1.0 : exp2(top[t] - best); // 1 exactly where the tile changes nothing
            top[t] = best;
            sum[t] *= rescale[t];
            [[unroll]] for (uint n = 0; n < KEYS; n++) {
                p[t][n] = p[t][n] == MASKED ? 0.0 : exp2(p[t][n] - best);
                sum[t] += p[t][n];
            }
        }
        [[dont_unroll]] for (uint c = 0; c < DIMS; c++) {
            vec4 mine[ROWS];
            [[unroll]] for (uint t = 0; t < ROWS; t++) mine[t] = acc[c * ROWS + t] * rescale[t];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) {
                vec4 value = v[from[g] + c];
#define VALUE(n) { vec4 x = subgroupBroadcast(value, n); \
                [[unroll]] for (uint t = 0; t < ROWS; t++) mine[t] = fma(vec4(p[t][g * WORKGROUP + n]), x, mine[t]); }
                EACH_LANE(VALUE)
            }
            [[unroll]] for (uint t = 0; t < ROWS; t++) acc[c * ROWS + t] = mine[t];
        }
    }

    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        if (row0 + t * WORKGROUP + lane >= rows) continue;
        [[dont_unroll]] for (uint c = 0; c < DIMS; c++) o[at[t] + c] = acc[c * ROWS + t] / sum[t];
    }
}
