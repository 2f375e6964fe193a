// 1 − clamp(cos(x, y), 0, 1) of two rows, by a workgroup: every invocation must call, every one gets the result.
//
// 1 − cos is |x̂ − ŷ|²/2 of the rows divided by their lengths, which loses nothing where the cosine is near 1: an error ε of a length,
// a common factor of its row, adds ε²/2. The error is some 1e-6 of the result, plus 1e-7 of its root (from rounding the elements of x̂
// and ŷ, and less the longer the row), plus 1e-14. A cosine that is not a number (a row of zeros, an infinity) counts as 0.5. Squares
// must be within f32.
// Include common/workgroup.glsl and common/reduce.glsl first, and bind X { float x[]; } and Y { float y[]; }.
// 2·hidden/WORKGROUP iterations.

// Positive and finite, by its bits: compilers may take comparisons for ordered.
bool is_length(float squares) { return floatBitsToUint(squares) - 1u < 0x7f7fffffu; }

float one_minus_cosine(uint row, uint hidden) {
    float xx = 0.0, yy = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP) {
        xx += x[row + i] * x[row + i];
        yy += y[row + i] * y[row + i];
    }
    xx = workgroup_sum(xx);
    yy = workgroup_sum(yy);
    float a = inversesqrt(xx), b = inversesqrt(yy), squares = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < hidden; i += WORKGROUP) {
        float d = x[row + i] * a - y[row + i] * b;
        squares += d * d;
    }
    squares = workgroup_sum(squares);
    return is_length(xx) && is_length(yy) ? min(0.5 * squares, 1.0) : 0.5;
}
