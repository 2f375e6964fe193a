#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define BITS_ONLY
#include "common/dtype.glsl"
#include "common/workgroup.glsl"

// y[c,r] = x[r,c], bits copied
//
// x [.., x_cols], y [.., y_cols] one dtype. The bound x begins with row first_row of the whole, the bound y with column first_col of it;
// this dispatch copies rows [first_row, first_row + rows) and columns [first_col, first_col + cols) of the whole x.
// One workgroup a tile of 32 × 32 through shared memory, gl_WorkGroupID.x along rows. With 16 bits y_cols and first_row are even, so that
// the words of y are whole; otherwise DIRECT: an invocation a word of the bound y, which keeps what is not to be written of it.
// At most 2048/WORKGROUP iterations.
//
// With TEXELS, for drivers that run on the CPU: all of first_row, rows, x_cols, y_cols, first_col and cols multiples of the B elements of
// a texel. One invocation B rows and up to 64 bytes of each, a cache line: B × B elements at a time in registers, no shared memory.

layout(push_constant) uniform Push { uint x_cols; uint y_cols; uint first_row; uint rows; uint first_col; uint cols; };

#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };

const uint B = 4 * WEIGHTS_PER_WORD;
const uint STEPS = 4; // transposeTexels in model/op/transpose.go

// Column c of the block whose rows are these.
uvec4 column(uvec4 block[B], uint c) {
#if WEIGHTS_PER_WORD == 1
    return uvec4(block[0][c], block[1][c], block[2][c], block[3][c]);
#else
    uint k = c / 2;
    uvec4 even = uvec4(block[0][k], block[2][k], block[4][k], block[6][k]), odd = uvec4(block[1][k], block[3][k], block[5][k], block[7][k]);
    return c % 2 == 0 ? (even & 0xffffu) | odd << 16 : even >> 16 | (odd & 0xffff0000u);
#endif
}

void main() {
    uint r = gl_GlobalInvocationID.x, begin = gl_WorkGroupID.y * STEPS;
    if (r * B >= rows) return;
    uint end = min(begin + STEPS, cols / B), from = r * B * (x_cols / B) + first_col / B;
    for (uint t = begin; t < end; t++) {
        uvec4 block[B];
        [[unroll]] for (uint i = 0; i < B; i++) block[i] = imageLoad(x, int(from + i * (x_cols / B) + t));
        uint to = t * y_cols + first_row / B + r;
        [[unroll]] for (uint c = 0; c < B; c++) y[to + c * (y_cols / B)] = column(block, c);
    }
}
#else
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) buffer Y { uint y[]; };

layout(constant_id = 1) const uint DIRECT = 0;

const uint TILE = 32;
shared uint tile[TILE * (TILE + 1)]; // a column more, so that neither way meets one bank

const uint NOWHERE = 0xffffffffu;

// The element of x for element e of y.
uint source(uint e) {
    uint c = e / y_cols, r = e % y_cols - first_row; // wraps where it is before the first
    return c < cols && r < rows ? r * x_cols + first_col + c : NOWHERE;
}

void main() {
#if WEIGHTS_PER_WORD == 2
    if (DIRECT != 0) {
        uint w = gl_WorkGroupID.x * WORKGROUP + gl_LocalInvocationID.x;
        if (2 * w >= cols * y_cols) return;
        uint low = source(2 * w), high = source(2 * w + 1);
        if (low == NOWHERE && high == NOWHERE) return;
        uint bits = low != NOWHERE && high != NOWHERE ? 0 : y[w];
        if (low != NOWHERE) bits = (bits & 0xffff0000u) | load_bits(x, low);
        if (high != NOWHERE) bits = (bits & 0xffffu) | load_bits(x, high) << 16;
        y[w] = bits;
        return;
    }
#endif
    uint row = gl_WorkGroupID.x * TILE, col = gl_WorkGroupID.y * TILE;
    for (uint e = gl_LocalInvocationID.x; e < TILE * TILE; e += WORKGROUP) {
        uint r = e / TILE, c = e % TILE;
        if (row + r < rows && col + c < cols) tile[r * (TILE + 1) + c] = load_bits(x, (row + r) * x_cols + first_col + col + c);
    }
    barrier();
    for (uint e = gl_LocalInvocationID.x; e < TILE * TILE / WEIGHTS_PER_WORD; e += WORKGROUP) {
        uint r = e * WEIGHTS_PER_WORD % TILE, c = e * WEIGHTS_PER_WORD / TILE, at = r * (TILE + 1) + c;
        if (row + r < rows && col + c < cols)
#if WEIGHTS_PER_WORD == 1
            y[(col + c) * y_cols + first_row + row + r] = tile[at];
#else
            y[((col + c) * y_cols + first_row + row + r) / 2] = tile[at] | tile[at + TILE + 1] << 16;
#endif
    }
}
#endif
