#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// More buffers than some devices bind, with elements of 4, 8 and 16 bytes: v = a[i] + b[i] + c[i], and + d[i] with WITH_D; total[i] += v; every second
// word of y is v, every fourth of z, of 16 bytes, is v four times: the others stay what they were. One invocation an element.

layout(constant_id = 1) const uint WITH_D = 0;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly  buffer A { uint a[]; };
layout(binding = 1) readonly  buffer B { uvec2 b[]; };
layout(binding = 2) readonly  buffer C { uvec4 c[]; };
layout(binding = 3) readonly  buffer D { uint d[]; };
layout(binding = 4) buffer Total { uint total[]; };
layout(binding = 5) writeonly buffer Y { uint y[]; };
layout(binding = 6) writeonly buffer Z { uvec4 z[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= n) return;
    uint v = a[i] + b[i / 2][i % 2] + c[i / 4][i % 4];
    if (WITH_D != 0) v += d[i];
    total[i] += v;
    if (i % 2 == 0) y[i] = v;
    if (i % 16 == 0) z[i / 4] = uvec4(v);
}
