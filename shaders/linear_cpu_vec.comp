#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common/dtype.glsl"
#include "common/texel.glsl"
#include "common/silu.glsl"
#include "common/workgroup.glsl"

// What linear_vec.comp computes, for drivers that run on the CPU: depth a multiple of a texel of w, rows at most ROWS. The workgroup
// is one subgroup of 8, whose lanes lie side by side along k, so that each row of w is read once and in order. It takes COLUMNS columns
// of w at a time, or as many of w and up together, and BLOCKS times that: half a µs that a workgroup costs is the time of 6 KiB of w.
// w, up, x and norm are texel buffers, for a lane's 16 bytes are then one load. f32 accumulation.
// BLOCKS · depth/32 iterations and fewer: below lavapipe's 65,535 for depth ≤ 500,000 and 4 BLOCKS.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint ROWS = 1;
layout(constant_id = 4) const uint COLUMNS = 8;  // at most 8
layout(constant_id = 5) const uint BLOCKS = 4;
layout(constant_id = 6) const uint NORM = 0;     // x is normed by its root mean square first
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer norm;
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7, rgba32ui) uniform readonly uimageBuffer x;

const uint LANES = 8;
const uint OUT = EPILOGUE == 2 ? COLUMNS / 2 : COLUMNS;

float lanes_sum(float v) {
    v += subgroupShuffleXor(v, 4u);
    v += subgroupShuffleXor(v, 2u);
    return v + subgroupShuffleXor(v, 1u);
}

void columns_from(uint n0) {
    uint lane = gl_SubgroupInvocationID, texels = depth / TEXEL_WEIGHTS;
    uint from_w[COLUMNS];
    [[unroll]] for (uint j = 0; j < COLUMNS; j++) from_w[j] = min(n0 + j % OUT, columns - 1) * texels;
    float sum[ROWS][COLUMNS], squares[ROWS];
    [[unroll]] for (uint m = 0; m < ROWS; m++) {
        squares[m] = 0.0;
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[m][j] = 0.0;
    }

    for (uint t = lane; t < texels; t += LANES) {
        vec4 a[ROWS][TEXEL_QUADS];
        [[unroll]] for (uint m = 0; m < ROWS; m++)
            [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++)
                a[m][q] = uintBitsToFloat(imageLoad(x, int((min(m, rows - 1) * texels + t) * TEXEL_QUADS + q)));
        if (NORM != 0) {
            uvec4 texel = imageLoad(norm, int(t));
            [[unroll]] for (uint m = 0; m < ROWS; m++)
                [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
                    squares[m] += dot(a[m][q], a[m][q]);
                    a[m][q] *= texel_quad(texel, q);
                }
        }
        uvec4 texel[COLUMNS]; // all loads first: more of them are on their way from memory at a time
        [[unroll]] for (uint j = 0; j < COLUMNS; j++)
            texel[j] = j < OUT ? imageLoad(w, int(from_w[j] + t)) : imageLoad(up, int(from_w[j] + t));
        [[unroll]] for (uint j = 0; j < COLUMNS; j++)
            [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
                vec4 b = texel_quad(texel[j], q);
                [[unroll]] for (uint m = 0; m < ROWS; m++) {
                    float v = fma(a[m][q].x, b.x, sum[m][j]);
                    v = fma(a[m][q].y, b.y, v);
                    v = fma(a[m][q].z, b.z, v);
                    sum[m][j] = fma(a[m][q].w, b.w, v);
                }
            }
    }

    uint n = n0 + lane;
    bool mine = lane < OUT && n < columns; // a lane writes a column
    [[unroll]] for (uint m = 0; m < ROWS; m++) {
        float v = 0.0, u = 0.0;
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
            float total = lanes_sum(sum[m][j]);
            if (j < OUT) v = lane == j ? total : v;
            else u = lane == j - OUT ? total : u;
        }
        if (NORM != 0) {
            float scale = inversesqrt(lanes_sum(squares[m]) / float(depth) + eps);
            v *= scale;
            u *= scale;
        }
        if (!mine || m >= rows) continue;
        if (BIASED != 0) {
            v += load_weight(bias, column + n);
            if (EPILOGUE == 2) u += load_weight(up_bias, column + n);
        }
        uint at = m * stride + column + n;
        if (EPILOGUE == 1) v += residual[at];
        if (EPILOGUE == 2) v = silu(vec4(v)).x * u;
        y[at] = v;
    }
}

void main() {
    uint end = min((gl_WorkGroupID.x + 1) * BLOCKS * OUT, columns);
    for (uint n0 = gl_WorkGroupID.x * BLOCKS * OUT; n0 < end; n0 += OUT) columns_from(n0);
}
