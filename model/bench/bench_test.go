package bench_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// fixed is a report as a run could give it.
func fixed(name string, speed float64) *bench.Report {
	return &bench.Report{
		Schema: bench.Schema, Version: "0.1.0", Tier: "coopmat", Clock: "device", Model: "synthetic:32m", LeftOut: []string{"pp2048: some 9 s a repetition"},
		Device: vk.Info{Name: name, KindName: "discrete GPU", TierName: "coopmat", Driver: "driver", DriverVersion: "1.2.3", API: "1.3.290",
			UUID: "00000000-0000-0000-0000-000000000001", CoopShapes: []vk.CoopShape{}, Limits: vk.Limits{DeviceMemory: 8 << 30, StorageRange: 4 << 30, SubgroupSize: 32, SharedMemory: 48 << 10}},
		Results: []bench.Result{
			{Name: "read device memory", Unit: "GB/s", Value: 432.1 * speed, Low: 430 * speed, High: 440 * speed, Seconds: []float64{0.001 / speed, 0.001 / speed * 1.01}, GBytes: 432.1 * speed},
			{Name: "gemm llama-2-7b o 512×4096×4096 F16", Unit: "GFLOP/s", Value: 23456 * speed, Low: 23000 * speed, High: 23500 * speed, Seconds: []float64{0.00073 / speed, 0.00073 / speed * 1.01},
				GFlops: 23456 * speed, GBytes: 60 * speed, Fraction: 0.41, Bound: "coopmat", Kernel: "linear_coopmat:128x128/64x64/32", Why: "cooperative matrices of 16×16×16"},
			{Name: "tg128", Unit: "tokens/s", Value: 98.76 * speed, Low: 97 * speed, High: 99 * speed, Seconds: []float64{1.29 / speed, 1.29 / speed * 1.01}, Fraction: 0.6, Bound: "memory"},
			{Name: "CoMe step, 8 windows of 512 tokens", Unit: "s", Value: 1.5 / speed, Low: 1.4 / speed, High: 1.6 / speed, Seconds: []float64{1.5 / speed, 1.5 / speed * 1.01}},
		},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s (go test -update writes it anew):\n%s\nwant\n%s", path, got, want)
	}
}

func TestFormats(t *testing.T) {
	r := fixed("A GPU", 1)
	for _, format := range bench.Formats {
		out, err := r.Format(format)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "report."+format, out)
		if format == "json" {
			back, err := bench.Parse(out)
			if err != nil || len(back) != 1 || fmt.Sprint(back[0].Results) != fmt.Sprint(r.Results) {
				t.Errorf("read back: %v, %+v", err, back)
			}
		}
	}
	if _, err := r.Format("xml"); err == nil {
		t.Error("xml: no error")
	}
	for _, raw := range []string{"", "[]", `{"schema": 99}`} {
		if _, err := bench.Parse([]byte(raw)); err == nil {
			t.Errorf("report %q: no error", raw)
		}
	}
}

func TestCompare(t *testing.T) {
	a, b := fixed("A GPU", 1), fixed("Another", 2)
	b.Results = b.Results[1:]
	c, err := bench.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"md", "csv", "json"} {
		out, err := c.Format(format)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "compare."+format, out)
	}
	if *c.Rows[3].Ratios[1] != 2 || *c.Rows[2].Ratios[1] != 2 || c.Rows[0].Values[1] != nil {
		t.Errorf("rows %+v", c.Rows)
	}
	if _, err := bench.Compare(a); err == nil {
		t.Error("one report: no error")
	}
}

// A run on every device: peaks, an operation of each kind, and a model.
func TestRun(t *testing.T) {
	m, err := model.Synthetic("tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		ran := 0
		o := bench.Options{Model: m, Reps: 2, Kernels: true, Only: []string{"256×1408×512", "gemv 1×2048×2048 F16", "tg128", "a case"},
			Extra: []bench.Case{{Name: "a case", Unit: "s", Work: 1, Run: func(context.Context) error { ran++; return nil }}}}
		progress := 0
		r, err := bench.Run(t.Context(), d, o, func(string, int, int) { progress++ })
		if err != nil {
			t.Fatal(err)
		}
		left := strings.Join(r.LeftOut, "\n")
		for _, name := range append([]string{"read device memory", "copy device memory", "upload", "download", "peak f32", "a case"}, o.Only[1], "gemm 256×1408×512 F16", "tg128", "gemv 1×2048×2048 F16 by linear_vec") {
			x := r.Get(name)
			switch {
			case x == nil && !strings.Contains(left, name): // a slow device leaves out what would take long
				t.Errorf("%s is missing; left out: %s", name, left)
			case x != nil && (!(x.Seconds[0] > 0 && x.Low <= x.Value && x.Value <= x.High) || len(x.Seconds) != 2):
				t.Errorf("%+v", *x)
			}
		}
		for _, x := range r.Results {
			if product := strings.HasPrefix(x.Name, "gemm") || strings.HasPrefix(x.Name, "gemv"); product != (x.Kernel != "" && x.Why != "") {
				t.Errorf("%s by %q: %q", x.Name, x.Kernel, x.Why)
			}
			if forced, ok := strings.CutPrefix(x.Name, "gemv 1×2048×2048 F16 by "); ok && (x.Kernel != forced || !strings.HasPrefix(x.Why, "asked for")) {
				t.Errorf("%s by %q: %q", x.Name, x.Kernel, x.Why)
			}
		}
		if text, err := r.Format("md"); err != nil || left == "" && !strings.Contains(string(text), "by linear_vec)\n") {
			t.Errorf("%v: kernels are not told:\n%s", err, text)
		}
		if ran != 3 || progress < 8 {
			t.Errorf("the extra case ran %d times, want 3; progress was reported %d times", ran, progress)
		}
		if raw, err := r.Format("json"); err != nil || !json.Valid(raw) {
			t.Errorf("%v: %s", err, raw)
		}
		if k, err := op.KernelsOf(d); err != nil || len(k) > 0 {
			t.Errorf("after the run %v are forced, %v", k, err)
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

// TestReportsOfStrangers: whatever a report holds, comparing it ends soon, and its table has no control characters.
func TestReportsOfStrangers(t *testing.T) {
	dir := t.TempDir()
	var names strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&names, `{"name":"n%d"},`, i)
	}
	many := `{"schema":1,"results":[` + strings.TrimSuffix(names.String(), ",") + `]}`
	for name, c := range map[string]struct{ text, want string }{
		"escapes": {`{"schema":1,"tier":"\u001b[2J","model":"\u009b31m\n","device":{"name":"\u202ex\r"},"results":[{"name":"\u001b]0;t\u0007","unit":"\u0000\n| forged |"}]}`, ""},
		"many":    {many, "300000 results, expected at most 10000"},
		"large":   {`{"schema":1,"tier":"` + strings.Repeat("x", 9<<20) + `"}`, "expected at most"},
		"types":   {`{"schema":"one"}`, "schema (byte 15): a text, expected a whole number"},
	} {
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := bench.Read(path)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := list[0]
		begin := time.Now()
		compared, err := bench.Compare(r, r)
		if err != nil {
			t.Fatal(err)
		}
		table, err := compared.Format("md")
		if err != nil || strings.ContainsAny(string(table), "\x1b\u009b\u202e\x00\x07\r") || strings.Contains(string(table), "\n| forged") {
			t.Errorf("%s: %v: %.300q", name, err, table)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", filepath.Join(dir, "folder"), filepath.Join(dir, "none")} {
		if _, err := bench.Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
