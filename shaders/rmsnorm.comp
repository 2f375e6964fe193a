#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[t,i] = x[t,i] · rsqrt(mean_i x[t,i]² + eps) · (w[i] + PLUS_ONE)  (+ residual[t,i] where RESIDUAL)
//                                                                       RMSNorm, Zhang & Sennrich 2019, arXiv 1910.07467
//
// x, residual [rows, hidden] f32 · w [hidden] weight dtype · y [rows, hidden] f32, may be x or residual
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations.
//
// With TEXELS, for drivers that run on the CPU: hidden a multiple of a texel of w, one invocation a row, whose loads are of 16 bytes
// and which needs no barrier. 2·hidden/4 iterations: below lavapipe's 65,535 for hidden ≤ 130,000.

layout(constant_id = 1) const uint PLUS_ONE = 0; // 1: weights are stored without the 1 that they are around, as Gemma's
layout(constant_id = 2) const uint RESIDUAL = 0;
layout(push_constant) uniform Push { uint hidden; float eps; uint rows; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer residual;
layout(binding = 3) writeonly buffer Y { vec4 y[]; };

void main() {
    uint row = gl_GlobalInvocationID.x, quads = hidden / 4;
    if (row >= rows) return;
    vec4 squares = vec4(0.0);
    for (uint i = 0; i < quads; i++) {
        vec4 v = uintBitsToFloat(imageLoad(x, int(row * quads + i)));
        squares = fma(v, v, squares);
    }
    float scale = inversesqrt(dot(squares, vec4(1.0)) / float(hidden) + eps);
    for (uint i = 0; i < quads; i += TEXEL_QUADS) {
        uvec4 texel = imageLoad(w, int(i / TEXEL_QUADS));
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
            uint e = row * quads + i + q;
            vec4 v = uintBitsToFloat(imageLoad(x, int(e))) * scale * (texel_quad(texel, q) + float(PLUS_ONE));
            if (RESIDUAL != 0) v += uintBitsToFloat(imageLoad(residual, int(e)));
            y[e] = v;
        }
    }
}
#else
layout(constant_id = 3) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer W { uint  w[]; };
layout(binding = 1) readonly  buffer W4 { words4 w4[]; };
layout(binding = 2) readonly  buffer Residual { float residual[]; };
layout(binding = 2) readonly  buffer Residual4 { vec4 residual4[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };
layout(binding = 3) writeonly buffer Y4 { vec4 y4[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * hidden;
    vec4 squares = vec4(0.0);
    for (uint i = 4 * gl_LocalInvocationID.x; i < hidden; i += 4 * WORKGROUP) {
        vec4 v = FOUR(x, row + i, hidden - i, 0.0);
        squares += v * v;
    }
    float scale = inversesqrt(workgroup_sum(sum_of(squares)) / float(hidden) + eps);
    for (uint i = 4 * gl_LocalInvocationID.x; i < hidden; i += 4 * WORKGROUP) {
        uint left = hidden - i;
        vec4 v = FOUR(x, row + i, left, 0.0) * scale * (FOUR_WEIGHTS(w, i, left) + float(PLUS_ONE));
        if (RESIDUAL != 0) v += FOUR(residual, row + i, left, 0.0);
        STORE_FOUR(y, row + i, left, v)
    }
}
#endif
