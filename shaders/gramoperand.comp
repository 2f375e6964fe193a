#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// y[b,i,k] = sqrt(w[t]) · x[t,i], t the token of block b that has the k-th of its least weights: what a product of y's rows adds up to
// Σ_t w[t]·x[t,i]·x[t,j] with, from small terms to large ones, which loses least in f32
//
// x [tokens, cols] f32, bound from row `row` on · w [tokens] f32, not negative · y [blocks, cols + BIAS, depth] f32, depth a multiple of 4
// Every window of tokens is cut into blocks of `block` tokens from its start; the last may be shorter. This dispatch has those from
// first_block on. Beyond the tokens of a block y is 0. With BIAS x has one more column, of ones.
// One invocation 4 columns and 4 tokens: gl_WorkGroupID.x along columns, y along tokens, z along blocks. block/WORKGROUP iterations, by which the
// workgroup finds the places of its tokens: of equal weights the first comes first. Bits are compared, so that NaN has a place too.

layout(constant_id = 1) const uint BIAS = 0;
layout(push_constant) uniform Push { uint row; uint cols; uint depth; uint window; uint block; uint first_block; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer W { float w[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

shared uint places[4];

void main() {
    uint lane = gl_LocalInvocationID.x, i0 = gl_GlobalInvocationID.x * 4, k0 = gl_WorkGroupID.y * 4, rows = cols + BIAS;
    uint blocks = (window + block - 1) / block, b = first_block + gl_WorkGroupID.z; // blocks of a window
    uint inside = b % blocks * block, count = min(block, window - inside), first = b / blocks * window + inside;
    uint own[4], before[4];
    [[unroll]] for (uint k = 0; k < 4; k++) {
        own[k] = k0 + k < count ? floatBitsToUint(w[first + k0 + k]) : 0;
        before[k] = 0;
    }
    for (uint k = lane; k < 4; k += WORKGROUP) places[k] = k0 + k < count ? 0 : k0 + k;
    barrier();
    for (uint t = lane; t < count; t += WORKGROUP) {
        uint other = floatBitsToUint(w[first + t]);
        [[unroll]] for (uint k = 0; k < 4; k++)
            if (other < own[k] || other == own[k] && t < k0 + k) before[k]++;
    }
    [[unroll]] for (uint k = 0; k < 4; k++)
        if (k0 + k < count) atomicAdd(places[k], before[k]);
    barrier();
    uint to = (gl_WorkGroupID.z * rows + i0) * depth;
    [[unroll]] for (uint k = 0; k < 4; k++) {
        bool there = k0 + k < count;
        float by = there ? sqrt(uintBitsToFloat(own[k])) : 0.0;
        [[unroll]] for (uint i = 0; i < 4; i++) {
            float v = i0 + i == cols ? 1.0 : 0.0;
            if (there && i0 + i < cols) v = x[(first + k0 + k - row) * cols + i0 + i];
            if (i0 + i < rows) y[to + i * depth + places[k]] = by * v;
        }
    }
}
