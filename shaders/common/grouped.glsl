// Products whose rows lie in groups, each with weights of its own: with GROUPED, a workgroup's tile along y is one of the table that
// grouptiles.comp makes, from row m0 up to row m1 of x and y, and its weights are rows from w0 on of w and up. The binding holds the
// weights of `groups` groups from `first` on; tiles of others, and those that nothing is in, are left out.
// Without it there is one group, and nothing here adds an instruction.
#if defined(GROUPED)
#define GROUPED_PUSH uint first; uint groups;
#define ROWS_END m1
#define W_ROW(n) (w0 + (n))
layout(binding = 3) readonly buffer Tiles { uint tiles[]; }; // first row, end of the rows, group
uint m1, w0;

// Says whether there is a tile. If not, what is left of it can be read.
bool find_tile(uint first, uint groups, uint columns, out uint m0) {
    uint t = 3 * gl_WorkGroupID.y, group = tiles[t + 2] - first;
    bool found = tiles[t] < tiles[t + 1] && group < groups;
    m0 = found ? tiles[t] : 0u;
    m1 = found ? tiles[t + 1] : 1u;
    w0 = found ? group * columns : 0u;
    return found;
}
#else
#define GROUPED_PUSH
#define ROWS_END rows
#define W_ROW(n) n
#endif
