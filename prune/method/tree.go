// Package method holds the ways of making a model shallower.
package method

import (
	"encoding/json"
	"fmt"
)

// Tree tells where a layer comes from: one layer of the original model, or several that were merged, in order.
type Tree struct {
	Layer  int
	Merged []Tree
}

// Originals is the number of the original model's layers inside.
func (t Tree) Originals() int {
	if t.Merged == nil {
		return 1
	}
	n := 0
	for _, m := range t.Merged {
		n += m.Originals()
	}
	return n
}

// First is the lowest original layer inside.
func (t Tree) First() int {
	if t.Merged == nil {
		return t.Layer
	}
	first := t.Merged[0].First()
	for _, m := range t.Merged[1:] {
		first = min(first, m.First())
	}
	return first
}

// MarshalJSON writes a layer as its number and a merge as an array: [0,1,[2,3]].
func (t Tree) MarshalJSON() ([]byte, error) {
	if t.Merged == nil {
		return json.Marshal(t.Layer)
	}
	return json.Marshal(t.Merged)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Tree) UnmarshalJSON(raw []byte) error {
	*t = Tree{}
	if string(raw) != "null" && json.Unmarshal(raw, &t.Layer) == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &t.Merged); err != nil || len(t.Merged) == 0 {
		return fmt.Errorf("lineage: expected a layer's number or an array of merged layers, found %.40s", raw)
	}
	return nil
}
