#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/half.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// y[n] = f16(w[n,k] · 2^s), then 2^−s and nothing more in 16 bytes: what linear_coopmat.comp makes of weights that are no f16.
//
// w [columns, depth] weight dtype · y [columns, depth/8 + 1] uvec4; depth a multiple of 8. s as in tohalf.comp.
// With PARTS y is [columns, 2·depth/8 + 1]: behind each row what f16 loses of it, in f16.
// An element of bf16, of 8 bits, loses nothing unless it is less than 2^-31 of the largest of its row. One workgroup a row; no subgroup
// operations. 2·depth/8/WORKGROUP iterations: below lavapipe 22.3's 65,535 for depth ≤ 600,000 where WORKGROUP is 8.

layout(constant_id = 1) const uint PARTS = 0;
layout(push_constant) uniform Push { uint depth; };
layout(binding = 0) readonly  buffer W { words4 w[]; };
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };

void main() {
    uint lane = gl_LocalInvocationID.x, eighths = depth / 8, from = gl_WorkGroupID.x * (depth / 4), end = (PARTS != 0 ? 2 : 1) * eighths, to = gl_WorkGroupID.x * (end + 1);
    float largest = 0.0;
    for (uint k = lane; k < eighths; k += WORKGROUP) {
        vec4 v = max(abs(unpack4(w[from + 2 * k])), abs(unpack4(w[from + 2 * k + 1])));
        largest = max(max(max(largest, v.x), max(v.y, v.z)), v.w);
    }
    int s = half_exponent(workgroup_max(largest));
    float scale = power_of_two(s);
    for (uint k = lane; k < eighths; k += WORKGROUP) {
        vec4 a = unpack4(w[from + 2 * k]) * scale, b = unpack4(w[from + 2 * k + 1]) * scale;
        y[to + k] = uvec4(half_pair(a.x, a.y), half_pair(a.z, a.w), half_pair(b.x, b.y), half_pair(b.z, b.w));
        if (PARTS == 0) continue;
        a = half_rest(a);
        b = half_rest(b);
        y[to + eighths + k] = uvec4(half_pair(a.x, a.y), half_pair(a.z, a.w), half_pair(b.x, b.y), half_pair(b.z, b.w));
    }
    if (lane == 0) y[to + end] = uvec4(floatBitsToUint(power_of_two(-s)), 0, 0, 0);
}
