// Sums, maxima over a workgroup of WORKGROUP invocations (a power of two, at most 256) through shared memory: no subgroup
// operations. Every invocation must call; every one gets the result. The order of the additions is fixed.
shared float reduce_scratch[256];

float workgroup_sum(float v) {
    uint lane = gl_LocalInvocationID.x;
    reduce_scratch[lane] = v;
    barrier();
    for (uint half_size = WORKGROUP >> 1; half_size > 0; half_size >>= 1) {
        if (lane < half_size) reduce_scratch[lane] += reduce_scratch[lane + half_size];
        barrier();
    }
    float total = reduce_scratch[0];
    barrier();
    return total;
}

float workgroup_max(float v) {
    uint lane = gl_LocalInvocationID.x;
    reduce_scratch[lane] = v;
    barrier();
    for (uint half_size = WORKGROUP >> 1; half_size > 0; half_size >>= 1) {
        if (lane < half_size) reduce_scratch[lane] = max(reduce_scratch[lane], reduce_scratch[lane + half_size]);
        barrier();
    }
    float best = reduce_scratch[0];
    barrier();
    return best;
}
