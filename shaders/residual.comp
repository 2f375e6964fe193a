#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/workgroup.glsl"

// y[t,i] = Σ_k x[t,k]·(w[k,i] + w_low[k,i]) − (c[t,i] + c_low[t,i]), to about 2^-32 of the terms
//
// x [panels, rows, PANEL] f32, whose columns lie in panels one behind the other · w, w_low [panels·PANEL, cols] f32 · c, c_low, y
// [rows, cols] f32 · cols a multiple of 4
// The sum is a double-float. The upper 12 bits of x and w have exact products in f32, which are added without loss (TwoSum: Knuth, The
// Art of Computer Programming, vol. 2, 4.2.2, theorem B); the rest is 2^-12 of them and added as f32. `precise` keeps a compiler from
// simplifying that away. No fma has to be fused for it.
// One invocation ROWS rows and 4 columns; gl_WorkGroupID.x along columns, y along rows. panels·PANEL/4 iterations.
// With TEXELS, for drivers that run on the CPU, x and w are read as texels.

layout(constant_id = 1) const uint PANEL = 128;
layout(constant_id = 2) const uint ROWS = 4;
layout(push_constant) uniform Push { uint rows; uint cols; uint depth; };
#if defined(TEXELS)
layout(binding = 0, rgba32ui) uniform readonly uimageBuffer x;
layout(binding = 1, rgba32ui) uniform readonly uimageBuffer w;
layout(binding = 2, rgba32ui) uniform readonly uimageBuffer w_low;
#define QUAD(from, i) uintBitsToFloat(imageLoad(from, int(i)))
#else
layout(binding = 0) readonly  buffer X { vec4 x[]; };
layout(binding = 1) readonly  buffer W { vec4 w[]; };
layout(binding = 2) readonly  buffer WLow { vec4 w_low[]; };
#define QUAD(from, i) from[i]
#endif
layout(binding = 3) readonly  buffer C { vec4 c[]; };
layout(binding = 4) readonly  buffer CLow { vec4 c_low[]; };
layout(binding = 5) writeonly buffer Y { vec4 y[]; };

float upper(float v) { return uintBitsToFloat(floatBitsToUint(v) & 0xfffff000u); }
vec4 upper(vec4 v) { return uintBitsToFloat(floatBitsToUint(v) & 0xfffff000u); }

// Adds v to the double-float high + low.
void add(inout vec4 high, inout vec4 low, vec4 v) {
    precise vec4 sum = high + v;
    precise vec4 of_v = sum - high;
    precise vec4 lost = (high - (sum - of_v)) + (v - of_v);
    high = sum;
    low += lost;
}

void main() {
    uint i = gl_GlobalInvocationID.x, quads = cols / 4, t0 = gl_WorkGroupID.y * ROWS;
    if (i >= quads) return;
    vec4 high[ROWS], low[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        uint at = min(t0 + t, rows - 1) * quads + i;
        high[t] = -c[at];
        low[t] = -c_low[at];
    }
    for (uint k = 0; k < depth; k += 4) {
        uint from = (k / PANEL * rows * PANEL + k % PANEL) / 4;
        vec4 a[ROWS];
        [[unroll]] for (uint t = 0; t < ROWS; t++) a[t] = QUAD(x, from + min(t0 + t, rows - 1) * (PANEL / 4));
        [[unroll]] for (uint j = 0; j < 4; j++) {
            vec4 b = QUAD(w, (k + j) * quads + i), b_upper = upper(b);
            precise vec4 b_rest = (b - b_upper) + QUAD(w_low, (k + j) * quads + i);
            [[unroll]] for (uint t = 0; t < ROWS; t++) {
                float a_upper = upper(a[t][j]);
                precise float a_rest = a[t][j] - a_upper;
                precise vec4 product = a_upper * b_upper;
                add(high[t], low[t], product);
                low[t] = fma(vec4(a_upper), b_rest, low[t]);
                low[t] = fma(vec4(a_rest), b, low[t]);
            }
        }
        if (k % 16 != 12) continue;
        [[unroll]] for (uint t = 0; t < ROWS; t++) { // a small low is a precise one
            vec4 rest = low[t];
            low[t] = vec4(0.0);
            add(high[t], low[t], rest);
        }
    }
    [[unroll]] for (uint t = 0; t < ROWS; t++)
        if (t0 + t < rows) y[(t0 + t) * quads + i] = high[t] + low[t];
}
