#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/workgroup.glsl"

// l·lᵀ = −x: the Cholesky factor of a block, by columns (right-looking: Golub & Van Loan, Matrix Computations, 4.2.5)
//
// x [n, n] f32, of which the lower triangle is read · l [n, n] f32, 0 above the diagonal · failed [blocks] f32: element `block` becomes 1
// where −x is not positive definite, l is of no use then; otherwise 0
// One workgroup, an invocation a row: n is WORKGROUP, at most 128. f32; no subgroup operations. 2n iterations.

layout(push_constant) uniform Push { uint block; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) buffer L { float l[]; };
layout(binding = 2) writeonly buffer Failed { float failed[]; };

shared float column[128];
shared float diagonal;

void main() {
    uint i = gl_LocalInvocationID.x, row = i * WORKGROUP; // of l, which no other invocation touches
    for (uint c = 0; c < WORKGROUP; c++) l[row + c] = c <= i ? -x[row + c] : 0.0;
    float fails = 0.0;
    for (uint j = 0; j < WORKGROUP; j++) {
        if (i == j) diagonal = l[row + j];
        barrier();
        float pivot = diagonal;
        if (!(pivot > 0.0) || isinf(pivot)) {
            fails = 1.0;
            pivot = 1.0;
        }
        float v = 0.0;
        if (i >= j) {
            v = i == j ? sqrt(pivot) : l[row + j] / sqrt(pivot);
            l[row + j] = v;
        }
        column[i] = v;
        barrier();
        for (uint c = j + 1; c <= i; c++) l[row + c] = fma(-v, column[c], l[row + c]);
    }
    if (i == 0) failed[block] = fails;
}
