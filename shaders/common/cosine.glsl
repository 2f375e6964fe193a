// 1 − clamp(cos(x, y), 0, 1) of two rows, by a workgroup: every invocation must call, every one gets the result. With TEXELS by one
// invocation: x and y are texel buffers of rgba32ui, hidden a multiple of 4.
//
// 1 − cos is |x̂ − ŷ|²/2 of the rows divided by their lengths, which loses nothing where the cosine is near 1: an error ε of a length,
// a common factor of its row, adds ε²/2. The error is some 1e-6 of the result, plus 1e-7 of its root (from rounding the elements of x̂
// and ŷ, and less the longer the row), plus 1e-14. A cosine that is not a number (a row of zeros, an infinity) counts as 0.5. Squares
// must be within f32.
// Include common/workgroup.glsl and common/reduce.glsl first, and bind X { float x[]; } and Y { float y[]; }.
// 2·hidden/WORKGROUP iterations, with TEXELS 2·hidden/4.

// Positive and finite, by its bits: compilers may take comparisons for ordered.
bool is_length(float squares) { return floatBitsToUint(squares) - 1u < 0x7f7fffffu; }

#if defined(TEXELS)
vec4 quad_of(uvec4 texel) { return uintBitsToFloat(texel); }

float one_minus_cosine(uint row, uint hidden) {
    vec4 xs = vec4(0.0), ys = vec4(0.0);
    int at = int(row * (hidden / 4)), quads = int(hidden / 4);
    for (int i = 0; i < quads; i++) {
        vec4 u = quad_of(imageLoad(x, at + i)), v = quad_of(imageLoad(y, at + i));
        xs = fma(u, u, xs);
        ys = fma(v, v, ys);
    }
    float xx = dot(xs, vec4(1.0)), yy = dot(ys, vec4(1.0)), a = inversesqrt(xx), b = inversesqrt(yy);
    vec4 ds = vec4(0.0);
    for (int i = 0; i < quads; i++) {
        vec4 d = quad_of(imageLoad(x, at + i)) * a - quad_of(imageLoad(y, at + i)) * b;
        ds = fma(d, d, ds);
    }
    return is_length(xx) && is_length(yy) ? min(0.5 * dot(ds, vec4(1.0)), 1.0) : 0.5;
}
#else
float one_minus_cosine(uint row, uint hidden) {
    float xx = 0.0, yy = 0.0;
    row *= hidden;
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
#endif

// The row that this invocation has the result of, and whether it is the one to write it.
#if defined(TEXELS)
#define ROW gl_GlobalInvocationID.x
#define WRITES true
#else
#define ROW gl_WorkGroupID.x
#define WRITES (gl_LocalInvocationID.x == 0)
#endif
