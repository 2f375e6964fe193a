// What the kernels of attention's backward share. A query row is query i of head h of the group, row i·group + h; a key row is a key.
// The rows of a workgroup are query rows, those it goes over are keys; with OF_KEYS it is the other way round.
const float LN2 = 0.6931471805599453;
#define skip_statistics skip_activity // a place of the push constants

// Where the head of a row begins in q, or k, by heads.
uint query_at(uint row, uint skip) {
    return (skip + gl_WorkGroupID.z * queries + row / group) * kv_heads * group + gl_WorkGroupID.y * group + row % group;
}
uint key_at(uint key) { return (skip_k + gl_WorkGroupID.z * queries + key) * kv_heads + gl_WorkGroupID.y; }
uint statistics_at(uint row) { return query_at(row, skip_statistics); }

#if defined(OF_KEYS)

uint row_at(uint row) { return key_at(row); }
uint other_at(uint row) { return query_at(row, skip_q); }
uint row_count() { return queries; }
// Those with most others start first.
uint first_row(uint step) { return gl_WorkGroupID.x * step; }

// The others low to low + span that a row has to do with.
void seen_by(uint row, out uint low, out uint span) {
    low = row * group;
    span = (sliding > 0 ? min(queries - min(row, queries - 1), sliding) : queries - min(row, queries - 1)) * group - 1;
}
// The others that any of the rows begin to end − 1 has to do with.
void others_of(uint row, uint row_end, out uint begin, out uint end) {
    begin = row * group;
    end = (sliding > 0 ? min(queries, row_end - 1 + sliding) : queries) * group;
}

#else

uint row_at(uint row) { return query_at(row, skip_q); }
uint other_at(uint key) { return key_at(key); }
uint row_count() { return queries * group; }
uint first_row(uint step) { return ((queries * group - 1) / step - gl_WorkGroupID.x) * step; }

void seen_by(uint row, out uint low, out uint span) {
    low = lowest_key(row / group);
    span = row / group - low;
}
void others_of(uint row, uint row_end, out uint begin, out uint end) {
    begin = lowest_key(row / group);
    end = (row_end - 1) / group + 1;
}

#endif
