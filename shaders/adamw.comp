#version 450
#extension GL_GOOGLE_include_directive : require
#define BITS_ONLY
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// A step of AdamW, Loshchilov & Hutter 2019, arXiv 1711.05101, with t the step from 1 on:
//   g' = control[2]·g,   m = β1·m + (1 − β1)·g',   v = β2·v + (1 − β2)·g'²
//   p −= lr · (m/(1 − β1^t) / (√(v/(1 − β2^t)) + eps) + decay·p),   w = p to nearest even in the dtype
//
// control [4 and more] f32, see gradnorm_total.comp; nothing is written where control[3] is not 0
// g, p, m, v [count] f32 · w [count] weight dtype · c1 = 1/(1 − β1^t), c2 = 1/(1 − β2^t)
// Without TEXELS and with HALF_MOMENTS 1, m and v are bf16: what a step makes of them is rounded up or down at random, in proportion to how near
// either is, by a hash of the step and of the element's number, that of the first being first. The weights see it unrounded.
// One invocation four consecutive elements, by vec4 but for those that end the tensor. No loop but that of at most 3 elements.
// With TEXELS, for drivers that run on the CPU: count a multiple of 4, and what is read comes from texel buffers of the same memory.

layout(push_constant) uniform Push { uint count; float lr; float beta1; float beta2; float c1; float c2; float eps; float decay; uint first; uint steps; };
layout(binding = 0) readonly buffer Control { float control[]; };
#if !defined(TEXELS)
layout(binding = 1) readonly buffer G4 { vec4 g4[]; };
layout(binding = 1) readonly buffer G { float g[]; };
#endif
layout(binding = 2) buffer P4 { vec4 p4[]; };
layout(binding = 2) buffer P { float p[]; };
layout(binding = 3) buffer M4 { vec4 m4[]; };
layout(binding = 3) buffer M { float m[]; };
layout(binding = 4) buffer V4 { vec4 v4[]; };
layout(binding = 4) buffer V { float v[]; };
#if !defined(TEXELS)
layout(constant_id = 1) const uint HALF_MOMENTS = 0;
layout(binding = 3) buffer M2 { uvec2 m2[]; };
layout(binding = 3) buffer MW { uint mw[]; };
layout(binding = 4) buffer V2 { uvec2 v2[]; };
layout(binding = 4) buffer VW { uint vw[]; };
#endif
layout(binding = 5) buffer W4 { words4 w4[]; };
layout(binding = 5) buffer W { uint w[]; };
#if defined(TEXELS)
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer g_texels;
layout(binding = 6, rgba32ui) uniform readonly uimageBuffer p_texels;
layout(binding = 7, rgba32ui) uniform readonly uimageBuffer m_texels;
layout(binding = 8, rgba32ui) uniform readonly uimageBuffer v_texels;
#define LOAD4(x, i) uintBitsToFloat(imageLoad(x##_texels, int(i)))
#else
#define LOAD4(x, i) x##4[i]
#endif

void adamw(vec4 grad, inout vec4 param, inout vec4 mean, inout vec4 square) {
    grad *= control[2];
    mean = beta1 * mean + (1.0 - beta1) * grad;
    square = beta2 * square + (1.0 - beta2) * grad * grad;
    param -= lr * (c1 * mean / (sqrt(c2 * square) + eps) + decay * param);
}

#if !defined(TEXELS)
// Two times 16 random bits for an element: the finalizer lowbias32 of C. Wellons, twice.
uint noise(uint e) {
    uint x = (first + e) ^ (steps * 0x9e3779b9u);
    for (uint i = 0; i < 2; i++) {
        x = (x ^ (x >> 16)) * 0x7feb352du;
        x = (x ^ (x >> 15)) * 0x846ca68bu;
        x ^= x >> 16;
    }
    return x;
}

// Finite v as bf16, by 16 random bits.
uint rounded(float v, uint bits) { return (floatBitsToUint(v) + bits) >> 16; }

float wide(uint word, uint e) { return uintBitsToFloat((e & 1) == 0 ? word << 16 : word & 0xffff0000u); }
vec4 wide4(uvec2 w) { return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u)); }
uint replaced(uint word, uint e, uint bits) { uint shift = (e & 1) * 16; return (word & ~(0xffffu << shift)) | bits << shift; }
#endif

words4 pack4(vec4 x) {
    uvec4 b = uvec4(to_bits(x.x), to_bits(x.y), to_bits(x.z), to_bits(x.w));
#if WEIGHTS_PER_WORD == 1
    return b;
#else
    return b.xz | b.yw << 16;
#endif
}

void main() {
    uint i = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (4 * i >= count || control[3] != 0.0) return;
#if !defined(TEXELS)
    if (HALF_MOMENTS != 0) {
        if (4 * i + 4 <= count) {
            vec4 param = p4[i], mean = wide4(m2[i]), square = wide4(v2[i]);
            adamw(g4[i], param, mean, square);
            uvec4 bits = uvec4(noise(4 * i), noise(4 * i + 1), noise(4 * i + 2), noise(4 * i + 3));
            uvec4 mb = (floatBitsToUint(mean) + (bits & 0xffffu)) >> 16, vb = (floatBitsToUint(square) + (bits >> 16)) >> 16;
            p4[i] = param;
            m2[i] = mb.xz | mb.yw << 16;
            v2[i] = vb.xz | vb.yw << 16;
            w4[i] = pack4(param);
            return;
        }
        for (uint e = 4 * i; e < count; e++) {
            vec4 param = vec4(p[e]), mean = vec4(wide(mw[e / 2], e)), square = vec4(wide(vw[e / 2], e));
            adamw(vec4(g[e]), param, mean, square);
            uint bits = noise(e);
            p[e] = param.x;
            mw[e / 2] = replaced(mw[e / 2], e, rounded(mean.x, bits & 0xffffu));
            vw[e / 2] = replaced(vw[e / 2], e, rounded(square.x, bits >> 16));
#if WEIGHTS_PER_WORD == 1
            w[e] = to_bits(param.x);
#else
            w[e / 2] = replaced(w[e / 2], e, to_bits(param.x)); // what follows the tensor stays
#endif
        }
        return;
    }
#endif
    if (4 * i + 4 <= count) {
        vec4 param = LOAD4(p, i), mean = LOAD4(m, i), square = LOAD4(v, i);
        adamw(LOAD4(g, i), param, mean, square);
        p4[i] = param;
        m4[i] = mean;
        v4[i] = square;
        w4[i] = pack4(param);
        return;
    }
#if !defined(TEXELS)
    for (uint e = 4 * i; e < count; e++) {
        vec4 param = vec4(p[e]), mean = vec4(m[e]), square = vec4(v[e]);
        adamw(vec4(g[e]), param, mean, square);
        p[e] = param.x;
        m[e] = mean.x;
        v[e] = square.x;
#if WEIGHTS_PER_WORD == 1
        w[e] = to_bits(param.x);
#else
        uint shift = (e & 1) * 16; // what shares the word, an element before or what follows the tensor, stays
        w[e / 2] = (w[e / 2] & ~(0xffffu << shift)) | to_bits(param.x) << shift;
#endif
    }
#endif
}
