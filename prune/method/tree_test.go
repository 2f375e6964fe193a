package method_test

import (
	"encoding/json"
	"fmt"
	"log"
	"testing"

	"github.com/vkcome/vkcome/prune/method"
)

func TestTreeJSON(t *testing.T) {
	for _, text := range []string{`0`, `[2,3]`, `[[[2,3],[4,5]],6]`} {
		var tree method.Tree
		if err := json.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(tree); err != nil || string(back) != text {
			t.Errorf("%s became %s, %v", text, back, err)
		}
	}
	for _, bad := range []string{`"a"`, `[]`, `{}`, `[1,"b"]`, `null`, `[1,null]`} {
		var tree method.Tree
		if err := json.Unmarshal([]byte(bad), &tree); err == nil {
			t.Errorf("%s was read as %v", bad, tree)
		}
	}
}

func TestReach(t *testing.T) {
	layer, merged := method.Tree{}, method.Tree{Merged: []method.Tree{{}, {}}}
	for _, c := range []struct {
		come method.CoMe
		tree []method.Tree
		want int
	}{
		{method.CoMe{}, []method.Tree{layer, layer, layer, layer}, 2},
		{method.CoMe{}, []method.Tree{layer, layer, layer}, 2},
		{method.CoMe{}, []method.Tree{layer, merged, layer}, 3},
		{method.CoMe{LayersPerMerge: 3}, []method.Tree{layer, layer, layer, layer, layer, layer, layer}, 3},
		{method.CoMe{LayersPerMerge: 3}, []method.Tree{layer, layer, layer, layer, layer}, 2},
		{method.CoMe{LayersPerMerge: 3}, []method.Tree{layer, layer, merged, layer}, 3},
		{method.CoMe{Repeat: true}, []method.Tree{layer, merged, layer}, 1},
	} {
		if got := c.come.Reach(c.tree, nil, nil); got != c.want {
			t.Errorf("%+v from %v reaches %d, want %d", c.come, c.tree, got, c.want)
		}
	}
}

func ExampleTree() {
	var tree []method.Tree
	if err := json.Unmarshal([]byte(`[0, [1, [2, 3]], 4]`), &tree); err != nil {
		log.Fatal(err)
	}
	for _, t := range tree {
		fmt.Print(t.Originals(), " ")
	}
	// Output: 1 3 1
}
