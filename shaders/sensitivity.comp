#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// s[k] (+)= scale · Σ_{c in group k} columns[c] · Σ_{i < rows} sums[i,c],   group k the channels [k·width, (k+1)·width)
//
// sums [.., groups·width] f32, from row `row` on · columns [groups·width] f32 · s [groups] f32
// SHARE invocations a group (a power of two that divides WORKGROUP, at most 64); f32 accumulation; no subgroup operations.

layout(constant_id = 1) const uint SHARE = 64;
layout(push_constant) uniform Push { uint groups; uint width; uint rows; uint row; float scale; uint more; };
layout(binding = 0) readonly buffer Sums { float sums[]; };
layout(binding = 1) readonly buffer Columns { float columns[]; };
layout(binding = 2) buffer S { float s[]; };

const uint LOADS = 4;
shared float part[64];

void main() {
    uint lane = gl_LocalInvocationID.x, member = lane % SHARE;
    uint k = gl_WorkGroupID.x * (WORKGROUP / SHARE) + lane / SHARE;
    uint channels = groups * width;
    float sum = 0.0;
    if (k < groups) {
        for (uint c = k * width + member; c < (k + 1) * width; c += SHARE) {
            float activity = 0.0;
            for (uint i = 0; i < rows; i += LOADS) { // some loads are on their way at a time: they are four bytes each
                float v[LOADS];
                [[unroll]] for (uint l = 0; l < LOADS; l++) v[l] = sums[(row + min(i + l, rows - 1)) * channels + c];
                [[unroll]] for (uint l = 0; l < LOADS; l++) activity += i + l < rows ? v[l] : 0.0;
            }
            sum += activity * columns[c];
        }
    }
    part[lane] = sum;
    for (uint size = SHARE >> 1; size > 0; size >>= 1) {
        barrier();
        if (member < size) part[lane] += part[lane + size];
    }
    if (k < groups && member == 0) s[k] = (more != 0 ? s[k] : 0.0) + part[lane] * scale;
}
