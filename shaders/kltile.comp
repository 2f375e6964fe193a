#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"
#include "common/divergence.glsl"

// Folds a tile of two models' logits, those of vocabulary rows [first, first+cols), into what is known of each token: both running
// softmaxes as in crossentropytile.comp, and the divergence of q = softmax(model) from p = softmax(base) over the vocabulary so far,
// each taken to sum to 1 there. With P, Q the parts of p and q in the tile, and P', Q' in the vocabulary before it, the chain rule
//   KL'' = P·KL_tile + P'·KL' + P·log(P/Q) + P'·log(P'/Q')                   Cover & Thomas 2006, section 2.5
// adds what is never negative: the terms are those of common/divergence.glsl, in a tile and between the two parts.
//
// base, model [tokens, cols] f32, finite · targets [all tokens] u32 · first = 0 starts the state anew
// state [all tokens, 9] 32-bit words = of base: max, sum, target's logit, index of the first of the largest; the same of model; KL
// The logits' tokens are those from `token` on. One workgroup a token; f32 accumulation; cols up to 2^24; no subgroup operations.
// Both models' values come from the same operations and δ is not contracted: logits of the same bits give 0 exactly.
// 3·cols/4/WORKGROUP iterations: model/op/kltile.go keeps them below lavapipe's 65,535.

layout(constant_id = 1) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(push_constant) uniform Push { uint cols; uint first; uint token; };
layout(binding = 0) readonly buffer Base { float base[]; };
layout(binding = 0) readonly buffer Base4 { vec4 base4[]; };
layout(binding = 1) readonly buffer Model { float model[]; };
layout(binding = 1) readonly buffer Model4 { vec4 model4[]; };
layout(binding = 2) readonly buffer Targets { uint targets[]; };
layout(binding = 3) buffer State { uint state[]; };
#include "common/fours.glsl"

// A softmax over part of the vocabulary.
struct Part { float top; float sum; };

Part load(uint at) { return Part(uintBitsToFloat(state[at]), uintBitsToFloat(state[at + 1])); }

Part join(Part a, Part b) {
    float top = max(a.top, b.top);
    return Part(top, a.sum * exp(a.top - top) + b.sum * exp(b.top - top));
}

// What part p of p_all and part q of q_all add: P·kl + P·log(P/Q), and Q − P.
float add_part(Part p, Part p_all, Part q, Part q_all, float kl) {
    float a = p.sum * exp(p.top - p_all.top) / p_all.sum, b = q.sum * exp(q.top - q_all.top) / q_all.sum;
    precise float d = ((q.top - p.top) - (q_all.top - p_all.top)) + (log_ratio(q.sum, p.sum) - log_ratio(q_all.sum, p_all.sum));
    return a * kl + divergence_term(a, b, d);
}

// Stores a model's part of the state. index is that of the tile's largest logit.
void store(uint at, Part all, bool larger, uint index, uint target, float target_logit) {
    if (larger) state[at + 3] = first + index;
    if (target < cols) state[at + 2] = floatBitsToUint(target_logit);
    else if (first == 0) state[at + 2] = 0xff800000u; // −∞: a target beyond the vocabulary has no probability
    state[at] = floatBitsToUint(all.top);
    state[at + 1] = floatBitsToUint(all.sum);
}

void main() {
    uint row = gl_WorkGroupID.x * cols, t = token + gl_WorkGroupID.x, lane = gl_LocalInvocationID.x;
    float low = uintBitsToFloat(0xff800000u); // −∞
    Part p = Part(low, 0.0), q = Part(low, 0.0);
    vec4 p4 = vec4(low), q4 = vec4(low);
    for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP) {
        p4 = max(p4, FOUR(base, row + j, cols - j, low));
        q4 = max(q4, FOUR(model, row + j, cols - j, low));
    }
    p.top = workgroup_max(max_of(p4));
    q.top = workgroup_max(max_of(q4));
    vec4 p_at = vec4(-float(cols)), q_at = p_at; // negative: the largest is the first
    p4 = q4 = vec4(0.0);
    for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP) {
        precise vec4 u = FOUR(base, row + j, cols - j, low) - p.top, v = FOUR(model, row + j, cols - j, low) - q.top;
        vec4 at = -vec4(float(j), float(j + 1), float(j + 2), float(j + 3));
        p4 += exp(u);
        q4 += exp(v);
        p_at = mix(p_at, max(p_at, at), equal(u, vec4(0.0)));
        q_at = mix(q_at, max(q_at, at), equal(v, vec4(0.0)));
    }
    p.sum = workgroup_sum(sum_of(p4));
    q.sum = workgroup_sum(sum_of(q4));
    float p_index = workgroup_max(max_of(p_at)), q_index = workgroup_max(max_of(q_at));
    float shift = log_ratio(p.sum, q.sum);
    vec4 terms = vec4(0.0), difference;
    for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP) {
        vec4 u = FOUR(base, row + j, cols - j, p.top), v = FOUR(model, row + j, cols - j, q.top);
        precise vec4 d = ((v - u) - (q.top - p.top)) + shift, zp = u - p.top, zq = v - q.top;
        terms += divergence_term(exp(zp) / p.sum, exp(zq) / q.sum, d, difference) * THERE(cols - j);
    }
    float kl = workgroup_sum(sum_of(terms));
    if (lane != 0) return;
    uint at = 9 * t, target = targets[t] - first; // wraps where the tile is past it, or it is unscored
    Part p_all = p, q_all = q;
    bool p_larger = true, q_larger = true;
    if (first != 0) {
        Part p_old = load(at), q_old = load(at + 4);
        p_larger = p.top > p_old.top;
        q_larger = q.top > q_old.top;
        p_all = join(p_old, p);
        q_all = join(q_old, q);
        kl = add_part(p, p_all, q, q_all, kl) + add_part(p_old, p_all, q_old, q_all, uintBitsToFloat(state[at + 8]));
    }
    uint column = min(target, cols - 1);
    store(at, p_all, p_larger, uint(-p_index), target, base[row + column]);
    store(at + 4, q_all, q_larger, uint(-q_index), target, model[row + column]);
    state[at + 8] = floatBitsToUint(kl);
}
