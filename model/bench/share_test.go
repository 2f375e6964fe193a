package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/vk"
)

// parse reads one report.
func parse(t *testing.T, raw []byte) *bench.Report {
	t.Helper()
	list, err := bench.Parse(raw)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d reports, %v", len(list), err)
	}
	return list[0]
}

// secret is a report whose every text that Share leaves out says so.
func secret() *bench.Report {
	r := fixed("A GPU", 1)
	r.System, r.Source, r.Model, r.Device.Index = "linux/amd64", "SECRET.json", "/home/SECRET/model", 777_777
	r.Device.UUID, r.Device.CoopShapes = "SECRET-UUID", []vk.CoopShape{{M: 16, N: 16, K: 16, Input: "f16", Sum: "f32"}}
	r.LeftOut = []string{"pp2048: open /home/SECRET/file: no such file"}
	r.Details = &bench.ModelInfo{Name: "owner/Model-1B", Architecture: "LlamaForCausalLM", Layers: 16, Parameters: 1_235_814_400, Bytes: 2_471_628_800, DType: "BF16", SHA256: strings.Repeat("0123456789abcdef", 4)}
	return r
}

// TestShare: what is shared is the example of the README, is read again, and has nothing else of a report.
func TestShare(t *testing.T) {
	r := secret()
	raw, err := r.Share()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "shared.json", raw)
	if bytes.Contains(raw, []byte("SECRET")) || bytes.Contains(raw, []byte("777777")) {
		t.Errorf("%s", raw)
	}
	want := secret()
	want.Source, want.Device.UUID, want.Device.Index, want.Model, want.LeftOut = "", "", 0, "owner/Model-1B", []string{"pp2048"}
	want.Device.Kind, want.Device.Tier = 0, 0 // JSON has their names
	if got := parse(t, raw); !reflect.DeepEqual(got, want) {
		t.Errorf("read again:\n%+v\nwant\n%+v", got, want)
	}
	again, err := parse(t, raw).Share()
	if err != nil || !bytes.Equal(again, raw) {
		t.Errorf("shared again: %v\n%s", err, again)
	}
	r.Details.Name = ""
	if raw, err = r.Share(); err != nil {
		t.Fatal(err)
	}
	if got := parse(t, raw).Model; got != "LlamaForCausalLM, 1.24 B parameters, BF16" {
		t.Errorf("a model without a name is %q", got)
	}
	r.Tool = bench.LlamaBench
	if _, err := r.Share(); err == nil {
		t.Error("llama-bench's is shared")
	}
	manual, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(again, &fields); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	eachField("", fields, func(name string) {
		if told[name] {
			return
		}
		told[name] = true
		if !strings.Contains(string(manual), "`"+name+"`") {
			t.Errorf("README.md says nothing of `%s`", name)
		}
	})
}

// eachField calls f with each field of a JSON value, by its path; elements of lists have the path of the list.
func eachField(path string, v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			name := strings.TrimPrefix(path+"."+key, ".")
			f(name)
			eachField(name, x, f)
		}
	case []any:
		for _, x := range v {
			eachField(path, x, f)
		}
	}
}

func TestSharedByOthers(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"format":"vkcome bench share","schema":2,"device":{"name":"x"}}`, "a shared report of schema 2, this vkcome reads 1"},
		{`{"format":"other","schema":1}`, `format "other"`},
		{`{"format":"vkcome bench share","schema":1}`, "the device has no name"},
		{`{"format":7}`, "format (byte 11): a number, expected a text"},
		{`{"format":"vkcome bench share","schema":1,"device":{"name":"x"},"results":[{"value":"fast"}]}`, "results.value"},
		{`{"format":"vkcome bench share"`, "not a report"},
		{`[{"avg_ts":1}]`, "llama-bench, test 1: expected model_type"},
		{`[{"avg_ts":0,"model_type":"m","gpu_info":"g","n_gen":1}]`, "test 1: avg_ts is 0"},
		{`[{"avg_ts":1,"model_type":"m","gpu_info":"g"}]`, "expected a prompt or generated tokens"},
		{`[{"avg_ts":1,"model_type":"m","gpu_info":"g","n_gen":1,"model_size":-1}]`, "model_size"},
		{`[{"avg_ts":"1"}]`, "test 1: avg_ts"},
		{"{\"avg_ts\":1,\"model_type\":\"m\",\"gpu_info\":\"g\",\"n_gen\":1}\n{", "line 2"},
		{`[`, "not a report of llama-bench"},
		{`[` + strings.Repeat("{},", 20_000) + `{}]`, "20001 tests, expected at most 10000"},
	} {
		if _, err := bench.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100s: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestLlamaBench reads files as llama-bench writes them; they were written for this test by the fields of llama.cpp's builds 5145 to 6210.
func TestLlamaBench(t *testing.T) {
	list, err := bench.Read("testdata/llama-bench.json", "testdata/llama-bench.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		var names []string
		for _, x := range r.Results {
			names = append(names, fmt.Sprintf("%s %g [%g %g] %d", x.Name, x.Value, x.Low, x.High, len(x.Seconds)))
		}
		got = append(got, fmt.Sprintf("%s: %s, %s, %s, %s %s, %s %d %d: %s", r.Source, r.Device.Name, r.Device.KindName, r.Tier, r.Tool, r.Version, r.Model, r.Details.Parameters, r.Details.Bytes, strings.Join(names, "; ")))
	}
	want := []string{
		"llama-bench.json: AMD Radeon RX 6800 (RADV NAVI21), GPU, Vulkan, llama-bench 6210 (4df29be), llama 7B Q4_0 6738415616 3825065984: pp512 1185.266667 [1180.2 1190.1] 3; tg128 70.366667 [70.1 70.6] 3; pp512+tg128 251 [250 252] 3; tg128 @ d4096 56 [55.5 56.5] 3",
		"llama-bench.json: AMD Radeon RX 6800 (RADV NAVI21), GPU, Vulkan, llama-bench 6210 (4df29be), qwen2 1.5B F16 1543714304 3093669888: pp512 4150 [4100 4200] 3; tg128 102 [101 103] 3",
		"llama-bench.jsonl: NVIDIA GeForce RTX 4060 Ti, GPU, CUDA, llama-bench 5145 (12b17501), llama 7B Q4_0 6738415616 3825065984: " +
			"pp512, fa false, ub 256 1756 [1756 1756] 1; pp512, fa false, ub 512 2012 [2012 2012] 1; pp512, fa true, ub 256 2256 [2256 2256] 1; pp512, fa true, ub 512 2512 [2512 2512] 1; tg128, fa false, ub 512 80 [80 80] 1; tg128, fa true, ub 512 80 [80 80] 1",
		"llama-bench.jsonl: Intel(R) Xeon(R) Processor @ 2.10GHz, CPU, CPU, llama-bench 6210 (4df29be), llama 7B Q4_0 6738415616 3825065984: pp64 12.5 [12 13] 0",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, r := range list {
		for _, format := range bench.Formats {
			out, err := r.Format(format)
			if err != nil || bytes.Contains(out, []byte("somebody")) {
				t.Errorf("%s: %v: %s", format, err, out)
			}
		}
	}
	twice := `[` + strings.Repeat(`{"avg_ts":1,"model_type":"m","gpu_info":"g","n_gen":1},`, 2)
	if r := parse(t, []byte(strings.TrimSuffix(twice, ",")+`]`)); r.Results[0].Name != "tg1" || r.Results[1].Name != "tg1 (2)" {
		t.Errorf("a test twice: %+v", r.Results)
	}
}

// TestSurvey puts files of every kind of one folder into one table.
func TestSurvey(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"llama-bench.json", "llama-bench.jsonl", "shared.json", "report.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		write(name, raw)
	}
	write("notes.txt", []byte("no report"))
	write(".hidden.json", []byte("no report"))
	if err := os.Mkdir(filepath.Join(dir, "folder.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := bench.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range bench.ComparedFormats {
		out, err := bench.Survey(list...).Format(format)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "survey."+format, out)
	}
	write("other.json", []byte(`{"name":"package"}`))
	if _, err := bench.Read(dir); err == nil || !strings.Contains(err.Error(), "other.json: bench: a report of schema 0") {
		t.Errorf("a folder with other files: %v", err)
	}
	if _, err := bench.Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no file ends in .json") {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestManyDevices compares 30 devices with models of their own and one that all have, and then as many files as are too many.
func TestManyDevices(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		r := fixed(fmt.Sprintf("GPU %02d", i%28), float64(i+1)) // two of them twice
		r.Details = &bench.ModelInfo{Name: "owner/Common", Parameters: 1e9, Bytes: 2e9}
		if i >= 20 {
			r.Details = &bench.ModelInfo{Name: fmt.Sprintf("owner/Own-%d", i), Parameters: int64(i) * 1e9, Bytes: 2e9}
		}
		raw, err := r.Share()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.json", i)), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := bench.Read(dir)
	if err != nil || len(list) != 30 {
		t.Fatalf("%d, %v", len(list), err)
	}
	o := bench.Survey(list...)
	if o.Devices[0].Source != "00.json" || o.Devices[1].Source != "28.json" || o.Devices[2].Source != "01.json" || o.Devices[3].Source != "29.json" || o.Devices[4].Source != "02.json" {
		t.Errorf("files of a device are not beside one another: %s, %s, %s…", o.Devices[0].Source, o.Devices[1].Source, o.Devices[2].Source)
	}
	md, err := o.Format("md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 30 | GPU 27 | discrete GPU | 8.0 GiB | driver 1.2.3 | coopmat | vkcome 0.1.0 | 27.json |",
		"|  | read device memory, GB/s | gemm F16, GFLOP/s |\n", "| 30: GPU 27 | 12099 | 656768 (41 %) |\n",
		"\nowner/Common: 1 B parameters, 1.9 GiB\n\n|  | tg128, tokens/s |\n", "| 1: GPU 00 | 98.8 (60 %) |\n",
		"\nowner/Own-29: 29 B parameters, 1.9 GiB\n\n|  | 4: GPU 01 |\n",
	} {
		if !strings.Contains(string(md), want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	csv, err := o.Format("csv")
	if rows := strings.Count(string(csv), "\n"); err != nil || rows != 31 {
		t.Errorf("%v: %d rows of CSV", err, rows)
	}
	var many []*bench.Report // a name each, which would make a table of 100,000 columns
	for i := range 200 {
		r := fixed("A GPU", 1)
		for k := range 500 {
			r.Results = append(r.Results, bench.Result{Name: fmt.Sprintf("%d of %d", k, i), Unit: "tokens/s", Value: 1})
		}
		many = append(many, r)
	}
	begin := time.Now()
	for _, format := range []string{"md", "csv"} {
		if _, err := bench.Survey(many...).Format(format); err == nil || !strings.Contains(err.Error(), "compare fewer reports") {
			t.Errorf("%s of 100,000 columns: %v", format, err)
		}
	}
	if _, err := bench.Compare(many...); err == nil || !strings.Contains(err.Error(), "compare fewer reports") {
		t.Errorf("100,000 rows: %v", err)
	}
	if took := time.Since(begin); took > 60*time.Second {
		t.Errorf("%v", took)
	}
}
