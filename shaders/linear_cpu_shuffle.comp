#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/silu.glsl"
#include "common/grouped.glsl"
#include "common/workgroup.glsl"

// What linear_cpu.comp computes, for drivers that run on the CPU and read every lane's address by itself: depth a multiple of a
// texel of w. The workgroup is one subgroup of 8. A lane reads a row of x for each of BANDS and gives it to the others by shuffles,
// which are one instruction where a broadcast is a search for active lanes (lavapipe 22.3). It has four columns of w, or two of w
// and two of up. x, w and up are texel buffers, for a lane's 16 bytes are then one load. f32 accumulation, k in order.
// depth/8 iterations and fewer: below lavapipe's 65,535 for depth ≤ 500,000.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint BANDS = 4;    // of 8 rows of x
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7, rgba32ui) uniform readonly uimageBuffer x;

const uint COLUMNS = 4, LANES = 8;
const uint OUT = EPILOGUE == 2 ? 2 : COLUMNS;

void main() {
    uint lane = gl_SubgroupInvocationID, m0 = gl_WorkGroupID.y * LANES * BANDS, n0 = gl_WorkGroupID.x * LANES * OUT + lane;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#endif
    uint texels = depth / TEXEL_WEIGHTS;
    uint from_x[BANDS], from_w[COLUMNS]; // beyond the edge the last row again, never written
    [[unroll]] for (uint r = 0; r < BANDS; r++) from_x[r] = min(m0 + r * LANES + lane, ROWS_END - 1) * (depth / 4);
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) from_w[j] = W_ROW(min(n0 + j % OUT * LANES, columns - 1)) * texels;
    float sum[BANDS * LANES][COLUMNS];
    [[unroll]] for (uint i = 0; i < BANDS * LANES; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[i][j] = 0.0;

    for (uint t = 0; t < texels; t++) {
        vec4 b[COLUMNS][TEXEL_QUADS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
            uvec4 texel = j < OUT ? imageLoad(w, int(from_w[j] + t)) : imageLoad(up, int(from_w[j] + t));
            [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) b[j][q] = texel_quad(texel, q);
        }
        [[unroll]] for (uint r = 0; r < BANDS; r++) {
            vec4 own[TEXEL_QUADS];
            [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) own[q] = uintBitsToFloat(imageLoad(x, int(from_x[r] + t * TEXEL_QUADS + q)));
            [[unroll]] for (uint i = 0; i < LANES; i++) {
                vec4 a[TEXEL_QUADS];
                [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) a[q] = subgroupShuffle(own[q], i);
                [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
                    float v = sum[r * LANES + i][j]; // in a register for all of the texel's weights
                    [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
                        v = fma(a[q].x, b[j][q].x, v);
                        v = fma(a[q].y, b[j][q].y, v);
                        v = fma(a[q].z, b[j][q].z, v);
                        v = fma(a[q].w, b[j][q].w, v);
                    }
                    sum[r * LANES + i][j] = v;
                }
            }
        }
    }

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
        [[unroll]] for (uint i = 0; i < BANDS * LANES; i++) {
            if (m0 + i >= ROWS_END) continue;
            uint at = (m0 + i) * stride + column + n;
            float v = sum[i][j] + add;
            if (EPILOGUE == 1) v += residual[at];
            if (EPILOGUE == 2) v = silu(vec4(v)).x * (sum[i][j + COLUMNS - OUT] + up_add);
            y[at] = v;
        }
    }
}
