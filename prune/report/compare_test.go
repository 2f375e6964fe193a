package report

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
)

var compared = &prune.Comparison{
	Model: "m",
	Dense: prune.Compared{Method: "dense", Layers: 3, Parameters: 3_000_000, Bytes: 6 << 20, Perplexity: 10},
	Rows: []prune.Compared{
		{Method: "come", Layers: 2, Parameters: 2_000_000, Bytes: 4 << 20, Sparsity: 1. / 3, Perplexity: 11.5, Seconds: 1.25, Tree: []method.Tree{{}, {Merged: []method.Tree{{Layer: 1}, {Layer: 2}}}}},
		{Method: "mka", Layers: 2, Error: "a | in\nit"},
	},
}

func TestCompare(t *testing.T) {
	for format, want := range map[string]string{
		"md": `| layers | method | perplexity | parameters | removed | weights | time |
|---:|---|---:|---:|---:|---:|---:|
| 3 | dense | 10.000 | 3.00 M | 0.0 % | 6.0 MiB | 0.0 s |
| 2 | come | 11.500 | 2.00 M | 33.3 % | 4.0 MiB | 1.2 s |
| 2 | mka | a \| in it | | | | |
`,
		"csv": `method,layers,perplexity,parameters,sparsity,bytes,seconds,tree,error
dense,3,10,3000000,0,6291456,0.000,null,
come,2,11.5,2000000,0.3333333333333333,4194304,1.250,"[0,[1,2]]",
mka,2,,,,,,,"a | in
it"
`,
	} {
		got, err := Compare(compared, format)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", format, err, got, want)
		}
	}
	raw, err := Compare(compared, "json")
	if err != nil {
		t.Fatal(err)
	}
	var back prune.Comparison
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(&back, compared) {
		t.Errorf("JSON comes back as %+v, %v", back, err)
	}
	if _, err := Compare(compared, "xml"); err == nil || !strings.Contains(err.Error(), "md, csv, json") {
		t.Errorf("format xml: %v", err)
	}
}
