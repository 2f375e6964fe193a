#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/half.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[m,k] = f16(v[m,k] · 2^s), unscale[m] = 2^−s, where v is x, or with NORM its RMSNorm: x[m,k] · rsqrt(mean_k x[m,k]² + eps) · w[k], with
// NORM 2 · (w[k] + 1)
//
// x [rows, depth] f32 · w [depth] weight dtype · y [rows, depth] f16, rounded to nearest even · unscale [rows] f32; depth a multiple of 4
// With PARTS y is [rows, 2·depth]: behind each row what f16 loses of it, in f16, 22 bits of an element together.
// s is such that the largest |v| of a row is in [2^14, 2^15): none overflows, and what is less than 2^-28 of the largest loses bits.
// A row of zeros, or one that is not finite, has s = 0. One workgroup a row; f32 arithmetic; no subgroup operations.
// 3·depth/4/WORKGROUP iterations: below lavapipe 22.3's 65,535 for depth ≤ 600,000 where WORKGROUP is 8.

layout(constant_id = 1) const uint NORM = 0;
layout(constant_id = 2) const uint PARTS = 0;
layout(push_constant) uniform Push { uint depth; float eps; };
layout(binding = 0) readonly  buffer X { vec4 x[]; };
layout(binding = 1) readonly  buffer W { words4 w[]; };
layout(binding = 2) writeonly buffer Y { uvec2 y[]; };
layout(binding = 3) writeonly buffer Unscale { float unscale[]; };

float factor = 1.0;

vec4 value(uint row, uint k) {
    vec4 v = x[row + k];
    if (NORM != 0) v = v * factor * (unpack4(w[k]) + float(NORM - 1));
    return v;
}

void main() {
    uint lane = gl_LocalInvocationID.x, quads = depth / 4, row = gl_WorkGroupID.x * quads, to = PARTS != 0 ? 2 * row : row;
    if (NORM != 0) {
        float squares = 0.0;
        for (uint k = lane; k < quads; k += WORKGROUP) squares += dot(x[row + k], x[row + k]);
        factor = inversesqrt(workgroup_sum(squares) / float(depth) + eps);
    }
    float largest = 0.0;
    for (uint k = lane; k < quads; k += WORKGROUP) {
        vec4 v = abs(value(row, k));
        largest = max(max(max(largest, v.x), max(v.y, v.z)), v.w);
    }
    int s = half_exponent(workgroup_max(largest));
    float scale = power_of_two(s);
    for (uint k = lane; k < quads; k += WORKGROUP) {
        vec4 v = value(row, k) * scale;
        uvec2 high = uvec2(half_pair(v.x, v.y), half_pair(v.z, v.w));
        y[to + k] = high;
        if (PARTS == 0) continue;
        v = half_rest(v);
        y[to + quads + k] = uvec2(half_pair(v.x, v.y), half_pair(v.z, v.w));
    }
    if (lane == 0) unscale[gl_WorkGroupID.x] = power_of_two(-s);
}
