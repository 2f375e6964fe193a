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
// 2·cols/WORKGROUP iterations: far from lavapipe's 65,535 for any vocabulary.

layout(push_constant) uniform Push { uint cols; uint first; uint token; };
layout(binding = 0) readonly buffer Logits { float logits[]; };
layout(binding = 1) readonly buffer Targets { uint targets[]; };
layout(binding = 2) buffer State { float state[]; };

void main() {
    uint row = gl_WorkGroupID.x * cols, t = token + gl_WorkGroupID.x;
    bool anew = first == 0;
    float best = uintBitsToFloat(0xff800000u); // −∞
    for (uint j = gl_LocalInvocationID.x; j < cols; j += WORKGROUP)
        best = max(best, logits[row + j]);
    best = workgroup_max(best);
    if (!anew) best = max(best, state[3 * t]);
    float sum = 0.0;
    for (uint j = gl_LocalInvocationID.x; j < cols; j += WORKGROUP)
        sum += exp(logits[row + j] - best);
    sum = workgroup_sum(sum);
    if (gl_LocalInvocationID.x != 0) return;
    if (!anew) sum += state[3 * t + 1] * exp(state[3 * t] - best);
    uint target = targets[t] - first; // wraps where the tile is past it, or it is unscored
    if (target < cols) state[3 * t + 2] = logits[row + target];
    else if (anew) state[3 * t + 2] = uintBitsToFloat(0xff800000u); // a target beyond the vocabulary has no probability
    state[3 * t] = best;
    state[3 * t + 1] = sum;
}
