#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"
#include "common/softmax.glsl"

// loss[t] = scale · (log Σ_j exp(logits[t,j]) − logits[t, target]),   grad[t,j] = scale · (softmax(logits[t])_j − [j = target])
//
// logits [rows, cols] f32 · targets [all rows] u32, all ones where unscored: loss and gradient are 0 there · loss [all rows] f32; both
// from element `first` on · grad [rows, cols] f32, may be logits; with GRAD 0 it is not touched
// A target beyond cols has no probability. One workgroup a row; f32 accumulation; any cols; no subgroup operations.
//
// With TEXELS, for drivers that run on the CPU: cols a multiple of 16, one invocation a row. 2·cols/16 iterations, else
// 3·cols/4/WORKGROUP: model/op/mse.go keeps them below lavapipe's 65,535.

layout(constant_id = 1) const uint GRAD = 1;
layout(push_constant) uniform Push { uint cols; uint first; uint rows; float scale; };
layout(binding = 1) readonly  buffer Targets { uint targets[]; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };

const uint UNSCORED = 0xffffffffu;
const uint MINUS_INFINITY = 0xff800000u;

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer logits;
layout(binding = 3) writeonly buffer Grad { vec4 grad[]; };

#define QUAD(i) uintBitsToFloat(imageLoad(logits, int(i)))

void main() {
    uint row = gl_GlobalInvocationID.x;
    if (row >= rows) return;
    uint begin = row * (cols / 4), end = begin + cols / 4, target = targets[first + row];
    bool scored = target != UNSCORED;
    Softmax s = softmax_start();
    for (uint i = begin; i < end; i += 4)
        softmax_fold(s, 1.0, QUAD(i), QUAD(i + 1), QUAD(i + 2), QUAD(i + 3));
    float logit = target < cols ? QUAD(begin + target / 4)[target % 4] : uintBitsToFloat(MINUS_INFINITY);
    loss[first + row] = scored ? scale * (log(s.sum) + (s.top - logit)) : 0.0;
    if (GRAD == 0) return;
    float inverse = 1.0 / s.sum;
    uvec4 column = uvec4(0, 1, 2, 3);
    for (uint i = begin; i < end; i += 4)
        [[unroll]] for (uint j = 0; j < 4; j++) {
            vec4 g = scale * (exp(QUAD(i + j) - s.top) * inverse - vec4(equal(column, uvec4(target))));
            grad[i + j] = scored ? g : vec4(0.0);
            column += 4;
        }
}
#else
layout(constant_id = 2) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(binding = 0) readonly  buffer Logits { float logits[]; };
layout(binding = 0) readonly  buffer Logits4 { vec4 logits4[]; };
layout(binding = 3) writeonly buffer Grad { float grad[]; };
layout(binding = 3) writeonly buffer Grad4 { vec4 grad4[]; };
#include "common/fours.glsl"

void main() {
    const float LOW = uintBitsToFloat(MINUS_INFINITY);
    uint row = gl_WorkGroupID.x, begin = row * cols, target = targets[first + row];
    bool scored = target != UNSCORED;
    vec4 tops = vec4(softmax_start().top), sums = vec4(0.0);
    for (uint j = 4 * gl_LocalInvocationID.x; j < cols; j += 4 * WORKGROUP)
        tops = max(tops, FOUR(logits, begin + j, cols - j, LOW));
    float top = workgroup_max(max_of(tops));
    for (uint j = 4 * gl_LocalInvocationID.x; j < cols; j += 4 * WORKGROUP)
        sums += exp(FOUR(logits, begin + j, cols - j, LOW) - top);
    float sum = workgroup_sum(sum_of(sums));
    if (gl_LocalInvocationID.x == 0) {
        float logit = target < cols ? logits[begin + target] : LOW;
        loss[first + row] = scored ? scale * (log(sum) + (top - logit)) : 0.0;
    }
    if (GRAD == 0) return;
    memoryBarrierBuffer(); // grad may be the logits, of which invocation 0 reads another's
    barrier();
    float inverse = 1.0 / sum;
    for (uint j = 4 * gl_LocalInvocationID.x; j < cols; j += 4 * WORKGROUP) {
        uint left = cols - j;
        vec4 g = scale * (exp(FOUR(logits, begin + j, left, LOW) - top) * inverse - vec4(equal(uvec4(j, j + 1, j + 2, j + 3), uvec4(target))));
        if (!scored) g = vec4(0.0);
        STORE_FOUR(grad, begin + j, left, g)
    }
}
#endif
