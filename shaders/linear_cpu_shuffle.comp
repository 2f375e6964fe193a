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
// which are one instruction where a broadcast is a search for active lanes (lavapipe 22.3). It has COLUMNS rows of w, or half of them
// and as many of up, for elements of y that lie side by side: four of these in a store, or a load of the residual, take a third of what they take
// one by one. x, w and up are texel buffers, for a lane's 16 bytes are then one load. f32 accumulation, k in order.
// depth/8 iterations and fewer: below lavapipe's 65,535 for depth ≤ 500,000.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint BANDS = 2;    // of 8 rows of x
layout(constant_id = 4) const uint COLUMNS = 8;  // of a lane, of w and up
layout(constant_id = 5) const uint BY_FOUR = 0;  // columns and stride are multiples of 4
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 5) readonly  buffer Residual4 { vec4 residual4[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 6) writeonly buffer Y4 { vec4 y4[]; };
layout(binding = 7, rgba32ui) uniform readonly uimageBuffer x;

const uint LANES = 8;
const uint OUT = EPILOGUE == 2 ? COLUMNS / 2 : COLUMNS;

void main() {
    uint lane = gl_SubgroupInvocationID, m0 = gl_WorkGroupID.y * LANES * BANDS, n0 = (gl_WorkGroupID.x * LANES + lane) * OUT;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#endif
    uint texels = depth / TEXEL_WEIGHTS;
    uint from_x[BANDS], from_w[COLUMNS]; // beyond the edge the last row again, never written
    [[unroll]] for (uint r = 0; r < BANDS; r++) from_x[r] = min(m0 + r * LANES + lane, ROWS_END - 1) * (depth / 4);
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) from_w[j] = W_ROW(min(n0 + j % OUT, columns - 1)) * texels;
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

    float add[COLUMNS], up_add[COLUMNS];
    [[unroll]] for (uint j = 0; j < OUT; j++) {
        add[j] = up_add[j] = 0.0;
#if !defined(GROUPED)
        if (BIASED != 0) {
            uint n = column + min(n0 + j, columns - 1);
            add[j] = load_weight(bias, n);
            if (EPILOGUE == 2) up_add[j] = load_weight(up_bias, n);
        }
#endif
    }
    [[unroll]] for (uint i = 0; i < BANDS * LANES; i++) {
        if (m0 + i < ROWS_END && n0 < columns) {
            uint at = (m0 + i) * stride + column + n0;
            float v[COLUMNS];
            [[unroll]] for (uint j = 0; j < OUT; j++) {
                v[j] = sum[i][j] + add[j];
                if (EPILOGUE == 2) v[j] = silu(vec4(v[j])).x * (sum[i][j + COLUMNS - OUT] + up_add[j]);
            }
            if (BY_FOUR != 0 && OUT >= 4) {
                [[unroll]] for (uint j = 0; j < OUT; j += 4)
                    if (n0 + j < columns) {
                        vec4 four = vec4(v[j], v[j + 1], v[j + 2], v[j + 3]);
                        if (EPILOGUE == 1) four += residual4[(at + j) / 4];
                        y4[(at + j) / 4] = four;
                    }
            } else
                [[unroll]] for (uint j = 0; j < OUT; j++)
                    if (n0 + j < columns) y[at + j] = EPILOGUE == 1 ? v[j] + residual[at + j] : v[j];
        }
    }
}
