package model_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/safetensors"
)

func bytesOf(t *testing.T, w model.Weight) (all []byte) {
	t.Helper()
	err := w.Pieces(func(at int64, data []byte) error {
		if at != int64(len(all)) {
			t.Errorf("a piece at %d, %d bytes were before", at, len(all))
		}
		all = append(all, data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The rows of a stack are those of its parts, however it is cut and put together again.
func TestStack(t *testing.T) {
	part := func(name string, rows int, first byte) model.Weight {
		w := model.Weight{Name: name, DType: dtype.BF16, Rows: rows, Cols: 3, Data: make([]byte, rows*6)}
		for i := range w.Data {
			w.Data[i] = first + byte(i)
		}
		return w
	}
	a, b, c := part("a", 2, 0), part("b", 1, 50), part("c", 4, 100)
	all, err := model.Stack(a, b, c)
	if err != nil {
		t.Fatal(err)
	}
	want := append(append(append([]byte{}, a.Data...), b.Data...), c.Data...)
	if got := bytesOf(t, all); all.Rows != 7 || all.Made() || all.Name != "a" || !bytes.Equal(got, want) {
		t.Errorf("%+v holds %v, want %v", all, got, want)
	}
	for begin := range 7 {
		for end := begin + 1; end <= 7; end++ {
			some := all.RowRange(begin, end)
			if got := bytesOf(t, some); !bytes.Equal(got, want[6*begin:6*end]) {
				t.Errorf("rows %d to %d are %v", begin, end, got)
			}
			again, err := model.Stack(some, a)
			if err != nil || !bytes.Equal(bytesOf(t, again), append(bytes.Clone(want[6*begin:6*end]), a.Data...)) || len(again.Parts()) != len(some.Parts())+1 {
				t.Errorf("rows %d to %d with others: %v, %v", begin, end, bytesOf(t, again), err)
			}
		}
	}
	if one, err := model.Stack(b); err != nil || len(one.Parts()) != 1 || &one.Data[0] != &b.Data[0] {
		t.Errorf("one: %+v, %v", one, err)
	}
	wide, half := part("wide", 2, 0), part("half", 2, 0)
	wide.Cols, half.DType = 6, dtype.F16
	for _, c := range []struct {
		with model.Weight
		want string
	}{{wide, "tensor a has 3 columns, wide has 6"}, {half, "tensor a is BF16, half is F16"}, {model.Weight{Name: "made", DType: dtype.BF16, Rows: 1, Cols: 3, Seed: 1}, "made is made on the device"}} {
		if _, err := model.Stack(a, c.with); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Experts whose dtypes differ become one that holds the values of all, and those of other layers with them; one that is missing is named.
func TestExpertsOfAFile(t *testing.T) {
	spec, err := modeltest.Named("mixtral")
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab, spec.DType, spec.Wide = 61, dtype.BF16, "model.layers.1.block_sparse_moe.experts.3.w2.weight"
	m, dir := spec.Open(t)
	if down := m.Layers[1].Weights[arch.ExpertDown]; down.DType != dtype.F32 || len(m.Converted) != 7 || !strings.Contains(m.Converted[0], "experts.0.w2.weight from BF16 to F32") {
		t.Errorf("%v, converted %v", down.DType, m.Converted)
	}
	config := strings.Replace(string(spec.Config(t)), `"num_local_experts": 5`, `"num_local_experts": 6`, 1)
	c, err := arch.ParseConfig("config.json", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	files, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := model.New("m", c, model.Safetensors{Checkpoint: files}, nil); err == nil || !strings.Contains(err.Error(), "model.layers.0.block_sparse_moe.gate.weight: shape [5 48], config says [6 48]") {
		t.Errorf("an expert more than there are: %v", err)
	}
}
