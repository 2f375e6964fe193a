package bench_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/bench"
)

// FuzzReport puts reports that anybody may have written side by side, in every format and view: vkcome's, shared ones, and llama-bench's.
func FuzzReport(f *testing.F) {
	var raw []byte
	for _, name := range []string{"llama-bench.json", "llama-bench.jsonl", "shared.json", "report.json"} {
		var err error
		if raw, err = os.ReadFile("testdata/" + name); err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"format":"vkcome bench share","schema":1,"device":{"name":"\u001b"},"model":{"parameters":-1,"bytes":9223372036854775807},"results":[{"name":"gemm ","unit":"tokens/s"},{"name":"gemm"}]}`))
	f.Add([]byte(`{"avg_ts":1e300,"model_type":"|","gpu_info":"x","n_gen":9223372036854775807,"n_depth":1,"flash_attn":{"a":[]},"samples_ts":[-1e308,1e308]}`))
	f.Add([]byte(`[{"avg_ts":1,"model_type":"m","cpu_info":"x","n_prompt":1},null]`))
	f.Add([]byte(`{"schema":1,"device":{"name":"\u001b[31m"},"results":[{"name":"a","unit":"s","value":1e-320},{"name":"a"},{"name":"\u202e","value":-1}],"left_out":["\n"]}`))
	f.Add([]byte(`{"schema":1,"results":[{}]}`))
	f.Add([]byte(`{"schema":1,"results":null}`))
	good, err := bench.Parse(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := bench.Parse(raw)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, r := range list {
			for _, format := range bench.Formats {
				if _, err := r.Format(format); err != nil {
					t.Errorf("%s: %v", format, err)
				}
			}
			shared, err := r.Share()
			if err != nil {
				if r.Tool == "" {
					t.Errorf("shared: %v", err)
				}
				continue
			}
			if _, err := bench.Parse(shared); err != nil && r.Device.Name != "" {
				t.Errorf("what was shared is not read: %v: %s", err, shared)
			}
		}
		for _, several := range [][]*bench.Report{slices.Concat(good, list), slices.Concat(list, good), slices.Concat(list, list, list)} {
			o := bench.Survey(several...)
			c, compared := bench.Compare(several...)
			for _, format := range bench.ComparedFormats {
				if _, err := o.Format(format); err != nil && !strings.Contains(err.Error(), "cells") {
					t.Errorf("overview, %s: %v", format, err)
				}
				if compared != nil {
					continue
				}
				if _, err := c.Format(format); err != nil {
					t.Errorf("%s: %v", format, err)
				}
			}
		}
	})
}
