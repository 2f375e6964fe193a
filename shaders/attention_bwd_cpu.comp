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
#define MORE_PUSH Quads a; Quads b;
#endif
#include "common/attention.glsl"
#include "common/attention_bwd.glsl"

// What attention_bwd.comp computes, OF_KEYS or not, for drivers that run on the CPU: the workgroup is one subgroup, the lanes of a
// vector, of 4, 8 or 16, and needs no barrier nor shared memory. A lane has ROWS rows; all lanes share a tile of WORKGROUP others.
// d is a multiple of 4. SHUFFLE is as in attention_cpu.comp.
//
// The accumulators are in registers, so loops over d are unrolled where those are used. lavapipe 22.3 stops an invocation's loops at
// 65,535 iterations: there are 1 + 2·d/4/STEP for each tile, 1 where rows are held: 35,000 for 4096 queries of 128 and a group of 4.

layout(constant_id = 3) const uint ROWS = 4;
layout(constant_id = 4) const uint STEP = 4; // vec4 of the dot products in an iteration, a divisor of d/4
layout(constant_id = 5) const uint HELD = 1; // d/4: what a row has is read once and held; else 1: it is read again for each tile

const uint OTHERS = WORKGROUP; // of a tile

// x and y are what a row has, a and b what the others have: x·a is the logit, y·b the gradient of p.
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 2) buffer Statistics { vec2 statistics[]; };
layout(binding = 3) writeonly buffer DX { vec4 dx[]; };
#if defined(OF_KEYS)
layout(binding = 4) writeonly buffer DY { vec4 dy[]; };
#else
layout(binding = 4) readonly buffer O { vec4 o[]; };
#endif
#if defined(SHUFFLE)
layout(binding = 5, rgba32ui) uniform readonly uimageBuffer a;
layout(binding = 6, rgba32ui) uniform readonly uimageBuffer b;
#endif
#define TEXEL(x, at) uintBitsToFloat(imageLoad(x, int(at)))

// vec4 c of other n of the tile, in every lane; of the last in place of those past the end.
#define OTHER(n) (other_at(min(other0 + (n), end - 1)) * DIMS)
#if defined(SHUFFLE)
#define OWN(x, c) TEXEL(x, from + (c))
#define SHARED(x, own, n, c) subgroupShuffle(own, n)
#else
#define OWN(x, c) vec4(0.0)
#define SHARED(x, own, n, c) x.v[from[n] + (c)]
#endif

// result[t][n] += mine·theirs of vec4 c, for row t of the lane and other n of the tile
#define PRODUCT(result, mine, theirs, c) { \
    vec4 own = OWN(theirs, c); \
    [[unroll]] for (uint n = 0; n < OTHERS; n++) { \
        vec4 right = SHARED(theirs, own, n, c); \
        [[unroll]] for (uint t = 0; t < ROWS; t++) { \
            float s = result[t][n]; \
            s = fma(right.x, mine[t].x, s); \
            s = fma(right.y, mine[t].y, s); \
            s = fma(right.z, mine[t].z, s); \
            result[t][n] = fma(right.w, mine[t].w, s); \
        } \
    } \
}
// result[t][n] = mine·theirs
#define PRODUCTS(result, mine, held, theirs) \
    [[unroll]] for (uint t = 0; t < ROWS; t++) \
        [[unroll]] for (uint n = 0; n < OTHERS; n++) result[t][n] = 0.0; \
    if (HELD == DIMS) { \
        [[unroll]] for (uint c = 0; c < HELD; c++) { \
            vec4 left[ROWS]; \
            [[unroll]] for (uint t = 0; t < ROWS; t++) left[t] = held[t][c]; \
            PRODUCT(result, left, theirs, c) \
        } \
    } else { \
        uint c0 = 0; /* tested at the end: see linear_cpu.comp */ \
        [[dont_unroll]] do { \
            [[unroll]] for (uint i = 0; i < STEP; i++) { /* from a c0 that varies, no compiler would unroll it */ \
                uint c = c0 + i; \
                vec4 left[ROWS]; \
                [[unroll]] for (uint t = 0; t < ROWS; t++) left[t] = TEXEL(mine, at[t] + c); \
                PRODUCT(result, left, theirs, c) \
            } \
            c0 += STEP; \
        } while (c0 < DIMS); \
    }

// acc[t] = acc[t]·rescale[t] + Σ_n weight[t][n]·theirs_n
#define ACCUMULATE(acc, rescale, weight, theirs) \
    [[unroll]] for (uint c = 0; c < DIMS; c++) { \
        rescale \
        vec4 own = OWN(theirs, c); \
        [[unroll]] for (uint n = 0; n < OTHERS; n++) { \
            vec4 right = SHARED(theirs, own, n, c); \
            [[unroll]] for (uint t = 0; t < ROWS; t++) acc[t][c] = fma(vec4(weight[t][n]), right, acc[t][c]); \
        } \
    }

void main() {
    uint lane = gl_SubgroupInvocationID, rows = row_count(), row0 = first_row(WORKGROUP * ROWS), begin, end;
    others_of(row0, min(row0 + WORKGROUP * ROWS, rows), begin, end);

    uint low[ROWS], span[ROWS], at[ROWS];
    vec4 gradient[ROWS][DIMS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        uint row = min(row0 + t * WORKGROUP + lane, rows - 1);
        seen_by(row, low[t], span[t]);
        at[t] = row_at(row) * DIMS;
        [[unroll]] for (uint c = 0; c < DIMS; c++) gradient[t][c] = vec4(0.0);
    }
#if defined(OF_KEYS)
    vec4 values[ROWS][DIMS];
    [[unroll]] for (uint t = 0; t < ROWS; t++)
        [[unroll]] for (uint c = 0; c < DIMS; c++) values[t][c] = vec4(0.0);
#else
    float top[ROWS], sum[ROWS], mean[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        top[t] = MASKED;
        sum[t] = 0.0;
        vec4 product = vec4(0.0);
        [[unroll]] for (uint c = 0; c < DIMS; c++) product = fma(TEXEL(y, at[t] + c), o[at[t] + c], product);
        mean[t] = (product.x + product.y) + (product.z + product.w);
    }
#endif

    vec4 held_x[ROWS][HELD], held_y[ROWS][HELD];
    if (HELD == DIMS)
        [[unroll]] for (uint t = 0; t < ROWS; t++)
            [[unroll]] for (uint c = 0; c < HELD; c++) {
                held_x[t][c] = TEXEL(x, at[t] + c);
                held_y[t][c] = TEXEL(y, at[t] + c);
            }

    for (uint other0 = begin; other0 < end; other0 += OTHERS) {
#if defined(SHUFFLE)
        uint from = OTHER(lane);
#else
        uint from[OTHERS];
        [[unroll]] for (uint n = 0; n < OTHERS; n++) from[n] = OTHER(n);
#endif
        float p[ROWS][OTHERS], ds[ROWS][OTHERS];
        PRODUCTS(p, x, held_x, a)
        PRODUCTS(ds, y, held_y, b)
#if defined(OF_KEYS)
        vec2 of = statistics[statistics_at(min(other0 + lane, end - 1))];
        [[unroll]] for (uint n = 0; n < OTHERS; n++) {
            float exponent = subgroupShuffle(of.x, n), mean = subgroupShuffle(of.y, n);
            [[unroll]] for (uint t = 0; t < ROWS; t++) {
                float logit = CAP == 0 ? 0.0 : capped(p[t][n] * scale);
                float weight = exp2(min(CAP == 0 ? fma(p[t][n], scale, -exponent) : logit - exponent, 0.0));
                p[t][n] = other0 + n - low[t] <= span[t] ? weight : 0.0;
                ds[t][n] = p[t][n] * (ds[t][n] - mean) * cap_slope(logit);
            }
        }
        ACCUMULATE(values, , p, b)
        ACCUMULATE(gradient, , ds, a)
#else
        float rescale[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            float best = top[t];
            [[unroll]] for (uint n = 0; n < OTHERS; n++) {
                p[t][n] = other0 + n - low[t] <= span[t] ? capped(p[t][n] * scale) : MASKED;
                best = max(best, p[t][n]);
            }
            rescale[t] = top[t] == best ? 1.0 : exp2(top[t] - best); // 1 exactly where the tile changes nothing
            top[t] = best;
            sum[t] *= rescale[t];
            [[unroll]] for (uint n = 0; n < OTHERS; n++) {
                float weight = p[t][n] == MASKED ? 0.0 : exp2(p[t][n] - best);
                sum[t] += weight;
                ds[t][n] = weight * (ds[t][n] - mean[t]) * cap_slope(p[t][n]);
            }
        }
        ACCUMULATE(gradient, [[unroll]] for (uint t = 0; t < ROWS; t++) gradient[t][c] *= rescale[t];, ds, a)
#endif
    }

    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        if (row0 + t * WORKGROUP + lane >= rows) continue;
        float inverse = scale * LN2;
#if defined(OF_KEYS)
        [[unroll]] for (uint c = 0; c < DIMS; c++) dy[at[t] + c] = values[t][c];
#else
        inverse /= sum[t];
        statistics[statistics_at(row0 + t * WORKGROUP + lane)] = vec2(top[t] + log2(sum[t]), mean[t]);
#endif
        [[unroll]] for (uint c = 0; c < DIMS; c++) dx[at[t] + c] = gradient[t][c] * inverse;
    }
}
