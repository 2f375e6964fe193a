#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_cooperative_matrix : require
#define MORE_PUSH uint x_at; uint y_at; uint a_at; uint b_at; uint x_unscale; uint y_unscale; uint a_unscale; uint b_unscale;
#include "common/workgroup.glsl"
#include "common/attention.glsl"
#include "common/attention_bwd.glsl"

// What attention_bwd.comp computes, by cooperative matrices: q, k, v and do come from tohalf.comp, a head of a row times the power of two that
// brings its largest element near the end of what f16 holds, and 1/unscale of it.
//
// x and y are what a row has, a and b what the others have, as there: x·a is the logit, y·b the gradient of p. All lie in one binding, heads
// from x_at on (in 16 bytes) and their unscale from x_unscale on (in floats), where row 0 of the tensor that dx or o is bound of would be: they
// wrap where that is before the binding.
//
// o, dq [windows·queries, kv_heads·group·d] f32, dq may be o · dk, dv [windows·queries, kv_heads·d] f32 · statistics as there · d a multiple of
// 8 and of what MATRIX_K and MATRIX_N are
//
// A workgroup takes ROWS rows (x), MATRIX_M of them a band, of a KV head (y) of a window (z), and goes over the others in tiles of OTHERS. SPLIT
// subgroups have the same band: the even ones hold x and make logits, the odd ones hold y and make gradients of p. Both pass through shared memory
// to be weighed row by row, and go back as f16, to be multiplied with the tile once more, transposed: of keys even subgroups add up dk and odd ones
// dv, each a part; of queries each a part of dq. The transposed tile lies where the tile was, and is made of the registers that fetched it.
//
// What is f16 of a row is its weights over a power of two, the least so far that has them below 2^15, and the sums are over it: like elements of q,
// weights less than 2^-28 of the row's largest lose bits, and the smallest gradient is as exact as the largest. A sum is multiplied where the power grows.
// f32 sums; the order of additions to an element depends on nothing but d, group and positions, and within a matrix the device.

layout(constant_id = 3) const uint SUBGROUP = 8; // a multiple of MATRIX_M
layout(constant_id = 4) const uint MATRIX_M = 8;
layout(constant_id = 5) const uint MATRIX_N = 8; // divides OTHERS/2
layout(constant_id = 6) const uint MATRIX_K = 8; // divides OTHERS
layout(constant_id = 7) const uint SPLIT = 2;    // 2 or 4; SPLIT·SUBGROUP is at most 8 times MATRIX_M
layout(constant_id = 8) const uint BANDS = 4;    // of rows, of a workgroup
layout(constant_id = 9) const uint APART = 0;    // 1: the first tile stands before the loop
layout(binding = 0) readonly buffer Halves { uvec4 halves[]; };
layout(binding = 0) readonly buffer Unscales { float unscales[]; };
#if defined(OF_KEYS)
layout(binding = 1) readonly  buffer Statistics { vec2 statistics[]; };
layout(binding = 2) writeonly buffer DX { vec4 dx[]; };
layout(binding = 3) writeonly buffer DY { vec4 dy[]; };
const uint SIDES = 2; // of the tile, that are multiplied once more
#else
layout(binding = 1) writeonly buffer Statistics { vec2 statistics[]; };
layout(binding = 2) writeonly buffer DX { vec4 dx[]; };
layout(binding = 3) readonly  buffer O { vec4 o[]; };
const uint SIDES = 1;
#endif

const uint OTHERS = 32, ROWS = BANDS * MATRIX_M;                  // WORKGROUP is BANDS · SPLIT · SUBGROUP
const uint EIGHTHS = HEAD_DIM / 8, PITCH = EIGHTHS + 1;           // uvec4 of 8 f16; odd or not, 8 rows lie in different banks
const uint DEEP = HEAD_DIM / MATRIX_K, OUT = HEAD_DIM / MATRIX_N; // matrices of a row of x, and of dx
const uint OF_SIDE = SPLIT / SIDES, OWN_OUT = (OUT + OF_SIDE - 1) / OF_SIDE; // subgroups that share dx, and what one has of it
const uint PAIRS = OTHERS / 2, SIDE = PAIRS * EIGHTHS;            // fetches of a and b, two rows each
const uint FETCHES = (2 * SIDE + WORKGROUP - 1) / WORKGROUP;
const uint TURNED_PITCH = OTHERS / 8 + 1; // of the transposed tile, a row for each of the head's d: a matrix reads along others
const uint LINE = OTHERS / 4 + 1, FACTOR = OTHERS / 8, PLANE = ROWS * LINE; // of a row of products; then of its weights, and from FACTOR on by what its sums are multiplied
const uint PER_ROW = SPLIT * SUBGROUP / MATRIX_M;                 // invocations that weigh a row, of one subgroup
const uint QUADS = OTHERS / 4 / PER_ROW;                          // of others, of an invocation
const uint STRAIGHT = 2 * OTHERS * PITCH, TURNED = SIDES * HEAD_DIM * TURNED_PITCH, FIRST = 2 * ROWS * PITCH;
const uint TILE = LARGER(STRAIGHT, TURNED), ALL = TILE + 2 * PLANE;
const float NEAR_END = 14.0; // the largest weight of a row is in [2^14, 2^15)

// First the rows of x and of y. Then a and b, then these transposed, and from TILE on logits and gradients of p, then weights of dx and of dy.
shared uvec4 memory[LARGER(ALL, FIRST)];
shared vec4 of_a[OTHERS / 4], of_b[OTHERS / 4]; // unscale
#if defined(OF_KEYS)
shared vec4 of_sum[OTHERS / 4], of_mean[OTHERS / 4]; // statistics
#endif
shared vec2 row_unscale[ROWS]; // of x, times the logits' scale, and of y: registers are few
shared uint grown[BANDS * SPLIT]; // of each subgroup: bit s says whether a row that it weighs has a larger power for side s
shared float last[SIDES * ROWS];  // by what sums are multiplied in the end

#define MATRIX(use, rows, columns) coopmat<float16_t, gl_ScopeSubgroup, rows, columns, use>
#define SUM coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>

// 2^n of a whole number; 0 where that is too small for f32, 2^127 where it is too large.
float power(float n) { return uintBitsToFloat(uint(clamp(n, -127.0, 127.0) + 127.0) << 23); }

// The whole number n with 2^n <= x < 2^(n+1), -127 for 0.
float exponent(float x) { return float(int(floatBitsToUint(x) >> 23) - 127); }

float largest_of(vec4 v) { return max(max(abs(v.x), abs(v.y)), max(abs(v.z), abs(v.w))); }
float of_row(float most) {
    [[unroll]] for (uint m = 1; m < PER_ROW; m <<= 1) most = max(most, subgroupShuffleXor(most, m));
    return most;
}
vec4 slopes(vec4 logit) { return vec4(cap_slope(logit.x), cap_slope(logit.y), cap_slope(logit.z), cap_slope(logit.w)); }

// Puts a quad of weights where they are multiplied from.
void put(uint at, uint quad, vec4 w) {
    memory[TILE + at + quad / 2][quad % 2 * 2] = packFloat2x16(f16vec2(w.xy));
    memory[TILE + at + quad / 2][quad % 2 * 2 + 1] = packFloat2x16(f16vec2(w.zw));
}

void main() {
    uint lane = gl_LocalInvocationID.x, in_subgroup = gl_SubgroupInvocationID;
    uint band = gl_SubgroupID / SPLIT, share = gl_SubgroupID % SPLIT, side = share % 2, own = band * MATRIX_M; // the band's first row
    uint rows = row_count(), row0 = first_row(ROWS), begin, end;
    others_of(row0, min(row0 + ROWS, rows), begin, end);

    MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) mine[DEEP];
    for (uint e = lane; e < 2 * ROWS * EIGHTHS; e += WORKGROUP) {
        uint of = e / EIGHTHS, near = min(row0 + of % ROWS, rows - 1);
        memory[of * PITCH + e % EIGHTHS] = halves[(of < ROWS ? x_at : y_at) + row_at(near) * EIGHTHS + e % EIGHTHS];
    }
    barrier();
    [[unroll]] for (uint i = 0; i < DEEP; i++) coopMatLoad(mine[i], memory, (side * ROWS + own) * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    SUM sum[OWN_OUT];
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) sum[n] = SUM(0.0);

    // The row that an invocation weighs with PER_ROW − 1 others, and every PER_ROW-th quad of it.
    uint r = own + (share * SUBGROUP + in_subgroup) / PER_ROW, part = in_subgroup % PER_ROW, row = row0 + r, low, span;
    seen_by(row, low, span);
    uint at_row = row_at(min(row, rows - 1));
    float of_y = unscales[y_unscale + at_row];
    row_unscale[r] = vec2(unscales[x_unscale + at_row] * scale, of_y);
#if defined(OF_KEYS)
    vec2 held = vec2(MASKED); // exponents of the powers of two
#else
    float held = MASKED, top = MASKED, total = 0.0, mean; // total: of the quads that it weighs, over 2^top
    {
        vec4 product = vec4(0.0);
        for (uint c = part; c < EIGHTHS; c += PER_ROW) {
            uvec4 of = halves[y_at + at_row * EIGHTHS + c];
            product += vec4(unpackFloat2x16(of.x), unpackFloat2x16(of.y)) * o[at_row * DIMS + 2 * c];
            product += vec4(unpackFloat2x16(of.z), unpackFloat2x16(of.w)) * o[at_row * DIMS + 2 * c + 1];
        }
        mean = ((product.x + product.y) + (product.z + product.w)) * of_y;
        [[unroll]] for (uint m = 1; m < PER_ROW; m <<= 1) mean += subgroupShuffleXor(mean, m);
    }
#endif

    uint other0 = begin;
    if (APART == 1) {
#define FIRST_TURN
#include "common/attention_bwd_turn.glsl"
#undef FIRST_TURN
        other0 += OTHERS;
    }
    for (; other0 < end; other0 += OTHERS) {
#include "common/attention_bwd_turn.glsl"
    }

#if defined(OF_KEYS)
    if (part == 0) {
        last[r] = power(held.x - NEAR_END) * scale * LN2;
        last[ROWS + r] = power(held.y - NEAR_END);
    }
#else
    [[unroll]] for (uint m = 1; m < PER_ROW; m <<= 1) total += subgroupShuffleXor(total, m);
    if (part == 0) {
        last[r] = power(held - top - NEAR_END) * scale * LN2 / total;
        if (row < rows) statistics[statistics_at(row)] = vec2(top + log2(total), mean);
    }
#endif
    barrier(); // and the weights were read
    uint place = TILE + gl_SubgroupID * MATRIX_M * (MATRIX_N / 4), with = side % SIDES;
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) {
        subgroupBarrier(); // what was there was read
        coopMatStore(sum[n], memory, place, MATRIX_N / 4, gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        uint of = share / SIDES * OWN_OUT + n;
        [[unroll]] for (uint e0 = 0; e0 < MATRIX_M * (MATRIX_N / 4); e0 += SUBGROUP) {
            uint e = e0 + in_subgroup, near = min(e, MATRIX_M * (MATRIX_N / 4) - 1), to = own + near / (MATRIX_N / 4);
            vec4 value = uintBitsToFloat(memory[place + near]) * last[with * ROWS + to];
            uint at = row_at(min(row0 + to, rows - 1)) * DIMS + of * (MATRIX_N / 4) + near % (MATRIX_N / 4);
            if (row0 + to < rows && of < OUT && e == near) {
#if defined(OF_KEYS)
                if (with == 1) dy[at] = value;
                else dx[at] = value;
#else
                dx[at] = value;
#endif
            }
        }
    }
}
