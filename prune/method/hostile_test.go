package method

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/modeltest"
)

// FuzzTree reads trees: what is read is written as it was, in few bytes for each layer.
func FuzzTree(f *testing.F) {
	for _, text := range []string{`0`, `[2,3]`, `[[[2,3],[4,5]],6]`, `[]`, `null`, `-1`, `[1,]`, `[1 , 2 ]`, `01`, `1e3`, `99999999999999999999`, `[1`, strings.Repeat("[", 2000), `[[[[1]]]]`, `16384`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var direct, tree Tree
		err := json.Unmarshal(raw, &tree)
		if other := direct.UnmarshalJSON(raw); (other == nil) != (err == nil) && json.Valid(raw) {
			t.Errorf("%s: %v and %v", raw, err, other)
		}
		if err != nil {
			return
		}
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var back Tree
		if err := json.Unmarshal(text, &back); err != nil || tree.Originals() != back.Originals() || tree.First() != back.First() || tree.First() < 0 {
			t.Errorf("%s became %s: %v", raw, text, err)
		}
		_ = CheckTrees([]Tree{tree}, 1, MaxLayers)
	})
}

// TestDeepTree reads and writes trees of all depths in a time in proportion to them.
func TestDeepTree(t *testing.T) {
	for _, n := range []int{1, 100, MaxTreeDepth, MaxTreeDepth + 1, 9900} {
		text := strings.Repeat("[", n) + "7" + strings.Repeat("]", n)
		begin := time.Now()
		var tree Tree
		err := json.Unmarshal([]byte(text), &tree)
		if (err == nil) != (n <= MaxTreeDepth) {
			t.Errorf("%d deep: %v", n, err)
		}
		if err == nil {
			if back, err := json.Marshal(tree); err != nil || string(back) != text {
				t.Errorf("%d deep: %v", n, err)
			}
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%d deep took %v", n, took)
		}
	}
}

// FuzzState takes up states that somebody forged, and lets methods go on with what they remember.
func FuzzState(f *testing.F) {
	for _, text := range []string{
		`{"tree":[0,1,3,4],"protected":[false,false,true,false],"ends":[1,3,4,5],"valid":2,"merged":2,"known":false}`, `{"tree":[0,1,3,4],"protected":[true]}`, `{"tree":[0,1,3,4],"ends":[1,1,9,-1]}`,
		`{"tree":[0,1,3,4],"memo":{"scores":[1,2,3,4,5],"order":[2,0,1,3,4],"left":[0,1,3,4]}}`, `{"tree":[0,1,3,4],"memo":{"scores":[1],"order":[9,-1],"left":[7]}}`,
		`{"tree":[0,1,3,4],"memo":{"scores":[],"order":[],"left":[]}}`, `{"tree":[0,1,3,4],"memo":[1,2]}`, `{"tree":[0,1,3,4],"memo":null}`, `{"tree":[0,1,3,4],"valid":-1}`, `null`, `{"tree":[0,[1,2],3,[4]]}`,
	} {
		f.Add([]byte(text))
	}
	m, _ := modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 5, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 33, Context: 32}.Open(f)
	four, err := m.With(m.Layers[:4], []int{0, 1, 3, 4})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &State{Model: m, Tree: make([]Tree, 5)}
		if err := s.Restore(context.Background(), four, raw, nil); err != nil {
			return
		}
		if len(s.Tree) != 4 || s.valid < 0 || s.valid > 4 {
			t.Fatalf("%s: %+v", raw, s)
		}
		for l := range 4 {
			if end := s.end(l); end < 1 || end > 5 {
				t.Errorf("%s: layer %d ends at %d", raw, l, end)
			}
			s.protects(l, l+1)
		}
		if s.Memo != nil && string(s.Memo) != "null" { // the methods of these go by weights alone, or by what they remember
			_, _ = dropByOrder(context.Background(), s, nil)
		}
		if s.Memo != nil && len(s.Model.Layers) == 4 {
			var similarity Scores
			if json.Unmarshal(s.Memo, &similarity) != nil || len(similarity) < 4 {
				if _, err := (MKA{}).Step(context.Background(), s, 3, nil); err == nil {
					t.Errorf("%s: mka went on with %d similarities", raw, len(similarity))
				}
			}
		}
	})
}
