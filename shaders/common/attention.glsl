// What the kernels of attention share: the constants of a head and the push constants. Define MORE_PUSH first where there are more.
#include "tanh.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 64;

const uint DIMS = (HEAD_DIM + 3) / 4; // vec4 of a head
const float MASKED = -3.0e38;

#if !defined(MORE_PUSH)
#define MORE_PUSH
#endif
#if defined(PACKED)
// Rows of q, k and v are the tokens of segments: runs of tokens that follow a path of earlier segments, as choices follow a question.
// Workgroup x takes what the x-th ITEM words of map say: the first row of a segment, its position, its rows, where its table begins in
// map, and the first query times head of the group. Word p of a table is the row of the key at position p of the segment's path.
layout(push_constant) uniform Push {
    uint kv_heads; uint group;
    uint sliding; // 0: every key so far is seen
    float scale;  // log2(e)/√d
    MORE_PUSH
};
layout(binding = 2) readonly buffer Map { uint map[]; };
const uint ITEM = 5;
#define READ_ITEM uint item = ITEM * gl_WorkGroupID.x, q_window = map[item], first = map[item + 1], queries = map[item + 2], \
    table = map[item + 3], row0 = map[item + 4], keys = first + queries;
#define KEY_ROW(p) map[table + (p)]
#else
#define KEY_ROW(p) (k_window + (p))
layout(push_constant) uniform Push {
    uint queries; uint keys; uint key_stride; uint kv_heads; uint group;
    uint first;                      // position of query 0
    uint sliding;                    // 0: every key so far is seen
    uint skip_q; uint skip_k;        // rows of the bound q and o, k and v before the first
    float scale;                     // log2(e)/√d
    uint blocks; uint skip_activity; // rows of activity for each window, and before the first in the bound one (backward: statistics)
    MORE_PUSH
};
#endif

// The first key that a query at this position sees.
uint lowest_key(uint position) { return sliding > 0 && position >= sliding ? position - sliding + 1 : 0; }

// vec4 c of the head that begins at element `at` of a binding declared as name and name4; of the last one of a d that is no multiple
// of 4, only two are there.
#define LOAD(name, at, c) (HEAD_DIM % 4 == 0 ? name##4[(at) / 4 + (c)] : \
    vec4(name[(at) + 4 * (c)], name[(at) + 4 * (c) + 1], (c) + 1 < DIMS ? vec2(name[(at) + 4 * (c) + 2], name[(at) + 4 * (c) + 3]) : vec2(0.0)))
#define STORE(name, at, c, value) { \
    if (HEAD_DIM % 4 == 0) name##4[(at) / 4 + (c)] = value; \
    else { \
        name[(at) + 4 * (c)] = value.x; \
        name[(at) + 4 * (c) + 1] = value.y; \
        if ((c) + 1 < DIMS) { name[(at) + 4 * (c) + 2] = value.z; name[(at) + 4 * (c) + 3] = value.w; } \
    } }

#if !defined(NO_CAP)
// The bits of a float c, log2(e) times the largest logit: a logit l becomes c·tanh(l/c), as in Gemma 2, arXiv 2408.00118. 0: it stays.
layout(constant_id = 2) const uint CAP = 0;

vec4 capped(vec4 logit) {
    if (CAP == 0) return logit;
    float cap = uintBitsToFloat(CAP);
    return cap * tanh_of(logit / cap);
}
float capped(float logit) { return capped(vec4(logit)).x; }

// The derivative of capped, of what it gave; 0 of what is masked.
float cap_slope(float logit) {
    if (CAP == 0) return 1.0;
    float t = clamp(logit / uintBitsToFloat(CAP), -1.0, 1.0);
    return (1.0 - t) * (1.0 + t);
}
#endif
