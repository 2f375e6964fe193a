#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// loss[t] = scale · l,  l = 1 − cos(x[t], y[t]),   grad[t] = ∂loss[t]/∂x[t] = scale · (cos · x̂ − ŷ)/|x| = scale · ((x̂ − ŷ) − l·x̂)/|x|
//
// x, y [rows, cols] f32 · loss [all rows] f32, from element `first` on · grad [rows, cols] f32, may be x; with GRAD 0 it is not touched
// Rows of zeros, or not finite, give 0. One workgroup a row, with TEXELS one invocation; f32 accumulation; no subgroup operations.
// Precision: common/cosine.glsl. 3·cols/WORKGROUP iterations, with TEXELS 3·cols/4: model/op/mse.go keeps them below lavapipe's 65,535.

layout(constant_id = 1) const uint GRAD = 1;
layout(push_constant) uniform Push { uint cols; uint first; uint rows; float scale; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 3) writeonly buffer Grad { vec4 grad[]; };
#include "common/cosine.glsl"
#define INDEX(i) int(i)
#define BEGIN 0
#define STEP 1
#define ELEMENTS (cols / 4)
#define ZERO vec4(0.0)
#define X(i) quad_of(imageLoad(x, INDEX(i)))
#else
layout(binding = 0) readonly  buffer Xs { float x[]; };
layout(binding = 1) readonly  buffer Ys { float y[]; };
layout(binding = 3) writeonly buffer Grad { float grad[]; };
#include "common/cosine.glsl"
#define INDEX(i) i
#define BEGIN gl_LocalInvocationID.x
#define STEP WORKGROUP
#define ELEMENTS cols
#define ZERO 0.0
#define X(i) x[i]
#endif

void main() {
    uint row = ROW;
    if (row >= rows) return;
    float a, b, l = half_chord_squared(row, cols, a, b);
    bool angle = l >= 0.0;
    if (WRITES) loss[first + row] = angle ? scale * l : 0.0;
    if (GRAD == 0) return;
    uint end = (row + 1) * ELEMENTS;
    for (uint i = row * ELEMENTS + BEGIN; i < end; i += STEP)
        grad[i] = angle ? scale * a * (chord(INDEX(i), a, b) - l * (X(i) * a)) : ZERO;
}
