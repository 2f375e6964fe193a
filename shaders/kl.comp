#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"
#include "common/softmax.glsl"
#include "common/divergence.glsl"

// p = softmax(y[t]/τ), q = softmax(ŷ[t]/τ):   loss[t] = loss_scale · Σ_i p_i·log(p_i/q_i),   grad[t,i] = grad_scale · (q_i − p_i)
//
// ŷ, y [rows, cols] f32, finite · loss [all rows] f32, from element `first` on · grad [rows, cols] f32, may be ŷ; with GRAD 0 it is not
// touched. One workgroup a row; f32 accumulation; any cols; no subgroup operations.
//
// The terms are those of common/divergence.glsl. The sums of p and of q come from the same operations and δ is not contracted, so that
// rows of the same bits give 0 exactly.
//
// With TEXELS, for drivers that run on the CPU: cols a multiple of 16, one invocation a row. 2·cols/16 iterations, else
// 3·cols/4/WORKGROUP: model/op/mse.go keeps them below lavapipe's 65,535.

layout(constant_id = 1) const uint GRAD = 1;
layout(push_constant) uniform Push { uint cols; uint first; uint rows; float inverse_tau; float loss_scale; float grad_scale; };

Softmax p, q;
float inverse_p, inverse_q, shift; // 1/Σ, and log(Σ_p/Σ_q)

void normalize() {
    inverse_p = 1.0 / p.sum;
    inverse_q = 1.0 / q.sum;
    shift = log_ratio(p.sum, q.sum);
}

// Of an element of y and of ŷ: the term of the divergence, and q − p. δ comes from v − u, which is exact where they are close.
vec4 divergence(vec4 u, vec4 v, out vec4 difference) {
    precise vec4 d = ((v - u) - (q.top - p.top)) * inverse_tau + shift;
    vec4 a = exp((u - p.top) * inverse_tau) * inverse_p, b = exp((v - q.top) * inverse_tau) * inverse_q;
    return divergence_term(a, b, d, difference);
}

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer yhat;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer y;
layout(binding = 2) writeonly buffer Loss { float loss[]; };
layout(binding = 3) writeonly buffer Grad { vec4 grad[]; };

#define QUAD(x, i) uintBitsToFloat(imageLoad(x, int(i)))
#define FOLD(s, x, i) softmax_fold(s, inverse_tau, QUAD(x, i), QUAD(x, i + 1), QUAD(x, i + 2), QUAD(x, i + 3))

void main() {
    uint row = gl_GlobalInvocationID.x;
    if (row >= rows) return;
    uint begin = row * (cols / 4), end = begin + cols / 4;
    p = softmax_start();
    q = softmax_start();
    for (uint i = begin; i < end; i += 4) {
        FOLD(p, y, i);
        FOLD(q, yhat, i);
    }
    normalize();
    vec4 sum = vec4(0.0);
    for (uint i = begin; i < end; i += 4)
        [[unroll]] for (uint j = 0; j < 4; j++) {
            vec4 difference;
            sum += divergence(QUAD(y, i + j), QUAD(yhat, i + j), difference);
            if (GRAD != 0) grad[i + j] = grad_scale * difference;
        }
    loss[first + row] = loss_scale * dot(sum, vec4(1.0));
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
    uint row = gl_WorkGroupID.x, begin = row * cols, lane = gl_LocalInvocationID.x;
    p = softmax_start();
    q = softmax_start();
    float low = p.top;
    vec4 p4 = vec4(low), q4 = vec4(low);
    for (uint i = 4 * lane; i < cols; i += 4 * WORKGROUP) {
        p4 = max(p4, FOUR(y, begin + i, cols - i, low));
        q4 = max(q4, FOUR(yhat, begin + i, cols - i, low));
    }
    p.top = workgroup_max(max_of(p4));
    q.top = workgroup_max(max_of(q4));
    p4 = q4 = vec4(0.0);
    for (uint i = 4 * lane; i < cols; i += 4 * WORKGROUP) {
        vec4 there = THERE(cols - i);
        precise vec4 zp = (FOUR(y, begin + i, cols - i, p.top) - p.top) * inverse_tau, zq = (FOUR(yhat, begin + i, cols - i, q.top) - q.top) * inverse_tau;
        p4 += exp(zp) * there;
        q4 += exp(zq) * there;
    }
    p.sum = workgroup_sum(sum_of(p4));
    q.sum = workgroup_sum(sum_of(q4));
    normalize();
    vec4 sums = vec4(0.0);
    for (uint i = 4 * lane; i < cols; i += 4 * WORKGROUP) {
        uint left = cols - i;
        vec4 difference;
        sums += divergence(FOUR(y, begin + i, left, p.top), FOUR(yhat, begin + i, left, q.top), difference) * THERE(left);
        if (GRAD != 0) STORE_FOUR(grad, begin + i, left, grad_scale * difference)
    }
    float sum = workgroup_sum(sum_of(sums));
    if (lane == 0) loss[first + row] = loss_scale * sum;
}
#endif
