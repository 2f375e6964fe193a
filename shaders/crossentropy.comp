#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// loss[t] = log(sum[t]) + max[t] − target[t], the cross-entropy in nats that crossentropytile.comp has gathered; 0 where unscored
//
// state [tokens, 3] f32 = max, sum, target · targets [tokens] u32, all ones where unscored · loss [tokens] f32
// One invocation a token.

layout(push_constant) uniform Push { uint tokens; };
layout(binding = 0) readonly  buffer State { float state[]; };
layout(binding = 1) readonly  buffer Targets { uint targets[]; };
layout(binding = 2) writeonly buffer Loss { float loss[]; };

void main() {
    uint t = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (t >= tokens) return;
    loss[t] = targets[t] == 0xffffffffu ? 0.0 : log(state[3 * t + 1]) + (state[3 * t] - state[3 * t + 2]);
}
