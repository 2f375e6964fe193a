#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// partial[first + b] = Σ g[i]² over block b of 1024 elements; gradnorm_total.comp adds the partials up
//
// g [count] f32 · partial f32
// One workgroup a block, WORKGROUP at most 256. The loads of an invocation are unrolled: lavapipe is slow at loads inside of loops.

layout(push_constant) uniform Push { uint count; uint first; };
layout(binding = 0) readonly  buffer G4 { vec4 g4[]; };
layout(binding = 0) readonly  buffer G { float g[]; };
layout(binding = 1) writeonly buffer Partial { float partial[]; };

const uint QUADS = 256; // of a block: gradBlock in model/op/gradnorm.go

void main() {
    uint begin = gl_WorkGroupID.x * QUADS + gl_LocalInvocationID.x;
    vec4 squares = vec4(0.0);
    [[unroll]] for (uint j = 0; j < QUADS; j += WORKGROUP) {
        uint i = begin + j;
        vec4 v = vec4(0.0);
        if (4 * i + 4 <= count) v = g4[i];
        else if (4 * i < count) {
            v.x = g[4 * i];
            if (4 * i + 1 < count) v.y = g[4 * i + 1];
            if (4 * i + 2 < count) v.z = g[4 * i + 2];
        }
        squares = fma(v, v, squares);
    }
    float sum = workgroup_sum(dot(squares, vec4(1.0)));
    if (gl_LocalInvocationID.x == 0) partial[first + gl_WorkGroupID.x] = sum;
}
