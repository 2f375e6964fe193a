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

// What linear_vec.comp computes, for drivers that run on the CPU: depth a multiple of a texel of w, rows at most ROWS. The workgroup
// is one subgroup of 8, whose lanes lie side by side along k, and takes 8·GROUPS columns, one after the other: STEPS times a lane's
// texel of x stay in registers while the columns' rows of w, and of up, pass by in order, in runs that a CPU fetches ahead. Rows of w
// side by side are a third slower from memory. w, up, x and norm are texel buffers, for a lane's 16 bytes are then one load.
// f32 accumulation. depth/4 iterations and fewer: below lavapipe's 65,535 for depth ≤ 260,000.

layout(constant_id = 1) const uint BIASED = 0;
layout(constant_id = 2) const uint EPILOGUE = 0; // as in linear.comp
layout(constant_id = 3) const uint ROWS = 1;
layout(constant_id = 4) const uint STEPS = 8;
layout(constant_id = 5) const uint GROUPS = 2;
layout(constant_id = 6) const uint NORM = 0;     // x is normed by its root mean square first; 2: by norm[k] + 1
layout(push_constant) uniform Push { uint rows; uint columns; uint depth; uint column; uint stride; float eps; GROUPED_PUSH };
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer up;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer norm;
#if !defined(GROUPED)
layout(binding = 3) readonly  buffer Bias { uint bias[]; };
layout(binding = 4) readonly  buffer UpBias { uint up_bias[]; };
#endif
layout(binding = 5) readonly  buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Y { float y[]; };
layout(binding = 7, rgba32ui) uniform readonly uimageBuffer x;

const uint LANES = 8;

#if defined(GROUPED) // ROWS is 1
uint m0;
#define X_ROW(m) m0
#define Y_ROW(m) m0
#else
#define X_ROW(m) min(m, rows - 1)
#define Y_ROW(m) m
#endif

float lanes_sum(float v) {
    v += subgroupShuffleXor(v, 4u);
    v += subgroupShuffleXor(v, 2u);
    return v + subgroupShuffleXor(v, 1u);
}

uint lane, texels;
vec4 a[ROWS][STEPS * TEXEL_QUADS]; // of x, normed but for the scale; zero beyond depth

// Puts the product of a with a row of `weights` into `sum` of the lane that has the row's column. Some loads come first, so that more of them are
// on their way from memory at a time; beyond three, registers do not hold what came. Four sums of each, as an addition waits for the last to the same.
const uint LOADS = 3, SUMS = 4; // the same for any ROWS: a row's result depends on no other
#define ADD_ROW(weights, row, owner, sum) { \
    float part[ROWS][SUMS]; \
    [[unroll]] for (uint m = 0; m < ROWS; m++) \
        [[unroll]] for (uint i = 0; i < SUMS; i++) part[m][i] = 0.0; \
    [[unroll]] for (uint s0 = 0; s0 < STEPS; s0 += LOADS) { \
        uvec4 texel[LOADS]; \
        [[unroll]] for (uint l = 0; l < LOADS; l++) \
            if (s0 + l < STEPS) texel[l] = imageLoad(weights, int((row) * texels + min(t0 + (s0 + l) * LANES + lane, texels - 1))); \
        [[unroll]] for (uint l = 0; l < LOADS; l++) \
            if (s0 + l < STEPS) \
                [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) { \
                    vec4 b = texel_quad(texel[l], q); \
                    [[unroll]] for (uint m = 0; m < ROWS; m++) { \
                        vec4 v = a[m][(s0 + l) * TEXEL_QUADS + q]; \
                        [[unroll]] for (uint i = 0; i < 4; i++) part[m][i % SUMS] = fma(v[i], b[i], part[m][i % SUMS]); \
                    } \
                } \
    } \
    [[unroll]] for (uint m = 0; m < ROWS; m++) { \
        float total = part[m][0]; \
        [[unroll]] for (uint i = 1; i < SUMS; i++) total += part[m][i]; \
        total = lanes_sum(total); \
        sum[m] = lane == (owner) ? total : sum[m]; \
    } \
}

void main() {
    lane = gl_SubgroupInvocationID;
#if defined(GROUPED)
    if (!find_tile(first, groups, columns, m0)) return;
#endif
    texels = depth / TEXEL_WEIGHTS;
    uint n0 = gl_WorkGroupID.x * LANES * GROUPS;
    float v[ROWS][GROUPS], u[ROWS][GROUPS], squares[ROWS]; // of column n0 + g·LANES + lane
    [[unroll]] for (uint m = 0; m < ROWS; m++) {
        squares[m] = 0.0;
        [[unroll]] for (uint g = 0; g < GROUPS; g++) v[m][g] = u[m][g] = 0.0;
    }

    for (uint t0 = 0; t0 < texels; t0 += STEPS * LANES) {
        [[unroll]] for (uint s = 0; s < STEPS; s++) {
            uint t = t0 + s * LANES + lane, at = min(t, texels - 1);
            uvec4 weights = NORM != 0 ? imageLoad(norm, int(at)) : uvec4(0);
            [[unroll]] for (uint m = 0; m < ROWS; m++)
                [[unroll]] for (uint q = 0; q < TEXEL_QUADS; q++) {
                    vec4 value = uintBitsToFloat(imageLoad(x, int((X_ROW(m) * texels + at) * TEXEL_QUADS + q)));
                    if (t >= texels) value = vec4(0.0);
                    if (NORM != 0) {
                        squares[m] += dot(value, value);
                        value *= texel_quad(weights, q) + float(NORM - 1);
                    }
                    a[m][s * TEXEL_QUADS + q] = value;
                }
        }
        [[unroll]] for (uint g = 0; g < GROUPS; g++) {
            float of_w[ROWS], of_up[ROWS];
            [[unroll]] for (uint m = 0; m < ROWS; m++) of_w[m] = of_up[m] = 0.0;
            [[dont_unroll]] for (uint c = 0; c < LANES; c++) {
                uint row = W_ROW(min(n0 + g * LANES + c, columns - 1));
                ADD_ROW(w, row, c, of_w)
                if (EPILOGUE == 2) ADD_ROW(up, row, c, of_up)
            }
            [[unroll]] for (uint m = 0; m < ROWS; m++) {
                v[m][g] += of_w[m];
                u[m][g] += of_up[m];
            }
        }
    }

    [[unroll]] for (uint m = 0; m < ROWS; m++) {
        float scale = NORM != 0 ? inversesqrt(lanes_sum(squares[m]) / float(depth) + eps) : 1.0;
        [[unroll]] for (uint g = 0; g < GROUPS; g++) {
            uint n = n0 + g * LANES + lane, at = Y_ROW(m) * stride + column + n;
            if (n >= columns || Y_ROW(m) >= ROWS_END) continue;
            float value = v[m][g] * scale, other = u[m][g] * scale;
#if !defined(GROUPED)
            if (BIASED != 0) {
                value += load_weight(bias, column + n);
                if (EPILOGUE == 2) other += load_weight(up_bias, column + n);
            }
#endif
            if (EPILOGUE == 1) value += residual[at];
            if (EPILOGUE == 2) value = silu(vec4(value)).x * other;
            y[at] = value;
        }
    }
}
