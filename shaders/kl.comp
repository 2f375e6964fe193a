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
// 3·cols/WORKGROUP: model/op/mse.go keeps them below lavapipe's 65,535.

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
REAL divergence(REAL u, REAL v, out REAL difference) {
    precise REAL d = ((v - u) - (q.top - p.top)) * inverse_tau + shift;
    REAL a = exp((u - p.top) * inverse_tau) * inverse_p, b = exp((v - q.top) * inverse_tau) * inverse_q;
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
layout(binding = 0) readonly  buffer Yhat { float yhat[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };
layout(binding = 3) writeonly buffer Grad { float grad[]; };

void main() {
    uint row = gl_WorkGroupID.x, begin = row * cols + gl_LocalInvocationID.x, end = (row + 1) * cols;
    p = softmax_start();
    q = softmax_start();
    for (uint i = begin; i < end; i += WORKGROUP) {
        p.top = max(p.top, y[i]);
        q.top = max(q.top, yhat[i]);
    }
    p.top = workgroup_max(p.top);
    q.top = workgroup_max(q.top);
    for (uint i = begin; i < end; i += WORKGROUP) {
        precise float zp = (y[i] - p.top) * inverse_tau, zq = (yhat[i] - q.top) * inverse_tau;
        p.sum += exp(zp);
        q.sum += exp(zq);
    }
    p.sum = workgroup_sum(p.sum);
    q.sum = workgroup_sum(q.sum);
    normalize();
    float sum = 0.0;
    for (uint i = begin; i < end; i += WORKGROUP) {
        float difference;
        sum += divergence(y[i], yhat[i], difference);
        if (GRAD != 0) grad[i] = grad_scale * difference;
    }
    sum = workgroup_sum(sum);
    if (gl_LocalInvocationID.x == 0) loss[first + row] = loss_scale * sum;
}
#endif
