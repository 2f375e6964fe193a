package model_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
)

// inFile is a tensor of a safetensors file.
type inFile struct {
	DType string   `json:"dtype"`
	Shape []int    `json:"shape"`
	At    [2]int64 `json:"data_offsets"`
	name  string
}

// storedIn lists the tensors of a file by name, and says where their values begin.
func storedIn(t *testing.T, raw []byte) (list []inFile, begin int64) {
	t.Helper()
	begin = 8 + int64(binary.LittleEndian.Uint64(raw))
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:begin], &header); err != nil {
		t.Fatal(err)
	}
	for name, text := range header {
		s := inFile{name: name}
		if name == "__metadata__" {
			continue
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b inFile) int { return strings.Compare(a.name, b.name) })
	return list, begin
}

// TestCheckFinite puts a NaN or an infinity somewhere into each tensor of a model of every architecture, in every dtype: it is found there,
// whatever the tensor is fused of. What is large, or subnormal, is not.
func TestCheckFinite(t *testing.T) {
	spoiled := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	rng := rand.New(rand.NewPCG(1, 2))
	for i, name := range modeltest.Names() {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.DType = dtype.All[i%len(dtype.All)]
		dir := t.TempDir()
		spec.Write(t, dir)
		file := filepath.Join(dir, "model.safetensors")
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, begin := storedIn(t, whole)
		for _, s := range list {
			d, err := dtype.Parse(s.DType)
			if err != nil {
				t.Fatal(err)
			}
			n := (s.At[1] - s.At[0]) / int64(d.Size())
			at, cols := rng.Int64N(n), int64(s.Shape[len(s.Shape)-1])
			bad := spoiled[rng.IntN(len(spoiled))]
			raw := slices.Clone(whole)
			value := raw[begin+s.At[0]+at*int64(d.Size()):]
			d.Encode(value[:d.Size()], []float32{bad})
			if err := os.WriteFile(file, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			m, err := model.Open(dir)
			if err != nil {
				if strings.Contains(err.Error(), "which config.json ties it") {
					continue // a copy of the embedding that is not read
				}
				t.Fatalf("%s: %v", name, err)
			}
			err = m.CheckFinite(t.Context(), nil)
			if slices.Contains(m.Unused(), s.name) || spec.StoredHead && strings.HasSuffix(s.name, "lm_head.weight") {
				if err != nil {
					t.Errorf("%s: %s is not read: %v", name, s.name, err)
				}
			} else if found := (*model.NonFiniteError)(nil); !errors.As(err, &found) || found.Tensor != s.name || int64(found.Row) != at/cols || int64(found.Col) != at%cols ||
				math.Float32bits(found.Value)>>31 != math.Float32bits(bad)>>31 || !errors.Is(err, model.ErrLasting) {
				t.Errorf("%s: %s: value %d of rows of %d is %v: %v", name, s.name, at, cols, bad, err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Open(t, dir)
		for range 2 {
			if err := m.CheckFinite(t.Context(), nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestCheckFiniteFirst: of several values that of the first tensor is told, however many cores look.
func TestCheckFiniteFirst(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}.Open(t)
	weights := m.AllWeights()
	for i := range weights {
		if !weights[i].IsZero() {
			var err error
			if weights[i], err = weights[i].Map(func(row int, values []float32) {
				if i > 20 {
					values[row%len(values)] = float32(math.NaN())
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := ""
	for _, w := range weights[21:] {
		if !w.IsZero() {
			want = w.Name
			break
		}
	}
	for range 50 {
		var found *model.NonFiniteError
		if err := m.WithWeights(weights).CheckFinite(t.Context(), nil); !errors.As(err, &found) || found.Tensor != want || found.Row != 0 || found.Col != 0 {
			t.Fatalf("%v, want %s", err, want)
		}
	}
}

// TestCheckFiniteStops: it is given up within a piece.
func TestCheckFiniteStops(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.CheckFinite(ctx, nil); !errors.Is(err, context.Canceled) || errors.Is(err, model.ErrLasting) {
		t.Errorf("cancelled: %v", err)
	}
	if err := m.CheckFinite(t.Context(), nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func BenchmarkCheckFinite(b *testing.B) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}.Open(b)
	weights := m.AllWeights()
	weights[int(arch.Q)] = model.Weight{Name: "x", DType: dtype.BF16, Rows: 8192, Cols: 16384, Data: make([]byte, 8192*16384*2)}
	m = m.WithWeights(weights)
	b.SetBytes(weights[int(arch.Q)].Size())
	for b.Loop() {
		if err := m.CheckFinite(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
