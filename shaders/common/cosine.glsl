// The angle of two rows x, y by a workgroup: every invocation must call, every one gets the result. With TEXELS by one invocation: x
// and y are texel buffers of rgba32ui, hidden a multiple of 4.
//
// 1 − cos is |x̂ − ŷ|²/2 of the rows divided by their lengths, which loses nothing where the cosine is near 1: an error ε of a length,
// a common factor of its row, adds ε²/2. The error is some 1e-6 of the result, plus 1e-7 of its root (from rounding the elements of x̂
// and ŷ, and less the longer the row), plus 1e-14. Rows of the same bits give 0 exactly: the same operations, none contracted, make
// both directions. Squares must be within f32.
// Include common/workgroup.glsl and common/reduce.glsl first, and bind x and y as common/fours.glsl has it.
// 2·hidden/4/WORKGROUP iterations, with TEXELS 2·hidden/4.

// Positive and finite, by its bits: compilers may take comparisons for ordered.
bool is_length(float squares) { return floatBitsToUint(squares) - 1u < 0x7f7fffffu; }

#if defined(TEXELS)
vec4 quad_of(uvec4 texel) { return uintBitsToFloat(texel); }

// x̂ − ŷ at texel i of both, a and b being one over the lengths.
vec4 chord(int i, float a, float b) {
    precise vec4 d = quad_of(imageLoad(x, i)) * a - quad_of(imageLoad(y, i)) * b;
    return d;
}

// |x̂ − ŷ|²/2 with one over the lengths of x and y, or −1 where one is a row without a direction: of zeros, or not finite.
float half_chord_squared(uint row, uint hidden, out float a, out float b) {
    vec4 xs = vec4(0.0), ys = vec4(0.0);
    int at = int(row * (hidden / 4)), quads = int(hidden / 4);
    for (int i = 0; i < quads; i++) {
        vec4 u = quad_of(imageLoad(x, at + i)), v = quad_of(imageLoad(y, at + i));
        xs = fma(u, u, xs);
        ys = fma(v, v, ys);
    }
    float xx = dot(xs, vec4(1.0)), yy = dot(ys, vec4(1.0));
    a = inversesqrt(xx);
    b = inversesqrt(yy);
    vec4 squares = vec4(0.0);
    for (int i = 0; i < quads; i++) {
        vec4 d = chord(at + i, a, b);
        squares = fma(d, d, squares);
    }
    return is_length(xx) && is_length(yy) ? 0.5 * dot(squares, vec4(1.0)) : -1.0;
}
#else
#include "fours.glsl"

// x̂ − ŷ from element i on, of which so many are left in the row.
vec4 chord(uint i, uint left, float a, float b) {
    precise vec4 d = FOUR(x, i, left, 0.0) * a - FOUR(y, i, left, 0.0) * b;
    return d;
}

float half_chord_squared(uint row, uint hidden, out float a, out float b) {
    precise vec4 xs = vec4(0.0), ys = vec4(0.0);
    row *= hidden;
    for (uint i = 4 * gl_LocalInvocationID.x; i < hidden; i += 4 * WORKGROUP) {
        vec4 u = FOUR(x, row + i, hidden - i, 0.0), v = FOUR(y, row + i, hidden - i, 0.0);
        xs += u * u;
        ys += v * v;
    }
    float xx = workgroup_sum(sum_of(xs)), yy = workgroup_sum(sum_of(ys));
    a = inversesqrt(xx);
    b = inversesqrt(yy);
    vec4 squares = vec4(0.0);
    for (uint i = 4 * gl_LocalInvocationID.x; i < hidden; i += 4 * WORKGROUP) {
        vec4 d = chord(row + i, hidden - i, a, b);
        squares += d * d;
    }
    float all = workgroup_sum(sum_of(squares));
    return is_length(xx) && is_length(yy) ? 0.5 * all : -1.0;
}
#endif

// 1 − clamp(cos(x, y), 0, 1); a cosine that is not a number counts as 0.5.
float one_minus_cosine(uint row, uint hidden) {
    float a, b, d = half_chord_squared(row, hidden, a, b);
    return d >= 0.0 ? min(d, 1.0) : 0.5;
}

// The row that this invocation has the result of, and whether it is the one to write it.
#if defined(TEXELS)
#define ROW gl_GlobalInvocationID.x
#define WRITES true
#else
#define ROW gl_WorkGroupID.x
#define WRITES (gl_LocalInvocationID.x == 0)
#endif
