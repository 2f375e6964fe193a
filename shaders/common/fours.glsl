// Rows four neighbours at a time, in one load of 16 bytes (weights of 16 bits: 8): a load of 4 bytes leaves most of a GPU's bandwidth unused, as too
// little is on its way. Define BY_FOUR first, a specialization constant: not 0 where all rows are made of whole fours. An array x is declared twice at its
// binding, as float x[] and vec4 x4[]; weights w as uint w[] and words4 w4[].
//
//     for (uint j = 4 * lane; j < cols; j += 4 * WORKGROUP) { vec4 v = FOUR(x, row + j, cols - j, 0.0); … STORE_FOUR(y, row + j, cols - j, v) }
//
// Where BY_FOUR is 0, elements beyond the row, of which `left` are left from j on, are `other`, and are not stored.
#define FOUR(array, at, left, other) (BY_FOUR != 0 ? array##4[(at) / 4] : vec4(array[at], (left) > 1 ? array[(at) + 1] : other, (left) > 2 ? array[(at) + 2] : other, (left) > 3 ? array[(at) + 3] : other))
#define FOUR_WEIGHTS(array, at, left) (BY_FOUR != 0 ? unpack4(array##4[(at) / 4]) : vec4(load_weight(array, at), (left) > 1 ? load_weight(array, (at) + 1) : 0.0, (left) > 2 ? load_weight(array, (at) + 2) : 0.0, (left) > 3 ? load_weight(array, (at) + 3) : 0.0))
#define STORE_FOUR(array, at, left, v) \
    if (BY_FOUR != 0) array##4[(at) / 4] = v; \
    else { \
        array[at] = (v).x; \
        if ((left) > 1) array[(at) + 1] = (v).y; \
        if ((left) > 2) array[(at) + 2] = (v).z; \
        if ((left) > 3) array[(at) + 3] = (v).w; \
    }

// 1 for what is in the row, 0 beyond.
#define THERE(left) (BY_FOUR != 0 ? vec4(1.0) : vec4(lessThan(uvec4(0, 1, 2, 3), uvec4(left))))

float sum_of(vec4 v) { return (v.x + v.y) + (v.z + v.w); }
float max_of(vec4 v) { return max(max(v.x, v.y), max(v.z, v.w)); }
