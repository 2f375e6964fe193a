#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#if !defined(SHUFFLE)
#extension GL_EXT_buffer_reference : require
#endif
#include "common/workgroup.glsl"
#if !defined(SHUFFLE)
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Quads { vec4 v[]; };
#define MORE_PUSH Quads k; Quads v;
#endif
#include "common/attention.glsl"

// What attention.comp computes, for drivers that run on the CPU: the workgroup is one subgroup, the lanes of a vector, of 4, 8 or 16,
// and needs no barrier nor shared memory. A lane has ROWS rows; all lanes share a tile of WORKGROUP keys. d is a multiple of 4.
//
// With SHUFFLE, for drivers that read every lane's address by itself, a lane reads a key of the tile from a texel buffer, 16 bytes in
// a load, and shuffles give it to the others, which are one instruction where a broadcast is a search for active lanes (lavapipe
// 22.3). Else keys and values are read at their addresses: a driver that reads an address once for all lanes needs nothing more.
//
// PACKED: the tokens of segments instead of windows, see common/attention.glsl; there is no activity.
//
// The accumulators are in registers, so loops over d are unrolled where those are used. lavapipe 22.3 stops an invocation's loops at
// 65,535 iterations: there are 1 + d/4/STEP for each tile, 37,000 for 32,768 keys of 128, and `group` besides.

layout(constant_id = 3) const uint ROWS = 4;
layout(constant_id = 4) const uint STEP = 4;     // vec4 of the dot products in an iteration, a divisor of d/4
layout(constant_id = 5) const uint ACTIVITY = 0; // 1: write that too

const uint KEYS = WORKGROUP; // of a tile
const uint PARTS = (DIMS + WORKGROUP - 1) / WORKGROUP;

layout(binding = 0, rgba32ui) uniform readonly uimageBuffer q;
layout(binding = 1) writeonly buffer O { vec4 o[]; };
#if !defined(PACKED)
layout(binding = 2) writeonly buffer Activity { vec4 activity[]; };
#endif
#if defined(SHUFFLE)
layout(binding = 3, rgba32ui) uniform readonly uimageBuffer k;
layout(binding = 4, rgba32ui) uniform readonly uimageBuffer v;
#endif
#define TEXEL(x, at) uintBitsToFloat(imageLoad(x, int(at)))

// vec4 c of key or value n of the tile, in every lane; of the last key in place of those past the end.
#define ROW(n) ((KEY_ROW(min(key0 + (n), end - 1)) * kv_heads + kv_head) * DIMS)
#if defined(SHUFFLE)
#define OWN(x, c) TEXEL(x, from + (c))
#define SHARED(x, own, n, c) subgroupShuffle(own, n)
#else
#define OWN(x, c) vec4(0.0)
#define SHARED(x, own, n, c) x.v[from[n] + (c)]
#endif

void main() {
    uint lane = gl_SubgroupInvocationID, kv_head = gl_WorkGroupID.y;
#if defined(PACKED)
    READ_ITEM
    uint rows = queries * group;
#else
    uint rows = queries * group, row0 = gl_WorkGroupID.x * WORKGROUP * ROWS;
    uint q_window = skip_q + gl_WorkGroupID.z * queries, k_window = skip_k + gl_WorkGroupID.z * key_stride;
#endif

    uint low[ROWS], span[ROWS], at[ROWS]; // the keys low to low + span are seen
    vec4 acc[ROWS][DIMS];
    float top[ROWS], sum[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        uint row = min(row0 + t * WORKGROUP + lane, rows - 1);
        uint position = first + row / group;
        low[t] = lowest_key(position);
        span[t] = position - low[t];
        at[t] = ((q_window + row / group) * kv_heads * group + kv_head * group + row % group) * DIMS;
        top[t] = MASKED;
        sum[t] = 0.0;
        [[unroll]] for (uint c = 0; c < DIMS; c++) acc[t][c] = vec4(0.0);
    }
    uint end = min(keys, first + min(row0 + WORKGROUP * ROWS - 1, rows - 1) / group + 1);
    uint after = first + row0 / group + 1; // the first row's position is before
    uint begin = sliding > 0 && after > sliding ? (after - sliding) / KEYS * KEYS : 0;

    for (uint key0 = begin; key0 < end; key0 += KEYS) {
#if defined(SHUFFLE)
        uint from = ROW(lane);
#else
        uint from[KEYS];
        [[unroll]] for (uint n = 0; n < KEYS; n++) from[n] = ROW(n);
#endif
        float p[ROWS][KEYS];
        [[unroll]] for (uint t = 0; t < ROWS; t++)
            [[unroll]] for (uint n = 0; n < KEYS; n++) p[t][n] = 0.0;
        uint c0 = 0; // tested at the end: see linear_cpu.comp
        [[dont_unroll]] do {
            [[unroll]] for (uint i = 0; i < STEP; i++) { // from a c0 that varies, no compiler would unroll it
                uint c = c0 + i;
                vec4 mine[ROWS];
                [[unroll]] for (uint t = 0; t < ROWS; t++) mine[t] = TEXEL(q, at[t] + c);
                vec4 own = OWN(k, c);
                [[unroll]] for (uint n = 0; n < KEYS; n++) {
                    vec4 x = SHARED(k, own, n, c);
                    [[unroll]] for (uint t = 0; t < ROWS; t++) {
                        float s = p[t][n];
                        s = fma(x.x, mine[t].x, s);
                        s = fma(x.y, mine[t].y, s);
                        s = fma(x.z, mine[t].z, s);
                        p[t][n] = fma(x.w, mine[t].w, s);
                    }
                }
            }
            c0 += STEP;
        } while (c0 < DIMS);
        float rescale[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            float best = top[t];
            [[unroll]] for (uint n = 0; n < KEYS; n++) {
                p[t][n] = key0 + n - low[t] <= span[t] ? capped(p[t][n] * scale) : MASKED;
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
        [[unroll]] for (uint c = 0; c < DIMS; c++) {
            [[unroll]] for (uint t = 0; t < ROWS; t++) acc[t][c] *= rescale[t];
            vec4 own = OWN(v, c);
            [[unroll]] for (uint n = 0; n < KEYS; n++) {
                vec4 x = SHARED(v, own, n, c);
                [[unroll]] for (uint t = 0; t < ROWS; t++) acc[t][c] = fma(vec4(p[t][n]), x, acc[t][c]);
            }
        }
    }

    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        float inverse = 1.0 / sum[t];
        [[unroll]] for (uint c = 0; c < DIMS; c++) acc[t][c] *= inverse;
    }
#if !defined(PACKED)
    if (ACTIVITY != 0) {
        uint block = skip_activity + gl_WorkGroupID.z * blocks + gl_WorkGroupID.x;
        for (uint h = 0; h < group; h++) {
            float counts[ROWS]; // 1 for the rows of head h
            [[unroll]] for (uint t = 0; t < ROWS; t++) {
                uint row = row0 + t * WORKGROUP + lane;
                counts[t] = row < rows && row % group == h ? 1.0 : 0.0;
            }
            vec4 mine[PARTS]; // a lane stores each WORKGROUP-th vec4
            [[unroll]] for (uint m = 0; m < PARTS; m++) mine[m] = vec4(0.0);
            [[unroll]] for (uint c = 0; c < DIMS; c++) {
                vec4 own = vec4(0.0), total = vec4(0.0);
                [[unroll]] for (uint t = 0; t < ROWS; t++) own += counts[t] * abs(acc[t][c]);
                [[unroll]] for (uint n = 0; n < WORKGROUP; n++) total += subgroupShuffle(own, n);
                if (c % WORKGROUP == lane) mine[c / WORKGROUP] = total;
            }
            [[unroll]] for (uint m = 0; m < PARTS; m++) {
                uint c = m * WORKGROUP + lane;
                if (c < DIMS) activity[((block * kv_heads + kv_head) * group + h) * DIMS + c] = mine[m];
            }
        }
    }
#endif
    [[unroll]] for (uint t = 0; t < ROWS; t++)
        if (row0 + t * WORKGROUP + lane < rows)
            [[unroll]] for (uint c = 0; c < DIMS; c++) o[at[t] + c] = acc[t][c];
}
