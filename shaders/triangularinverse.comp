#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// y[0] = l⁻¹, y[1] = −l⁻¹, y[2] = −(l⁻¹)ᵀ of a lower triangular l, by forward substitution
//
// l [n, n] f32, of which the lower triangle is read · y [3, n, n] f32
// One invocation a column of l⁻¹; f32 accumulation; no subgroup operations. At most n²/2 iterations, n ≤ 256: 32,768.

layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer L { float l[]; };
layout(binding = 1) buffer Y { float y[]; };

void main() {
    uint c = gl_GlobalInvocationID.x, square = n * n;
    if (c >= n) return;
    for (uint i = 0; i < n; i++) {
        float sum = i == c ? 1.0 : 0.0;
        for (uint k = 0; k < i; k++) sum = fma(-l[i * n + k], y[k * n + c], sum); // y is 0 above the diagonal
        float v = i < c ? 0.0 : sum / l[i * n + i];
        y[i * n + c] = v;
        y[square + i * n + c] = -v;
        y[2 * square + c * n + i] = -v;
    }
}
