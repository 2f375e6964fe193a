#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// y[b,i,k] = sqrt(w[t]) · x[t,i], t the token k of block b: what a product of y's rows adds up to Σ_t w[t]·x[t,i]·x[t,j] with
//
// x [tokens, cols] f32, bound from row `row` on · w [tokens] f32 · y [blocks, cols + BIAS, depth] f32, depth a multiple of 4
// Every window of tokens is cut into blocks of `block` tokens from its start; the last may be shorter. This dispatch has those from
// first_block on. Beyond the tokens of a block y is 0. With BIAS x has one more column, of ones.
// One invocation 4 columns and 4 tokens: gl_WorkGroupID.x along columns, y along depth, z along blocks. No loops.

layout(constant_id = 1) const uint BIAS = 0;
layout(push_constant) uniform Push { uint row; uint cols; uint depth; uint window; uint block; uint first_block; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) readonly  buffer W { float w[]; };
layout(binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i0 = gl_GlobalInvocationID.x * 4, k0 = gl_WorkGroupID.y * 4, rows = cols + BIAS;
    if (i0 >= rows) return;
    uint blocks = (window + block - 1) / block, b = first_block + gl_WorkGroupID.z; // blocks of a window
    uint inside = b % blocks * block, count = min(block, window - inside), t0 = b / blocks * window + inside + k0;
    vec4 column[4];
    [[unroll]] for (uint k = 0; k < 4; k++) {
        bool there = k0 + k < count;
        float by = there ? sqrt(w[t0 + k]) : 0.0;
        [[unroll]] for (uint i = 0; i < 4; i++) {
            float v = i0 + i == cols ? 1.0 : 0.0;
            if (there && i0 + i < cols) v = x[(t0 + k - row) * cols + i0 + i];
            column[i][k] = by * v;
        }
    }
    uint to = ((gl_WorkGroupID.z * rows + i0) * depth + k0) / 4;
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (i0 + i < rows) y[to + i * (depth / 4)] = column[i];
}
