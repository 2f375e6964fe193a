#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// loss[t] = scale · Σ_i (ŷ[t,i] − y[t,i])²,   grad[t,i] = 2·scale·(ŷ[t,i] − y[t,i])
//
// ŷ, y [rows, cols] f32 · loss [all rows] f32, from element `first` on · grad [rows, cols] f32, may be ŷ; with GRAD 0 it is not touched
// One workgroup a row; f32 accumulation; any cols; no subgroup operations. cols/4/WORKGROUP iterations.
//
// With TEXELS, for drivers that run on the CPU: cols a multiple of 4, one invocation a row. cols/4 iterations.
// lavapipe 22.3 stops at 65,535 iterations: model/op/mse.go keeps cols below.

layout(constant_id = 1) const uint GRAD = 1;
layout(push_constant) uniform Push { uint cols; uint first; uint rows; float scale; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer yhat;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 2) writeonly buffer Loss { float loss[]; };
layout(binding = 3) writeonly buffer Grad { vec4 grad[]; };

void main() {
    uint row = gl_GlobalInvocationID.x, quads = cols / 4;
    if (row >= rows) return;
    vec4 squares = vec4(0.0);
    for (uint i = row * quads; i < (row + 1) * quads; i++) {
        vec4 d = uintBitsToFloat(imageLoad(yhat, int(i))) - uintBitsToFloat(imageLoad(y, int(i)));
        squares = fma(d, d, squares);
        if (GRAD != 0) grad[i] = 2.0 * scale * d;
    }
    loss[first + row] = scale * dot(squares, vec4(1.0));
}
#else
layout(constant_id = 2) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(binding = 0) readonly  buffer Yhat { float yhat[]; };
layout(binding = 0) readonly  buffer Yhat4 { vec4 yhat4[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 1) readonly  buffer Y4 { vec4 y4[]; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };
layout(binding = 3) writeonly buffer Grad { float grad[]; };
layout(binding = 3) writeonly buffer Grad4 { vec4 grad4[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * cols;
    vec4 squares = vec4(0.0);
    for (uint i = 4 * gl_LocalInvocationID.x; i < cols; i += 4 * WORKGROUP) {
        uint left = cols - i;
        vec4 d = FOUR(yhat, row + i, left, 0.0) - FOUR(y, row + i, left, 0.0);
        squares = fma(d, d, squares);
        if (GRAD != 0) STORE_FOUR(grad, row + i, left, 2.0 * scale * d)
    }
    float sum = workgroup_sum(sum_of(squares));
    if (gl_LocalInvocationID.x == 0) loss[first + gl_WorkGroupID.x] = scale * sum;
}
#endif
