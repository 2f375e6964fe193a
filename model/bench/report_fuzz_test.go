package bench_test

import (
	"os"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/bench"
)

// FuzzReport puts reports that anybody may have written side by side, in every format.
func FuzzReport(f *testing.F) {
	raw, err := os.ReadFile("testdata/report.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"schema":1,"device":{"name":"\u001b[31m"},"results":[{"name":"a","unit":"s","value":1e-320},{"name":"a"},{"name":"\u202e","value":-1}],"left_out":["\n"]}`))
	f.Add([]byte(`{"schema":1,"results":[{}]}`))
	f.Add([]byte(`{"schema":1,"results":null}`))
	good, err := bench.Read(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := bench.Read(raw)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, format := range bench.Formats {
			if _, err := r.Format(format); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
		for _, pair := range [][]*bench.Report{{good, r}, {r, good}, {r, r, r}} {
			c, err := bench.Compare(pair...)
			if err != nil {
				continue
			}
			for _, format := range []string{"md", "csv", "json"} {
				if _, err := c.Format(format); err != nil {
					t.Errorf("%s: %v", format, err)
				}
			}
		}
	})
}
