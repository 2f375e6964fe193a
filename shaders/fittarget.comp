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
// One workgroup a row; f32 accumulation; any hidden; no subgroup operations. 3·hidden/4/WORKGROUP iterations.

layout(constant_id = 1) const uint NORMED = 0;
layout(constant_id = 2) const uint PLUS_ONE = 0;
layout(constant_id = 3) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(push_constant) uniform Push { uint hidden; uint first; float scale; float eps; };
layout(binding = 0) readonly  buffer Out { float out_[]; };
layout(binding = 0) readonly  buffer Out4 { vec4 out_4[]; };
layout(binding = 1) readonly  buffer Y { float y[]; };
layout(binding = 1) readonly  buffer Y4 { vec4 y4[]; };
layout(binding = 2) readonly  buffer Z { float z[]; };
layout(binding = 2) readonly  buffer Z4 { vec4 z4[]; };
layout(binding = 3) readonly  buffer G { uint g[]; };
layout(binding = 3) readonly  buffer G4 { words4 g4[]; };
layout(binding = 4) writeonly buffer E { float e[]; };
layout(binding = 4) writeonly buffer E4 { vec4 e4[]; };
layout(binding = 5) writeonly buffer W { float w[]; };
#include "common/fours.glsl"

void main() {
    uint row = gl_WorkGroupID.x * hidden, lane = gl_LocalInvocationID.x;
    float rms = 1.0;
    if (NORMED != 0) {
        vec4 squares = vec4(0.0);
        for (uint i = 4 * lane; i < hidden; i += 4 * WORKGROUP) {
            vec4 v = FOUR(z, row + i, hidden - i, 0.0);
            squares = fma(v, v, squares);
        }
        rms = sqrt(workgroup_sum(sum_of(squares)) / float(hidden) + eps);
    }
    vec4 squares = vec4(0.0);
    for (uint i = 4 * lane; i < hidden; i += 4 * WORKGROUP) {
        uint left = hidden - i;
        vec4 wanted = FOUR(y, row + i, left, 0.0), difference = (wanted - FOUR(out_, row + i, left, 0.0)) * scale;
        squares = fma(wanted, wanted, squares);
        if (NORMED != 0) {
            vec4 by = FOUR_WEIGHTS(g, i, left) + float(PLUS_ONE);
            bvec4 none = equal(by, vec4(0.0));
            difference = mix(difference * (rms / mix(by, vec4(1.0), none)), vec4(0.0), none);
        }
        STORE_FOUR(e, row + i, left, difference)
    }
    float all = workgroup_sum(sum_of(squares)) * (rms * rms);
    if (lane == 0) w[first + gl_WorkGroupID.x] = all > 0.0 ? 1.0 / all : 0.0;
}
