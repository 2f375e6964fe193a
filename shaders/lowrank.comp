#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[o,i] = w[o,i] + Σ_k b[k,o]·a[k,i], to nearest even in the dtype      LoRA, Hu et al. 2022, arXiv 2106.09685, merged
//
// w, y [rows, cols] weight dtype · a [rank, cols] f32 · b [rank, rows] f32
// count = rows·cols, of rows from row on. f32 accumulation in the order of k, w first. One invocation four consecutive elements, by vec4
// where cols is a multiple of four, or with blocked 1 four of each of four rows, where rows, row and the rows of the dispatch are such multiples
// too: then four times as many products come of a load, in the same order. With a 16-bit dtype the word of an odd last element is shared with what follows, which stays.

layout(push_constant) uniform Push { uint count; uint cols; uint rows; uint row; uint rank; uint blocked; };
layout(binding = 0) readonly buffer W4 { words4 w4[]; };
layout(binding = 0) readonly buffer W { uint w[]; };
layout(binding = 1) readonly buffer A4 { vec4 a4[]; };
layout(binding = 1) readonly buffer A { float a[]; };
layout(binding = 2) readonly buffer B4 { vec4 b4[]; };
layout(binding = 2) readonly buffer B { float b[]; };
layout(binding = 3) buffer Y4 { words4 y4[]; };
layout(binding = 3) buffer Y { uint y[]; };

float element(uint e) {
    float sum = load_weight(w, e);
    uint o = row + e / cols, i = e % cols;
    for (uint k = 0; k < rank; k++)
        sum = fma(b[k * rows + o], a[k * cols + i], sum);
    return sum;
}

words4 pack4(vec4 x) {
    uvec4 bits = uvec4(to_bits(x.x), to_bits(x.y), to_bits(x.z), to_bits(x.w));
#if WEIGHTS_PER_WORD == 1
    return bits;
#else
    return bits.xz | bits.yw << 16;
#endif
}

void main() {
    uint q = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (blocked != 0) {
        uint quads = cols / 4, i = q % quads, o = q / quads;
        if (16 * q >= count) return;
        uint at = 4 * o * quads + i;
        vec4 s0 = unpack4(w4[at]), s1 = unpack4(w4[at + quads]), s2 = unpack4(w4[at + 2 * quads]), s3 = unpack4(w4[at + 3 * quads]);
        for (uint k = 0; k < rank; k++) {
            vec4 x = a4[k * quads + i], y = b4[k * (rows / 4) + row / 4 + o];
            s0 = fma(vec4(y.x), x, s0);
            s1 = fma(vec4(y.y), x, s1);
            s2 = fma(vec4(y.z), x, s2);
            s3 = fma(vec4(y.w), x, s3);
        }
        y4[at] = pack4(s0);
        y4[at + quads] = pack4(s1);
        y4[at + 2 * quads] = pack4(s2);
        y4[at + 3 * quads] = pack4(s3);
        return;
    }
    if (4 * q >= count) return;
    if ((cols & 3) == 0) {
        vec4 sum = unpack4(w4[q]);
        uint o = row + 4 * q / cols, i = q % (cols / 4);
        for (uint k = 0; k < rank; k++)
            sum = fma(vec4(b[k * rows + o]), a4[k * (cols / 4) + i], sum);
        y4[q] = pack4(sum);
        return;
    }
    if (4 * q + 4 <= count) {
        y4[q] = pack4(vec4(element(4 * q), element(4 * q + 1), element(4 * q + 2), element(4 * q + 3)));
        return;
    }
    for (uint e = 4 * q; e < count; e++) {
#if WEIGHTS_PER_WORD == 1
        y[e] = to_bits(element(e));
#else
        uint shift = (e & 1) * 16;
        y[e / 2] = (y[e / 2] & ~(0xffffu << shift)) | to_bits(element(e)) << shift;
#endif
    }
}
