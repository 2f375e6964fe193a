#version 450
#extension GL_GOOGLE_include_directive : require
#define BITS_ONLY
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// dst[row + i, c] = src[index[i], c]     or, BY_COLUMN,     dst[t, col + i] = src[t, index[i]]
//
// dst [.., cols], src [.., src_cols] one dtype, bits copied · index [count] u32, clamped to `last`
// This dispatch writes rows [row, row+rows) and columns [col, col+columns) of the bound dst. By rows, i starts at `first`, and the
// bound src holds rows [src_first, src_first+src_rows): rows of dst whose source it has not are left as they are. By columns, both
// bindings hold the same rows.
// One invocation a 32-bit word of dst from `word` on, below `end`: it keeps the half of its word that is not to be written.

layout(constant_id = 1) const uint BY_COLUMN = 0;
layout(push_constant) uniform Push {
    uint cols; uint src_cols; uint row; uint rows; uint col; uint columns;
    uint word; uint end; uint last; uint first; uint src_first; uint src_rows;
};
layout(binding = 0) readonly buffer Src { uint src[]; };
layout(binding = 1) readonly buffer Index { uint index[]; };
layout(binding = 2) buffer Dst { uint dst[]; };

const uint NOWHERE = 0xffffffffu;

// The element of src for element e of dst.
uint source(uint e) {
    uint t = e / cols - row, c = e % cols - col; // wrap where e is before the range
    if (t >= rows || c >= columns) return NOWHERE;
    if (BY_COLUMN != 0) return (row + t) * src_cols + min(index[c], last);
    uint from = min(index[first + t], last) - src_first;
    return from < src_rows ? from * src_cols + c : NOWHERE;
}

void main() {
    uint w = word + gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
    if (w >= end) return;
#if WEIGHTS_PER_WORD == 1
    uint from = source(w);
    if (from != NOWHERE) dst[w] = src[from];
#else
    uint low = source(2 * w), high = source(2 * w + 1);
    if (low == NOWHERE && high == NOWHERE) return;
    uint bits = dst[w];
    if (low != NOWHERE) bits = (bits & 0xffff0000u) | load_bits(src, low);
    if (high != NOWHERE) bits = (bits & 0xffffu) | (load_bits(src, high) << 16);
    dst[w] = bits;
#endif
}
