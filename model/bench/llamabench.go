package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/vk"
)

// LlamaBench is the Tool of reports that llama.cpp's llama-bench wrote.
const LlamaBench = "llama-bench"

// llamaTest is a test of llama-bench -o json or jsonl: what is read of its fields. Those that changed their type over the years, and those
// that tell tests apart, are read as they stand. model_filename is a path of somebody's machine: it is not read.
type llamaTest struct {
	Commit     string    `json:"build_commit"`
	Number     int       `json:"build_number"`
	CPU        string    `json:"cpu_info"`
	GPU        string    `json:"gpu_info"`
	Backends   string    `json:"backends"`
	Model      string    `json:"model_type"`
	Bytes      int64     `json:"model_size"`
	Parameters int64     `json:"model_n_params"`
	Prompt     int       `json:"n_prompt"`
	Generated  int       `json:"n_gen"`
	Depth      int       `json:"n_depth"`
	Mean       float64   `json:"avg_ts"`    // tokens/s
	Deviation  float64   `json:"stddev_ts"` // of it
	Rates      []float64 `json:"samples_ts"`
	Times      []float64 `json:"samples_ns"`

	settings map[string]json.RawMessage // all of its fields
}

// llamaSettings are the fields that may differ between tests of the same name, and how the name says so.
var llamaSettings = []struct{ field, flag string }{
	{"n_gpu_layers", "ngl"}, {"flash_attn", "fa"}, {"n_batch", "b"}, {"n_ubatch", "ub"}, {"n_threads", "t"}, {"type_k", "ctk"}, {"type_v", "ctv"}, {"split_mode", "sm"},
	{"main_gpu", "mg"}, {"tensor_split", "ts"}, {"devices", "dev"}, {"no_kv_offload", "nkvo"}, {"n_cpu_moe", "ncmoe"}, {"use_mmap", "mmap"}, {"embeddings", "embd"},
}

// parseLlamaBench reads an array of tests, or one a line. Tests of one build, device, backend and model are a report.
func parseLlamaBench(raw []byte) ([]*Report, error) {
	objects, err := llamaObjects(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("bench: not a report of llama-bench: %w", err)
	case len(objects) == 0:
		return nil, errors.New("bench: a report of llama-bench without tests")
	case len(objects) > maxResults:
		return nil, fmt.Errorf("bench: a report of llama-bench with %d tests, expected at most %d", len(objects), maxResults)
	}
	type key struct {
		commit, device, backends, model string
		bytes, parameters               int64
	}
	tests, keys := map[key][]llamaTest{}, []key(nil)
	for i, object := range objects {
		var t llamaTest
		err := files.JSON(object, &t)
		if err == nil {
			err = files.JSON(object, &t.settings)
		}
		if err == nil {
			err = t.check()
		}
		if err != nil {
			return nil, fmt.Errorf("bench: llama-bench, test %d: %w", i+1, err)
		}
		k := key{t.Commit, t.device(), t.Backends, t.Model, t.Bytes, t.Parameters}
		if tests[k] == nil {
			keys = append(keys, k)
		}
		tests[k] = append(tests[k], t)
	}
	var list []*Report
	for _, k := range keys {
		list = append(list, llamaReport(tests[k]))
	}
	return list, nil
}

// llamaObjects are the tests of a file.
func llamaObjects(raw []byte) (objects []json.RawMessage, err error) {
	if bytes.HasPrefix(raw, []byte("[")) {
		return objects, files.JSON(raw, &objects)
	}
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var object json.RawMessage
		if err := files.JSON(line, &object); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func (t *llamaTest) check() error {
	switch {
	case t.Model == "" || t.device() == "":
		return errors.New("expected model_type, and gpu_info or cpu_info")
	case !(t.Mean > 0):
		return fmt.Errorf("avg_ts is %v, expected more than 0", t.Mean)
	case t.Prompt < 0 || t.Generated < 0 || t.Depth < 0 || t.Prompt+t.Generated <= 0:
		return fmt.Errorf("n_prompt %d, n_gen %d, n_depth %d: expected a prompt or generated tokens", t.Prompt, t.Generated, t.Depth)
	case t.Bytes < 0 || t.Parameters < 0 || t.Deviation < 0:
		return errors.New("model_size, model_n_params or stddev_ts is below 0")
	}
	return nil
}

func (t *llamaTest) device() string {
	if t.GPU != "" {
		return t.GPU
	}
	return t.CPU
}

// name is what llama-bench's own table calls the test.
func (t *llamaTest) name() string {
	var parts []string
	if t.Prompt > 0 {
		parts = append(parts, "pp"+strconv.Itoa(t.Prompt))
	}
	if t.Generated > 0 {
		parts = append(parts, "tg"+strconv.Itoa(t.Generated))
	}
	name := strings.Join(parts, "+")
	if t.Depth > 0 {
		name += " @ d" + strconv.Itoa(t.Depth)
	}
	return name
}

// llamaReport is the report of tests of one build, device, backend and model.
func llamaReport(tests []llamaTest) *Report {
	t := tests[0]
	r := &Report{Schema: Schema, Tool: LlamaBench, Version: fmt.Sprintf("%d (%s)", t.Number, t.Commit), Tier: t.Backends, Clock: "host", Model: t.Model,
		Details: &ModelInfo{Name: t.Model, Parameters: t.Parameters, Bytes: t.Bytes}, Device: vk.Info{Name: t.device(), KindName: "GPU"}}
	if t.GPU == "" {
		r.Device.KindName = "CPU"
	}
	varying := map[string]bool{} // fields of which the tests have several values
	for _, s := range llamaSettings {
		varying[s.field] = slices.ContainsFunc(tests, func(other llamaTest) bool { return !bytes.Equal(other.settings[s.field], t.settings[s.field]) })
	}
	times := map[string]int{} // each name
	for _, t := range tests {
		name := t.name()
		for _, s := range llamaSettings {
			if varying[s.field] {
				name += fmt.Sprintf(", %s %s", s.flag, strings.Trim(string(t.settings[s.field]), `"`))
			}
		}
		if times[name]++; times[name] > 1 {
			name += fmt.Sprintf(" (%d)", times[name])
		}
		r.Results = append(r.Results, t.result(name))
	}
	return r
}

// result is the mean, where results of vkcome are medians, and the range of the repetitions; of a file without them the mean's deviation to
// both sides.
func (t *llamaTest) result(name string) Result {
	x := Result{Name: name, Unit: "tokens/s", Value: t.Mean, Low: math.Max(0, t.Mean-t.Deviation), High: t.Mean + t.Deviation, Seconds: []float64{}}
	if len(t.Rates) > 0 {
		x.Low, x.High = math.Min(t.Mean, slices.Min(t.Rates)), math.Max(t.Mean, slices.Max(t.Rates))
	}
	for _, ns := range t.Times {
		x.Seconds = append(x.Seconds, ns/1e9)
	}
	slices.Sort(x.Seconds)
	return x
}
