// A tile of attention_bwd_coopmat.comp: the OTHERS others from other0 on, of which those from end on are the last again. It is main's, behind
// declarations of mine, sum and what is held of a row, and stands there twice, as attention_turn.glsl does: with FIRST_TURN before the loop.
uvec4 got[FETCHES][2];
[[unroll]] for (uint f = 0; f < FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, 2 * SIDE - 1), other = other0 + 2 * (e % PAIRS), from = (e < SIDE ? a_at : b_at) + e % SIDE / PAIRS;
    got[f][0] = halves[from + other_at(min(other, end - 1)) * EIGHTHS];
    got[f][1] = halves[from + other_at(min(other + 1, end - 1)) * EIGHTHS];
}
uint nth = min(other0 + lane % OTHERS, end - 1), at_other = other_at(nth);
float got_a = unscales[a_unscale + at_other], got_b = unscales[b_unscale + at_other];
#if defined(OF_KEYS)
vec2 got_statistics = statistics[statistics_at(nth)];
#endif
barrier(); // the tile was read
[[unroll]] for (uint f = 0; f < FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, 2 * SIDE - 1), to = (e / SIDE * OTHERS + 2 * (e % PAIRS)) * PITCH + e % SIDE / PAIRS;
    memory[to] = got[f][0];
    memory[to + PITCH] = got[f][1];
}
// Several invocations write the same: in a branch the loads would be there too, where each is waited for.
of_a[lane % OTHERS / 4][lane % 4] = got_a;
of_b[lane % OTHERS / 4][lane % 4] = got_b;
#if defined(OF_KEYS)
of_sum[lane % OTHERS / 4][lane % 4] = got_statistics.x;
of_mean[lane % OTHERS / 4][lane % 4] = got_statistics.y;
#endif
barrier();

for (uint j = share / 2; j < OTHERS / MATRIX_N; j += SPLIT / 2) {
    SUM products = SUM(0.0);
    [[unroll]] for (uint i = 0; i < DEEP; i++) {
        MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
        coopMatLoad(b, memory, (side * OTHERS + j * MATRIX_N) * PITCH + i * (MATRIX_K / 8), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        products = coopMatMulAdd(mine[i], b, products);
    }
    coopMatStore(products, memory, TILE + side * PLANE + own * LINE + j * (MATRIX_N / 4), LINE, gl_CooperativeMatrixLayoutRowMajor);
}
barrier();

[[unroll]] for (uint f = 0; f < FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, 2 * SIDE - 1), pair = e % PAIRS, to = (e / SIDE * HEAD_DIM + e % SIDE / PAIRS * 8) * TURNED_PITCH + pair / 4;
    if (SIDES == 2 || e < SIDE)
        [[unroll]] for (uint i = 0; i < 4; i++) {
            uint left = got[f][0][i], right = got[f][1][i];
            memory[to + 2 * i * TURNED_PITCH][pair % 4] = (left & 0xffffu) | right << 16;
            memory[to + (2 * i + 1) * TURNED_PITCH][pair % 4] = left >> 16 | (right & 0xffff0000u);
        }
}

vec4 to_x[QUADS];
#if defined(OF_KEYS)
vec4 to_y[QUADS];
vec2 largest = vec2(0.0);
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    uint quad = part + PER_ROW * n;
    uvec4 other = other0 + 4 * quad + uvec4(0, 1, 2, 3);
    vec4 logit = capped(uintBitsToFloat(memory[TILE + r * LINE + quad]) * row_unscale[r].x * of_a[quad]);
    vec4 p = mix(vec4(0.0), exp2(min(logit - of_sum[quad], vec4(0.0))), lessThanEqual(other - low, uvec4(span))); // wraps before low
    vec4 dp = uintBitsToFloat(memory[TILE + PLANE + r * LINE + quad]) * row_unscale[r].y * of_b[quad];
    to_x[n] = p * (dp - of_mean[quad]) * slopes(logit) * of_a[quad];
    to_y[n] = p * of_b[quad];
    largest = max(largest, vec2(largest_of(to_x[n]), largest_of(to_y[n])));
}
vec2 now = max(held, vec2(exponent(of_row(largest.x)), exponent(of_row(largest.y))));
vec2 times = vec2(power(NEAR_END - now.x), power(NEAR_END - now.y));
#if !defined(FIRST_TURN)
vec2 factor = vec2(power(held.x - now.x), power(held.y - now.y));
uint grew = uint(subgroupAny(factor.x != 1.0)) | uint(subgroupAny(factor.y != 1.0)) << 1;
#endif
held = now;
subgroupBarrier(); // the row was read
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    put(r * LINE, part + PER_ROW * n, to_x[n] * times.x);
    put(PLANE + r * LINE, part + PER_ROW * n, to_y[n] * times.y);
}
#else
float best = MASKED;
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    uint quad = part + PER_ROW * n;
    uvec4 other = other0 + 4 * quad + uvec4(0, 1, 2, 3);
    vec4 logit = capped(uintBitsToFloat(memory[TILE + r * LINE + quad]) * row_unscale[r].x * of_a[quad]);
    to_x[n] = mix(vec4(MASKED), logit, lessThanEqual(other - low, uvec4(span))); // wraps before low
    best = max(best, max(max(to_x[n].x, to_x[n].y), max(to_x[n].z, to_x[n].w)));
}
best = max(top, ceil(of_row(best))); // whole: what it changes by is a power of two
#if !defined(FIRST_TURN)
total *= power(top - best);
#endif
top = best;
float largest = 0.0;
[[unroll]] for (uint n = 0; n < QUADS; n++) {
    uint quad = part + PER_ROW * n;
    vec4 logit = to_x[n], p = mix(exp2(logit - top), vec4(0.0), equal(logit, vec4(MASKED)));
    vec4 dp = uintBitsToFloat(memory[TILE + PLANE + r * LINE + quad]) * row_unscale[r].y * of_b[quad];
    total += (p.x + p.y) + (p.z + p.w);
    to_x[n] = p * (dp - mean) * slopes(logit) * of_a[quad];
    largest = max(largest, largest_of(to_x[n]));
}
float now = max(held, top + exponent(of_row(largest))), times = power(NEAR_END + top - now);
#if !defined(FIRST_TURN)
float factor = power(held - now);
uint grew = uint(subgroupAny(factor != 1.0));
#endif
held = now;
subgroupBarrier(); // the row was read
[[unroll]] for (uint n = 0; n < QUADS; n++) put(r * LINE, part + PER_ROW * n, to_x[n] * times);
#endif
#if !defined(FIRST_TURN)
grown[gl_SubgroupID] = grew;
for (uint n = part; n < MATRIX_N / 4; n += PER_ROW) {
#if defined(OF_KEYS)
    memory[TILE + r * LINE + FACTOR + n] = floatBitsToUint(vec4(factor.x));
    memory[TILE + PLANE + r * LINE + FACTOR + n] = floatBitsToUint(vec4(factor.y));
#else
    memory[TILE + r * LINE + FACTOR + n] = floatBitsToUint(vec4(factor));
#endif
}
#endif
barrier();

uint with = side % SIDES, to_side = share / SIDES * OWN_OUT, plane = TILE + with * PLANE + own * LINE;
#if !defined(FIRST_TURN)
uint any_grew = 0;
[[unroll]] for (uint n = 0; n < SPLIT; n++) any_grew |= grown[band * SPLIT + n];
if ((any_grew >> with & 1u) != 0) {
    SUM factors;
    coopMatLoad(factors, memory, plane + FACTOR, LINE, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) sum[n] = sum[n] * factors;
}
#endif
for (uint i = 0; i < OTHERS / MATRIX_K; i++) {
    MATRIX(gl_MatrixUseA, MATRIX_M, MATRIX_K) a;
    coopMatLoad(a, memory, plane + i * (MATRIX_K / 8), LINE, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < OWN_OUT; n++) {
        MATRIX(gl_MatrixUseB, MATRIX_K, MATRIX_N) b;
        uint out_n = min(to_side + n, OUT - 1);
        coopMatLoad(b, memory, (with * HEAD_DIM + out_n * MATRIX_N) * TURNED_PITCH + i * (MATRIX_K / 8), TURNED_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
        sum[n] = coopMatMulAdd(a, b, sum[n]);
    }
}
