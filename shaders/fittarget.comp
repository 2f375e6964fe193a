#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// e[t,i] = (y[t,i] − out[t,i]) · scale,   w[t] = 1/‖y_t‖², 0 where ‖y_t‖ is 0
//
// With NORMED, where out = r + (g + PLUS_ONE)·z/rms(z): e[t,i] = (y[t,i] − out[t,i]) · scale · rms(z_t)/(g[i] + PLUS_ONE), 0 where
// that divisor is 0, and w[t] = 1/(‖y_t‖ rms(z_t))², with rms(z) = sqrt(mean_i z[i]² + eps).
//
// out, y, z [rows, hidden] f32 · g [hidden] weight dtype · e [rows, hidden] f32, may be out · w [all rows] f32, from element `first` on
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations. 3·hidden/WORKGROUP iterations.

layout(constant_id = 1) const uint NORMED = 0;
layout(constant_id = 2) const uint PLUS_ONE = 0;
layout(push_constant) uniform Push { uint hidden; uint first; float scale; float eps; };
layout(binding = 0) readonly  buffer Out { float out_[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 2) readonly  buffer Z { float z[]; };
layout(binding = 3) readonly  buffer G { uint g[]; };
layout(binding = 4) writeonly buffer E { float e[]; };
layout(binding = 5) writeonly buffer W { float w[]; };

void main() {
    uint row = gl_WorkGroupID.x * hidden, lane = gl_LocalInvocationID.x;
    float rms = 1.0;
    if (NORMED != 0) {
        float squares = 0.0;
        for (uint i = lane; i < hidden; i += WORKGROUP) squares = fma(z[row + i], z[row + i], squares);
        rms = sqrt(workgroup_sum(squares) / float(hidden) + eps);
    }
    float squares = 0.0;
    for (uint i = lane; i < hidden; i += WORKGROUP) {
        float wanted = y[row + i], difference = (wanted - out_[row + i]) * scale;
        squares = fma(wanted, wanted, squares);
        if (NORMED != 0) {
            float by = load_weight(g, i) + float(PLUS_ONE);
            difference = by == 0.0 ? 0.0 : difference * (rms / by);
        }
        e[row + i] = difference;
    }
    squares = workgroup_sum(squares) * (rms * rms);
    if (lane == 0) w[first + gl_WorkGroupID.x] = squares > 0.0 ? 1.0 / squares : 0.0;
}
