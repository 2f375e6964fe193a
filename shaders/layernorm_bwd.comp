#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/workgroup.glsl"
#include "common/reduce.glsl"

// Of y = x̂ · w + b, x̂ = (x − m) · s, m = mean_i x, s = rsqrt(mean_i (x − m)² + eps):          LayerNorm, Ba et al. 2016, arXiv 1607.06450
// dx[t,i] = residual[t,i] + s · (g[t,i] − mean_j g[t,j] − x̂[t,i] · mean_j g[t,j]·x̂[t,j]), g = dy · w; products[t,i] = dy[t,i]·x̂[t,i]
//
// x, dy, residual, dx, products [rows, hidden] f32 · w [hidden] weight dtype; dx and products may each be any of x, dy and residual.
// Without DX, PRODUCTS, RESIDUAL the binding is not touched. One workgroup a row; f32 accumulation, the variance in a second pass,
// around the mean; any hidden; no subgroup operations.
// 3·hidden/4/WORKGROUP iterations: far from lavapipe's 65,535.
//
// With TEXELS, for drivers that run on the CPU: hidden a multiple of a texel of w, one invocation a row, whose loads are of 16 bytes
// and which needs no barrier. 3·hidden/4 iterations: below 65,535 for hidden ≤ 87,000.

layout(constant_id = 1) const uint DX = 1;
layout(constant_id = 2) const uint PRODUCTS = 1;
layout(constant_id = 3) const uint RESIDUAL = 0;
layout(push_constant) uniform Push { uint hidden; float eps; uint rows; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer dy;
layout(binding = 3, rgba32ui) uniform readonly uimageBuffer residual;
layout(binding = 4) writeonly buffer Dx { vec4 dx[]; };
layout(binding = 5) writeonly buffer Products { vec4 products[]; };

#define LOAD(name, i) uintBitsToFloat(imageLoad(name, int(i)))

float mean_of(vec4 sums) { return dot(sums, vec4(1.0)) / float(hidden); }

void main() {
    uint row = gl_GlobalInvocationID.x, quads = hidden / 4, at = row * quads;
    if (row >= rows) return;
    vec4 sums = vec4(0.0), gradients = vec4(0.0), squares = vec4(0.0), dots = vec4(0.0);
    for (uint i = 0; i < quads; i += TEXEL_QUADS) {
        uvec4 texel = imageLoad(w, int(i / TEXEL_QUADS));
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
            sums += LOAD(x, at + i + q);
            if (DX != 0) gradients = fma(LOAD(dy, at + i + q), texel_quad(texel, q), gradients);
        }
    }
    float mean = mean_of(sums), level = mean_of(gradients);
    for (uint i = 0; i < quads; i += TEXEL_QUADS) {
        uvec4 texel = imageLoad(w, int(i / TEXEL_QUADS));
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
            vec4 v = LOAD(x, at + i + q) - mean;
            squares = fma(v, v, squares);
            if (DX != 0) dots = fma(LOAD(dy, at + i + q) * texel_quad(texel, q) - level, v, dots);
        }
    }
    float scale = inversesqrt(mean_of(squares) + eps), along = mean_of(dots) * scale;
    for (uint i = 0; i < quads; i += TEXEL_QUADS) {
        uvec4 texel = imageLoad(w, int(i / TEXEL_QUADS));
        [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
            uint e = at + i + q;
            vec4 unit = (LOAD(x, e) - mean) * scale, d = LOAD(dy, e);
            vec4 back = scale * (d * texel_quad(texel, q) - level - unit * along);
            if (RESIDUAL != 0) back += LOAD(residual, e);
            if (DX != 0) dx[e] = back;
            if (PRODUCTS != 0) products[e] = d * unit;
        }
    }
}
#else
layout(constant_id = 4) const uint BY_FOUR = 0; // hidden is a multiple of 4
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 0) readonly  buffer X4 { vec4 x4[]; };
layout(binding = 1) readonly  buffer W { uint  w[]; };
layout(binding = 1) readonly  buffer W4 { words4 w4[]; };
layout(binding = 2) readonly  buffer Dy { float dy[]; };
layout(binding = 2) readonly  buffer Dy4 { vec4 dy4[]; };
layout(binding = 3) readonly  buffer Residual { float residual[]; };
layout(binding = 3) readonly  buffer Residual4 { vec4 residual4[]; };
layout(binding = 4) writeonly buffer Dx { float dx[]; };
layout(binding = 4) writeonly buffer Dx4 { vec4 dx4[]; };
layout(binding = 5) writeonly buffer Products { float products[]; };
layout(binding = 5) writeonly buffer Products4 { vec4 products4[]; };
#include "common/fours.glsl"

#define EACH for (uint i = 4 * gl_LocalInvocationID.x, e = row + i, left = hidden - i; i < hidden; i += 4 * WORKGROUP, e = row + i, left = hidden - i)

void main() {
    uint row = gl_WorkGroupID.x * hidden;
    vec4 sums = vec4(0.0), gradients = vec4(0.0);
    EACH {
        sums += FOUR(x, e, left, 0.0);
        if (DX != 0) gradients += FOUR(dy, e, left, 0.0) * FOUR_WEIGHTS(w, i, left);
    }
    float mean = workgroup_sum(sum_of(sums)) / float(hidden), level = DX != 0 ? workgroup_sum(sum_of(gradients)) / float(hidden) : 0.0;
    vec4 squares = vec4(0.0), dots = vec4(0.0);
    EACH {
        vec4 v = FOUR(x, e, left, mean) - mean; // 0 beyond the row
        squares += v * v;
        if (DX != 0) dots += (FOUR(dy, e, left, 0.0) * FOUR_WEIGHTS(w, i, left) - level) * v;
    }
    float scale = inversesqrt(workgroup_sum(sum_of(squares)) / float(hidden) + eps);
    float along = DX != 0 ? workgroup_sum(sum_of(dots)) * scale / float(hidden) : 0.0;
    EACH {
        vec4 unit = (FOUR(x, e, left, 0.0) - mean) * scale, d = FOUR(dy, e, left, 0.0);
        vec4 back = scale * (d * FOUR_WEIGHTS(w, i, left) - level - unit * along);
        if (RESIDUAL != 0) back += FOUR(residual, e, left, 0.0);
        if (DX != 0) STORE_FOUR(dx, e, left, back)
        if (PRODUCTS != 0) STORE_FOUR(products, e, left, d * unit)
    }
}
#endif
