package distill

import (
	"encoding/json"
	"testing"
)

// FuzzProgress reads where a training was, as somebody forged it: what passes has stages one after the other, of the groups that are trained.
func FuzzProgress(f *testing.F) {
	for _, text := range []string{`{"stages":[{"group":{"layer":1,"first":1,"last":2},"steps":8,"done":4}],"windows":8}`, `{"stages":[null]}`, `{"stages":[{"steps":-1}]}`, `{"stages":[{"steps":2,"done":3}]}`,
		`{"stages":[{"ended":"never"}]}`, `{"stages":[{},{}]}`, `{"windows":-1}`, `{"spent_ns":-1}`, `null`, `{"records":[{"layer":null,"loss":null}]}`,
		`{"stages":[{"group":{"layer":1,"first":1,"last":2},"ended":"steps"},{"group":{"layer":3,"first":4,"last":5}}]}`, `{"stages":[{"best_step":9,"done":1,"steps":1}]}`} {
		f.Add([]byte(text))
	}
	groups := []Group{{Layer: 1, First: 1, Last: 2}, {Layer: 3, First: 4, Last: 5}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Progress
		if json.Unmarshal(raw, &p) != nil || p.Check() != nil || p.of(groups, Options{EndToEnd: 1}) != nil {
			return
		}
		if len(p.Stages) > 3 {
			t.Fatalf("%s: %d stages", raw, len(p.Stages))
		}
		for i, s := range p.Stages {
			if (s.Group == nil) != (i == 2) || s.Done > s.Steps || s.Best > s.Done {
				t.Errorf("%s: stage %d is %+v", raw, i, *s)
			}
		}
	})
}
