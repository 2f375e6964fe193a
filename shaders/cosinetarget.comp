#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// e[t,i] = (c·y[t,i] − out[t,i]) · scale,   w[t] = k/‖out_t‖²,   with k = max(cos(out_t, y_t), LEAST), c = ‖out_t‖/(‖y_t‖ k);
// both 0 where ‖out_t‖ or ‖y_t‖ is 0
//
// out, y [rows, hidden] f32 · e [rows, hidden] f32, may be out · w [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations. 2·hidden/WORKGROUP iterations.

const float LEAST = 0.1;

layout(push_constant) uniform Push { uint hidden; uint first; float scale; };
layout(binding = 0) readonly  buffer Out { float out_[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 2) writeonly buffer E { float e[]; };
layout(binding = 3) writeonly buffer W { float w[]; };

void main() {
    uint row = gl_WorkGroupID.x * hidden, lane = gl_LocalInvocationID.x;
    float given = 0.0, wanted = 0.0, both = 0.0;
    for (uint i = lane; i < hidden; i += WORKGROUP) {
        float a = out_[row + i], b = y[row + i];
        given = fma(a, a, given);
        wanted = fma(b, b, wanted);
        both = fma(a, b, both);
    }
    given = workgroup_sum(given);
    wanted = workgroup_sum(wanted);
    both = workgroup_sum(both);
    bool some = given > 0.0 && wanted > 0.0;
    float lengths = some ? sqrt(given) * sqrt(wanted) : 1.0;
    float k = max(both / lengths, LEAST), c = given / (lengths * k);
    for (uint i = lane; i < hidden; i += WORKGROUP) e[row + i] = some ? (c * y[row + i] - out_[row + i]) * scale : 0.0;
    if (lane == 0) w[first + gl_WorkGroupID.x] = some ? k / given : 0.0;
}
