#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_buffer_reference : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/silu.glsl"
#include "common/grouped.glsl"
#include "common/workgroup.glsl"

// What linear.comp computes, for drivers that run on the CPU and read an address that all lanes share once: depth a multiple of
// STEPS texels of w. WORKGROUP is 8, the lanes of a vector: a lane has four columns of w, or two of w and two of up, and ROWS rows
// of x, whose elements all lanes share. f32 accumulation, k in order; no subgroup operations, shared memory or barrier.
//
// w and up are texel buffers, for a lane's 16 bytes are then one load; x is read at its address, without checks of bounds. The loop
// tests at its end: where the test comes first, lavapipe runs the body once more with all lanes off, and a load that all lanes share
// is not off with them, but reads beyond x.
// STEPS texels of a row make it read whole cache lines: rows of 2^n bytes fall into the same few lines of a cache.
// depth/8 iterations and fewer: below lavapipe's 65,535 for depth ≤ 500,000.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint ROWS = 16;
layout(constant_id = 4) const uint STEPS = 2;
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Quads { vec4 v[]; };
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH Quads x; };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };

const uint COLUMNS = 4, LANES = 8;
const uint OUT = EPILOGUE == 2 ? 2 : COLUMNS;

void main() {
    uint lane = gl_LocalInvocationID.x, m0 = gl_WorkGroupID.y * ROWS, n0 = gl_WorkGroupID.x * LANES * OUT + lane;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#endif
    uint texels = depth / TEXEL_WEIGHTS;
    uint from_x[ROWS], from_w[COLUMNS]; // beyond the edge the last row again, never written
    [[unroll]] for (uint i = 0; i < ROWS; i++) from_x[i] = min(m0 + i, ROWS_END - 1) * (depth / 4);
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) from_w[j] = W_ROW(min(n0 + j % OUT * LANES, columns - 1)) * texels;
    float sum[ROWS][COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[i][j] = 0.0;

    uint t = 0;
    do {
        vec4 b[COLUMNS][STEPS * TEXEL_QUADS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++)
            [[unroll]] for (uint s = 0; s < STEPS; s++) {
                uvec4 texel = j < OUT ? imageLoad(w, int(from_w[j] + t + s)) : imageLoad(up, int(from_w[j] + t + s));
                [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) b[j][s * TEXEL_QUADS + q] = texel_quad(texel, q);
            }
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            [[unroll]] for (uint q = 0; q < STEPS * TEXEL_QUADS; q++) {
                vec4 a = x.v[from_x[i] + t * TEXEL_QUADS + q];
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                    float v = fma(a.x, b[j][q].x, sum[i][j]);
                    v = fma(a.y, b[j][q].y, v);
                    v = fma(a.z, b[j][q].z, v);
                    sum[i][j] = fma(a.w, b[j][q].w, v);
                }
            }
        t += STEPS;
    } while (t < texels);

    [[unroll]] for (uint j = 0; j < OUT; j++) {
        uint n = n0 + j * LANES;
        if (n >= columns) continue;
        float add = 0.0, up_add = 0.0;
#if !defined(GROUPED)
        if (BIASED != 0) {
            add = load_weight(bias, column + n);
            if (EPILOGUE == 2) up_add = load_weight(up_bias, column + n);
        }
#endif
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            if (m0 + i >= ROWS_END) continue;
            uint at = (m0 + i) * stride + column + n;
            float v = sum[i][j] + add;
            if (EPILOGUE == 1) v += residual[at];
            if (EPILOGUE == 2) v = silu(vec4(v)).x * (sum[i][j + COLUMNS - OUT] + up_add);
            y[at] = v;
        }
    }
}
