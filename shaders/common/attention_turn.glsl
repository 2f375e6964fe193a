// A tile of attention_coopmat.comp: the KEYS keys from key0 on, of which those from end on are the last again. It is main's, behind declarations of
// query, sum, top and total, and stands there twice: with FIRST before the loop, whose sums so begin where products put them. NVK puts zeros into
// any registers, and then moves the sums at every turn. Where registers are fewer, the second copy takes too many (Xe2 and RDNA 3 spill).
#include "attention_fetch.glsl"
if (lane < KEYS) {
    key_unscale[lane / 4][lane % 4] = got_unscale;
    value_exponent[lane / 4][lane % 4] = got_exponent;
}
barrier();

for (uint j = share; j < KEYS / MATRIX_N; j += SPLIT) {
    SUM products = SUM(0.0);
    [[unroll]] for (uint i = 0; i < DEEP; i++) {
        MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
        coopMatLoad(b, tile, j * MATRIX_N * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        products = coopMatMulAdd(query[i], b, products);
    }
    coopMatStore(products, weighed, own * ROW_PITCH + j * (MATRIX_N / 4), ROW_PITCH, gl_CooperativeMatrixLayoutRowMajor);
}
MEET

vec4 weight[QUADS];
float best = MASKED;
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    uint quad = part + PER_ROW * n;
    uvec4 key = key0 + 4 * quad + uvec4(0, 1, 2, 3);
    vec4 logit = capped(uintBitsToFloat(weighed[(own + r) * ROW_PITCH + quad]) * unscale * key_unscale[quad]) + value_exponent[quad];
    weight[n] = mix(vec4(MASKED), logit, lessThanEqual(key - low, uvec4(span))); // wraps before low
    best = max(best, max(max(weight[n].x, weight[n].y), max(weight[n].z, weight[n].w)));
}
[[unroll]] for (uint m = 1; m < PER_ROW; m <<= 1) best = max(best, subgroupShuffleXor(best, m));
subgroupBarrier(); // the logits were read
best = max(best, top); // first MASKED
#if !defined(FIRST)
float rescale = top == best ? 1.0 : exp2(top - best); // 1 exactly where the tile changes nothing
total *= rescale;
#endif
top = best;
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    uint quad = part + PER_ROW * n;
    vec4 w = mix(exp2(weight[n] - best), vec4(0.0), equal(weight[n], vec4(MASKED)));
    uvec2 halves = uvec2(packFloat2x16(f16vec2(w.xy)), packFloat2x16(f16vec2(w.zw)));
    w = vec4(unpackFloat2x16(halves.x), unpackFloat2x16(halves.y)) * exp2(-value_exponent[quad]);
    total += (w.x + w.y) + (w.z + w.w);
    uint at = (own + r) * ROW_PITCH + quad / 2;
    if (quad % 2 == 0) weighed[at].xy = halves;
    else weighed[at].zw = halves;
}
#if !defined(FIRST)
bool grew = subgroupAny(rescale != 1.0);
if (SPLIT > 1) grown[gl_SubgroupID] = uint(grew);
if (grew || SPLIT > 1)
    for (uint n = part; n < MATRIX_N / 4; n += PER_ROW) weighed[(own + r) * ROW_PITCH + FACTOR + n] = floatBitsToUint(vec4(rescale));
#endif
MEET // not within the branch, which subgroups take differently: lavapipe 26 makes it a barrier of the workgroup
#if !defined(FIRST)
if (SPLIT > 1) grew = (grown[band * SPLIT] | grown[band * SPLIT + SPLIT - 1]) != 0;
if (grew) {
    SUM factor;
    coopMatLoad(factor, weighed, own * ROW_PITCH + FACTOR, ROW_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) sum[n] = sum[n] * factor;
}
#endif
for (uint i = 0; i < KEYS / MATRIX_K; i++) {
    MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) a;
    coopMatLoad(a, weighed, own * ROW_PITCH + i * (MATRIX_K / 8), ROW_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) {
        MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
        coopMatLoad(b, tile, VALUES + (share * OWN_OUT + n) * MATRIX_N * VALUE_PITCH + i * (MATRIX_K / 8), VALUE_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        sum[n] = coopMatMulAdd(a, b, sum[n]);
    }
}
