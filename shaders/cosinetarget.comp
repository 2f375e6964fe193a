#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// e[t,i] = (c·y[t,i] − out[t,i]) · scale,   w[t] = k/‖out_t‖²,   with k = max(cos(out_t, y_t), LEAST), c = ‖out_t‖/(‖y_t‖ k);
// both 0 where ‖out_t‖ or ‖y_t‖ is 0
//
// out, y [rows, hidden] f32 · e [rows, hidden] f32, may be out · w [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations. 2·hidden/4/WORKGROUP iterations.

const float LEAST = 0.1;

layout(constant_id = 1) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(push_constant) uniform Push { uint hidden; uint first; float scale; };
layout(binding = 0) readonly  buffer Out { float out_[]; };
layout(binding = 0) readonly  buffer Out4 { vec4 out_4[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 1) readonly  buffer Y4 { vec4 y4[]; };
layout(binding = 2) writeonly buffer E { float e[]; };
layout(binding = 2) writeonly buffer E4 { vec4 e4[]; };
layout(binding = 3) writeonly buffer W { float w[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * hidden, lane = gl_LocalInvocationID.x;
    vec4 aa = vec4(0.0), bb = vec4(0.0), ab = vec4(0.0);
    for (uint i = 4 * lane; i < hidden; i += 4 * WORKGROUP) {
        vec4 a = FOUR(out_, row + i, hidden - i, 0.0), b = FOUR(y, row + i, hidden - i, 0.0);
        aa = fma(a, a, aa);
        bb = fma(b, b, bb);
        ab = fma(a, b, ab);
    }
    float given = workgroup_sum(sum_of(aa)), wanted = workgroup_sum(sum_of(bb)), both = workgroup_sum(sum_of(ab));
    bool some = given > 0.0 && wanted > 0.0;
    float lengths = some ? sqrt(given) * sqrt(wanted) : 1.0;
    float k = max(both / lengths, LEAST), c = given / (lengths * k);
    for (uint i = 4 * lane; i < hidden; i += 4 * WORKGROUP) {
        uint left = hidden - i;
        vec4 error = some ? (c * FOUR(y, row + i, left, 0.0) - FOUR(out_, row + i, left, 0.0)) * scale : vec4(0.0);
        STORE_FOUR(e, row + i, left, error)
    }
    if (lane == 0) w[first + gl_WorkGroupID.x] = some ? k / given : 0.0;
}
