#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#include "common/workgroup.glsl"

// Multiplies f16 matrices in registers and adds f32 ones, in chains that do not wait for one another: the peak of a subgroup's
// cooperative matrices. ROUNDS · CHAINS · M · N · K · 2 operations a subgroup; y is written if an element is `never`.

layout(constant_id = 1) const uint MATRIX_M = 8;
layout(constant_id = 2) const uint MATRIX_N = 8;
layout(constant_id = 3) const uint MATRIX_K = 8;
layout(push_constant) uniform Push { float factor; float never; uint rounds; };
layout(binding = 0) writeonly buffer Y { float y[]; };

const uint CHAINS = 4; // chainsOfSubgroup in model/bench

void main() {
    coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> a = coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA>(float16_t(factor));
    coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> b = coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB>(float16_t(factor));
    coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sum[CHAINS];
    [[unroll]] for (uint i = 0; i < CHAINS; i++) sum[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(float(i));
    [[dont_unroll]] for (uint n = 0; n < rounds; n++)
        [[unroll]] for (uint i = 0; i < CHAINS; i++) sum[i] = coopMatMulAdd(a, b, sum[i]);
    float all = 0.0;
    [[unroll]] for (uint i = 0; i < CHAINS; i++) all += sum[i][0];
    if (all == never) y[0] = all;
}
