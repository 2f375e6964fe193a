#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// control[1] = √Σ partial[b], the norm of the gradients · control[2] = min(1, clip/norm), 1 where clip is 0 · control[3] = 0
// where the norm or the loss, control[0], is not finite: control[2] = 0, control[3] = 1
// where all gradients are 0:                             control[2] = 0, control[3] = 2
//
// partial [n] f32 · control [4 and more] f32
// One workgroup. n/WORKGROUP iterations: below lavapipe's 65,535 for n ≤ 4 million, 4·10^9 gradients.

layout(push_constant) uniform Push { uint n; float clip; };
layout(binding = 0) readonly buffer Partial { float partial[]; };
layout(binding = 1) buffer Control { float control[]; };

// By the bits: compilers may assume that there is no NaN.
bool finite(float v) { return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u; }

void main() {
    float squares = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n; i += WORKGROUP)
        squares += partial[i];
    squares = workgroup_sum(squares);
    if (gl_LocalInvocationID.x != 0) return;
    float norm = finite(squares) ? sqrt(squares) : squares, factor = 1.0, skip = 0.0;
    if (clip > 0.0 && norm > clip) factor = clip / norm;
    if (squares == 0.0) skip = 2.0;
    if (!finite(squares) || !finite(control[0])) skip = 1.0;
    control[1] = norm;
    control[2] = skip == 0.0 ? factor : 0.0;
    control[3] = skip;
}
