#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"
#include "common/silu.glsl"

// dup[i] = dy[i] · silu(gate[i]), dgate[i] = dy[i] · up[i] · silu′(gate[i])          of SwiGLU, Shazeer 2020, arXiv 2002.05202;
// with GELU of gelu in place of silu
//
// dy, gate, up, dgate, dup [count] f32; dgate and dup may each be any of the others
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
//
// With TEXELS, for drivers that run on the CPU: count a multiple of four, loads of 16 bytes.

layout(constant_id = 1) const uint GELU = 0;
layout(push_constant) uniform Push { uint count; };

// The derivative of SiLU, σ(z)·(1 + z·σ(−z)), or of GELU, σ(t)·(1 + z·t′·σ(−t)).
vec4 slope(vec4 z) {
    vec4 t = z, more = z;
    if (GELU != 0) {
        t = gelu_exponent(z);
        z = clamp(z, -30.0, 30.0);
        more = z * 1.5957691216 * (1.0 + 0.134145 * z * z);
    }
    vec4 e = exp(-abs(t)), near = 1.0 / (1.0 + e), far = e * near;
    bvec4 negative = lessThan(t, vec4(0.0));
    return mix(near, far, negative) * (1.0 + more * mix(far, near, negative));
}
vec4 activated(vec4 z) { return GELU != 0 ? gelu(z) : silu(z); }

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer dy;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer gate;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer up;
layout(binding = 3) writeonly buffer DGate { vec4 dgate[]; };
layout(binding = 4) writeonly buffer DUp   { vec4 dup[]; };

void main() {
    int i = int(gl_GlobalInvocationID.x);
    if (4 * i >= count) return;
    vec4 d = uintBitsToFloat(imageLoad(dy, i)), z = uintBitsToFloat(imageLoad(gate, i)), u = uintBitsToFloat(imageLoad(up, i));
    dup[i] = d * activated(z);
    dgate[i] = d * u * slope(z);
}
#else
layout(binding = 0) readonly  buffer Dy4    { vec4  dy4[]; };
layout(binding = 0) readonly  buffer Dy     { float dy[]; };
layout(binding = 1) readonly  buffer Gate4  { vec4  gate4[]; };
layout(binding = 1) readonly  buffer Gate   { float gate[]; };
layout(binding = 2) readonly  buffer Up4    { vec4  up4[]; };
layout(binding = 2) readonly  buffer Up     { float up[]; };
layout(binding = 3) writeonly buffer DGate4 { vec4  dgate4[]; };
layout(binding = 3) writeonly buffer DGate  { float dgate[]; };
layout(binding = 4) writeonly buffer DUp4   { vec4  dup4[]; };
layout(binding = 4) writeonly buffer DUp    { float dup[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, first = 4 * i;
    if (first + 4 <= count) {
        vec4 d = dy4[i], z = gate4[i], u = up4[i];
        dup4[i] = d * activated(z);
        dgate4[i] = d * u * slope(z);
        return;
    }
    for (uint e = first; e < count; e++) {
        float d = dy[e], u = up[e];
        vec4 z = vec4(gate[e]);
        dup[e] = d * activated(z).x;
        dgate[e] = d * u * slope(z).x;
    }
}
#endif
