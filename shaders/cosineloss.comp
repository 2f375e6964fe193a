#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// loss[t] = scale · l,  l = 1 − cos(x[t], y[t]),   grad[t] = ∂loss[t]/∂x[t] = scale · (cos · x̂ − ŷ)/|x| = scale · ((x̂ − ŷ) − l·x̂)/|x|
//
// x, y [rows, cols] f32 · loss [all rows] f32, from element `first` on · grad [rows, cols] f32, may be x; with GRAD 0 it is not touched
// Rows of zeros, or not finite, give 0. One workgroup a row, with TEXELS one invocation; f32 accumulation; no subgroup operations.
// Precision: common/cosine.glsl. 3·cols/4/WORKGROUP iterations, with TEXELS 3·cols/4: model/op/mse.go keeps them below lavapipe's 65,535.

layout(constant_id = 1) const uint GRAD = 1;
layout(push_constant) uniform Push { uint cols; uint first; uint rows; float scale; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 3) writeonly buffer Grad { vec4 grad[]; };
#include "common/cosine.glsl"
#else
layout(constant_id = 2) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(binding = 0) readonly  buffer Xs { float x[]; };
layout(binding = 0) readonly  buffer Xs4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer Ys { float y[]; };
layout(binding = 1) readonly  buffer Ys4 { vec4 y4[]; };
layout(binding = 3) writeonly buffer Grad { float grad[]; };
layout(binding = 3) writeonly buffer Grad4 { vec4 grad4[]; };
#include "common/cosine.glsl"
#endif

void main() {
    uint row = ROW;
    if (row >= rows) return;
    float a, b, l = half_chord_squared(row, cols, a, b);
    bool angle = l >= 0.0;
    if (WRITES) loss[first + row] = angle ? scale * l : 0.0;
    if (GRAD == 0) return;
#if defined(TEXELS)
    for (uint i = row * (cols / 4); i < (row + 1) * (cols / 4); i++)
        grad[i] = angle ? scale * a * (chord(int(i), a, b) - l * (quad_of(imageLoad(x, int(i))) * a)) : vec4(0.0);
#else
    for (uint i = 4 * gl_LocalInvocationID.x; i < cols; i += 4 * WORKGROUP) {
        uint e = row * cols + i, left = cols - i;
        vec4 g = angle ? scale * a * (chord(e, left, a, b) - l * (FOUR(x, e, left, 0.0) * a)) : vec4(0.0);
        STORE_FOUR(grad, e, left, g)
    }
#endif
}
