#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// p = softmax(x[t]); choice[t] = the `chosen` experts of the largest p, in descending order, and of equal ones the lower first; share[t]
// their p, divided by their sum where DIVIDE. x[t] becomes share[t] at the experts chosen and 0 elsewhere.
//                                                            Shazeer et al. 2017, arXiv 1701.06538; Jiang et al. 2024, arXiv 2401.04088
// x [tokens, experts] f32 · choice [tokens, chosen] u32 · share [tokens, chosen] f32
// One workgroup a token; chosen ≤ 64; f32; no subgroup operations. Where a product is NaN, so are all shares of its token, and the experts
// are any.
// (2 + chosen)·experts/WORKGROUP iterations and 65 for each expert: below lavapipe's 65,535 for 1024 experts and WORKGROUP ≥ 8.

layout(constant_id = 1) const uint DIVIDE = 0;
layout(push_constant) uniform Push { uint experts; uint chosen; };
layout(binding = 0) buffer X { float x[]; };
layout(binding = 1) writeonly buffer Choice { uint choice[]; };
layout(binding = 2) writeonly buffer Share { float share[]; };

shared float best_value[256];
shared uint best_index[256];
shared float shares[64];
shared uint experts_chosen[64];

const uint NONE = 0xffffffffu;

// Whether a is to be chosen before b.
bool before(float a, uint i, float b, uint j) { return j == NONE || a > b || a == b && i < j; }

void main() {
    uint lane = gl_LocalInvocationID.x, row = gl_WorkGroupID.x * experts;
    float top = -3.4e38;
    for (uint i = lane; i < experts; i += WORKGROUP) top = max(top, x[row + i]);
    top = workgroup_max(top);
    float sum = 0.0;
    for (uint i = lane; i < experts; i += WORKGROUP) sum += exp(x[row + i] - top);
    sum = workgroup_sum(sum);

    float last_value = 0.0, total = 0.0;
    uint last_index = NONE;
    for (uint c = 0; c < chosen; c++) {
        float value = 0.0;
        uint index = NONE;
        for (uint i = lane; i < experts; i += WORKGROUP) {
            float v = x[row + i];
            bool left = last_index == NONE || v < last_value || v == last_value && i > last_index;
            if (left && before(v, i, value, index)) {
                value = v;
                index = i;
            }
        }
        best_value[lane] = value;
        best_index[lane] = index;
        barrier();
        for (uint half_size = WORKGROUP >> 1; half_size > 0; half_size >>= 1) {
            uint other = lane + half_size;
            if (lane < half_size && best_index[other] != NONE && before(best_value[other], best_index[other], best_value[lane], best_index[lane])) {
                best_value[lane] = best_value[other];
                best_index[lane] = best_index[other];
            }
            barrier();
        }
        last_value = best_value[0];
        last_index = best_index[0];
        barrier();
        float p = exp(last_value - top) / sum;
        total += p;
        if (last_index == NONE) last_index = c; // products that are not numbers
        if (lane == 0) {
            shares[c] = p;
            experts_chosen[c] = last_index;
        }
    }
    barrier();
    for (uint i = lane; i < experts; i += WORKGROUP) {
        float v = sum - sum; // 0, or NaN
        for (uint c = 0; c < chosen; c++)
            if (experts_chosen[c] == i) v = DIVIDE != 0 ? shares[c] / total : shares[c];
        x[row + i] = v;
    }
    for (uint c = lane; c < chosen; c += WORKGROUP) {
        choice[gl_WorkGroupID.x * chosen + c] = experts_chosen[c];
        share[gl_WorkGroupID.x * chosen + c] = DIVIDE != 0 ? shares[c] / total : shares[c];
    }
}
