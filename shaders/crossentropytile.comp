#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// Folds a tile of logits, those of vocabulary rows [first, first+cols), into each token's running softmax:
//   max'    = max(max, max_j logits[t,j])
//   sum'    = sum · exp(max − max') + Σ_j exp(logits[t,j] − max')          Milakov & Gimelshein 2018, arXiv 1805.02867
//   target' = logits[t, targets[t] − first] where the tile has it
//
// logits [tokens, cols] f32 · targets [all tokens] u32 · state [all tokens, 3] f32 = max, sum, target; first = 0 starts it anew
// The logits' tokens are those from `token` on. One workgroup a token; f32 accumulation; no subgroup operations.
// cols/2/WORKGROUP iterations: far from lavapipe's 65,535 for any vocabulary.

layout(constant_id = 1) const uint BY_FOUR = 0; // cols is a multiple of 4
layout(push_constant) uniform Push { uint cols; uint first; uint token; };
layout(binding = 0) readonly buffer Logits { float logits[]; };
layout(binding = 0) readonly buffer Logits4 { vec4 logits4[]; };
layout(binding = 1) readonly buffer Targets { uint targets[]; };
layout(binding = 2) buffer State { float state[]; };
#include "common/fours.glsl"

void main() {
    const float LOW = uintBitsToFloat(0xff800000u); // −∞
    uint row = gl_WorkGroupID.x * cols, t = token + gl_WorkGroupID.x, lane = gl_LocalInvocationID.x;
    bool anew = first == 0;
    vec4 tops = vec4(LOW);
    for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP)
        tops = max(tops, FOUR(logits, row + j, cols - j, LOW));
    float best = workgroup_max(max_of(tops));
    if (!anew) best = max(best, state[3 * t]);
    vec4 sums = vec4(0.0);
    for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP)
        sums += exp(FOUR(logits, row + j, cols - j, LOW) - best);
    float sum = workgroup_sum(sum_of(sums));
    if (lane != 0) return;
    if (!anew) sum += state[3 * t + 1] * exp(state[3 * t] - best);
    uint target = targets[t] - first; // wraps where the tile is past it, or it is unscored
    if (target < cols) state[3 * t + 2] = logits[row + target];
    else if (anew) state[3 * t + 2] = LOW; // a target beyond the vocabulary has no probability
    state[3 * t] = best;
    state[3 * t + 1] = sum;
}
