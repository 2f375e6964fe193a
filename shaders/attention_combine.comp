#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#define NO_CAP
#include "common/attention.glsl"

// o = Σ_run w_run · sums_run / Σ_run w_run · sum_run, w_run = exp2(top_run − max top): the runs of attention_decode.comp put together
//
// x [windows·kv_heads·rows·blocks] of d sums, padded to 4, the largest logit, the sum of the weights and 2 more, f32 · o as in
// attention.comp
// One workgroup a row (x) of a KV head (y) of a window (z), an invocation a vec4 of it; the runs in order. 2·blocks iterations: 2,048
// for 131,072 keys. A run of which the row sees nothing has no weight.

layout(binding = 0) readonly  buffer X  { vec4  x[]; };
layout(binding = 1) writeonly buffer O4 { vec4  o4[]; };
layout(binding = 1) writeonly buffer O  { float o[]; };

void main() {
    uint c = gl_LocalInvocationID.x, rows = queries * group, row = gl_WorkGroupID.x, kv_head = gl_WorkGroupID.y;
    if (c >= DIMS) return;
    uint part = ((gl_WorkGroupID.z * kv_heads + kv_head) * rows + row) * blocks * (DIMS + 1);
    float top = MASKED, sum = 0.0;
    for (uint n = 0; n < blocks; n++) top = max(top, x[part + n * (DIMS + 1) + DIMS].x);
    vec4 total = vec4(0.0);
    for (uint n = 0; n < blocks; n++) {
        uint at = part + n * (DIMS + 1);
        float weight = x[at + DIMS].x == top ? 1.0 : exp2(x[at + DIMS].x - top);
        total += weight * x[at + c];
        sum += weight * x[at + DIMS].y;
    }
    total /= sum;
    uint at = ((skip_q + gl_WorkGroupID.z * queries + row / group) * kv_heads * group + kv_head * group + row % group) * HEAD_DIM;
    STORE(o, at, c, total)
}
