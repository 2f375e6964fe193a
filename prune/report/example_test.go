package report_test

import (
	"bytes"
	"fmt"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/report"
)

func ExamplePage() {
	lineage := &prune.Lineage{Method: "shortgpt", OriginalLayers: 3, Tree: []method.Tree{{Layer: 0}, {Layer: 2}},
		Steps: []*method.Step{{From: 3, To: 2, Operation: method.Removal, DropList: []int{1}, Layers: []method.Tree{{Layer: 1}}, BI: method.Scores{0.5, 0.1, 0.25}}}}
	page := report.Page{Outputs: []report.Output{{Name: "small", Lineage: lineage}}}
	var out bytes.Buffer
	if err := page.Write(&out); err != nil {
		fmt.Println(err)
	}
	fmt.Println(bytes.Contains(out.Bytes(), []byte("layer 1 of the original: dropped in step 1 by shortgpt; block influence 0.1")))
	// Output: true
}
