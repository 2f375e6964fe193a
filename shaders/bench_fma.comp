#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#if defined(HALF)
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define REAL f16vec4
#else
#define REAL vec4
#endif
#include "common/workgroup.glsl"

// Multiplies and adds in registers, in chains that do not wait for one another: the peak of f32 arithmetic, with HALF of f16.
//
// ROUNDS · CHAINS · 4 · 2 operations an invocation; y is written if a sum is `never`. ROUNDS/STEPS iterations: below lavapipe 22.3's 65,535.

layout(constant_id = 1) const uint CHAINS = 8;
layout(push_constant) uniform Push { float factor; float term; float never; };
layout(binding = 0) writeonly buffer Y { float y[]; };

const uint ROUNDS = 4096, STEPS = 16; // fmaRounds in model/bench

void main() {
    REAL sum[CHAINS], a = REAL(factor), b = REAL(term);
    [[unroll]] for (uint i = 0; i < CHAINS; i++) sum[i] = REAL(float(gl_LocalInvocationID.x + i));
    [[dont_unroll]] for (uint n = 0; n < ROUNDS; n += STEPS)
        [[unroll]] for (uint s = 0; s < STEPS; s++) // what a loop costs does not count
            [[unroll]] for (uint i = 0; i < CHAINS; i++) sum[i] = fma(sum[i], a, b);
    REAL all = REAL(0.0);
    [[unroll]] for (uint i = 0; i < CHAINS; i++) all += sum[i];
    if (float(all.x + all.y + all.z + all.w) == never) y[0] = never;
}
