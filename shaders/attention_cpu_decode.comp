#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common/workgroup.glsl"
#include "common/attention.glsl"

// What attention.comp computes, for few rows after many keys on drivers that run on the CPU: the workgroup is one subgroup, the lanes
// of a vector, of 4, 8 or 16, and has ROWS rows. For the logits a lane has a key of the tile, for the values vec4 of d: the
// lanes read a row of v together. d is a multiple of 4; q, k and v are texel buffers, for a lane's 16 bytes are then one load.
//
// Neither memory between the invocations nor a second pass: a workgroup sees all keys of its rows. keys/WORKGROUP iterations: below
// lavapipe's 65,535 for 480,000 keys.

layout(constant_id = 3) const uint ROWS = 2;

const uint PARTS = (DIMS + WORKGROUP - 1) / WORKGROUP; // vec4 of d that a lane has
const uint KEYS = WORKGROUP; // of a tile

layout(binding = 0, rgba32ui) uniform readonly uimageBuffer q;
layout(binding = 1) writeonly buffer O { vec4 o[]; };
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer k;
layout(binding = 3, rgba32ui) uniform readonly uimageBuffer v;
#define TEXEL(x, at) uintBitsToFloat(imageLoad(x, int(at)))

void main() {
    uint lane = gl_SubgroupInvocationID, kv_head = gl_WorkGroupID.y;
    uint rows = queries * group, row0 = gl_WorkGroupID.x * ROWS;
    uint q_window = skip_q + gl_WorkGroupID.z * queries, k_window = skip_k + gl_WorkGroupID.z * key_stride;

    uint low[ROWS], span[ROWS], at[ROWS]; // the keys low to low + span are seen
    vec4 query[ROWS][DIMS], acc[ROWS][PARTS];
    float top[ROWS], sum[ROWS]; // sum: of this lane's keys
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        uint row = min(row0 + t, rows - 1);
        uint position = first + row / group;
        low[t] = lowest_key(position);
        span[t] = position - low[t];
        at[t] = ((q_window + row / group) * kv_heads * group + kv_head * group + row % group) * DIMS;
        top[t] = MASKED;
        sum[t] = 0.0;
        [[unroll]] for (uint c = 0; c < DIMS; c++) query[t][c] = TEXEL(q, at[t] + c) * scale;
        [[unroll]] for (uint m = 0; m < PARTS; m++) acc[t][m] = vec4(0.0);
    }
    uint end = min(keys, first + min(row0 + ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;

    for (uint key0 = begin; key0 < end; key0 += KEYS) {
        uint key = key0 + lane;
        uint mine = ((k_window + min(key, end - 1)) * kv_heads + kv_head) * DIMS; // the last key in place of those past the end
        vec4 products[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) products[t] = vec4(0.0);
        [[unroll]] for (uint c = 0; c < DIMS; c++) {
            vec4 own = TEXEL(k, mine + c);
            [[unroll]] for (uint t = 0; t < ROWS; t++) products[t] = fma(own, query[t][c], products[t]);
        }
        float p[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            float logit = (products[t].x + products[t].y) + (products[t].z + products[t].w);
            logit = key - low[t] <= span[t] ? capped(logit) : MASKED;
            float best = top[t];
            [[unroll]] for (uint n = 0; n < KEYS; n++) best = max(best, subgroupShuffle(logit, n));
            float rescale = top[t] == best ? 1.0 : exp2(top[t] - best); // 1 exactly where the tile changes nothing
            top[t] = best;
            p[t] = logit == MASKED ? 0.0 : exp2(logit - best);
            sum[t] = sum[t] * rescale + p[t];
            [[unroll]] for (uint m = 0; m < PARTS; m++) acc[t][m] *= rescale;
        }
        [[unroll]] for (uint n = 0; n < KEYS; n++) {
            uint from = ((k_window + min(key0 + n, end - 1)) * kv_heads + kv_head) * DIMS;
            float weight[ROWS];
            [[unroll]] for (uint t = 0; t < ROWS; t++) weight[t] = subgroupShuffle(p[t], n);
            [[unroll]] for (uint m = 0; m < PARTS; m++) {
                vec4 value = TEXEL(v, from + min(m * WORKGROUP + lane, DIMS - 1));
                [[unroll]] for (uint t = 0; t < ROWS; t++) acc[t][m] = fma(vec4(weight[t]), value, acc[t][m]);
            }
        }
    }

    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        float total = 0.0;
        [[unroll]] for (uint n = 0; n < WORKGROUP; n++) total += subgroupShuffle(sum[t], n);
        if (row0 + t >= rows) continue;
        [[unroll]] for (uint m = 0; m < PARTS; m++) {
            uint c = m * WORKGROUP + lane;
            if (c < DIMS) o[at[t] + c] = acc[t][m] / total;
        }
    }
}
