package eval_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func oracle(t *testing.T, dir string) *ref.Model {
	t.Helper()
	m, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// divergences is what the oracle says of each window's tokens but the first.
func divergences(base, m *ref.Model, windows [][]uint32) (all [][]ref.Divergence) {
	for _, w := range windows {
		var ids []int
		for _, v := range w {
			ids = append(ids, int(v))
		}
		targets := append(slices.Clone(ids[1:]), -1)
		all = append(all, ref.Divergences(base.Logits(ids), m.Logits(ids), targets)[:len(ids)-1])
	}
	return all
}

// near compares the tokens with the oracle's, the divergence within a part of it.
func near(t *testing.T, got [][]run.Divergence, want [][]ref.Divergence, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d windows, want %d", len(got), len(want))
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("window %d: %d tokens, want %d", i, len(got[i]), len(want[i]))
		}
		for j, w := range want[i] {
			g := got[i][j]
			if math.Abs(g.KL/w.KL-1) > bound || math.Abs(g.NLL-w.NLL) > 1e-4 || math.Abs(g.BaseNLL-w.BaseNLL) > 1e-4 || g.Same != (w.BaseTop == w.Top) {
				t.Errorf("window %d, token %d: %+v, want %+v", i, j, g, w)
				return
			}
		}
	}
}

var (
	baseSpec = modeltest.Spec{Hidden: 128, Intermediate: 352, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 3001, Context: 32}
	kldSpec  = modeltest.Spec{Hidden: 96, Intermediate: 200, Layers: 2, Heads: 3, KVHeads: 3, HeadDim: 32, Vocab: 3001, Context: 32, Tied: true}
)

// Two models of other depths and widths, on every tier; in batches of other sizes, with states on the device, on the host and in files.
func TestKLD(t *testing.T) {
	base, baseDir := baseSpec.Open(t)
	m, dir := kldSpec.Open(t)
	windows := modeltest.Windows(baseSpec.Vocab, 9, 17)
	want := divergences(oracle(t, baseDir), oracle(t, dir), windows)
	var first [][]run.Divergence
	check := func(t *testing.T, d *vk.Device, o run.Options) [][]run.Divergence {
		done := 0
		k, err := eval.RunKLD(t.Context(), d, m, base, windows, o, func(n, total int) {
			if done++; n != done || total != 5 {
				t.Errorf("%d of %d layers, want %d of 5", n, total, done)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if done != 5 || k.Windows != 9 || k.TokensScored != 9*16 {
			t.Errorf("%d layers, %d windows, %d tokens", done, k.Windows, k.TokensScored)
		}
		near(t, k.Tokens, want, 1e-3)
		return k.Tokens
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) { check(t, d, run.Options{}) })
	for _, c := range []struct {
		name   string
		memory int64
		o      run.Options
		files  bool
	}{
		{"plain", 0, run.Options{}, false}, {"one window at a time", 0, run.Options{BatchTokens: 17}, false},
		{"host", 0, run.Options{BatchTokens: 60, StatesOnHost: true}, false}, {"small", 2600 << 10, run.Options{}, false},
		{"files", 2600 << 10, run.Options{StatesOnHost: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := vktest.Open(t, vk.Options{MaxMemory: c.memory})
			if c.files {
				c.o.Host = &states.HostMemory{Limit: math.MaxInt64, Dir: t.TempDir()}
				f, err := run.NewWith(d, base, windows, c.o)
				if err != nil {
					t.Fatal(err)
				}
				s := c.o.Host.Stats()
				c.o.Host.Limit = s.Base + 2*s.Reserved // two models' runs, and no states beside them
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			got := check(t, d, c.o)
			if c.files && c.o.Host.Stats().Spilled == 0 {
				t.Error("no states went to files")
			}
			if first == nil {
				first = got
			}
			if !slices.EqualFunc(got, first, slices.Equal[[]run.Divergence]) {
				t.Error("other bits than with all memory")
			}
			vktest.Clean(t)
		})
	}
}

// Forwards whose batches differ give the bits that those give whose batches are the same, whichever of the two are larger.
func TestDivergencesOfOtherBatches(t *testing.T) {
	base, _ := baseSpec.Open(t)
	m, _ := kldSpec.Open(t)
	windows := modeltest.Windows(baseSpec.Vocab, 9, 17)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		through := func(m *model.Model, batch int) *run.Forward {
			f, err := run.NewWith(d, m, windows, run.Options{BatchTokens: 17 * batch, StatesOnHost: batch == 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
			if err := f.Run(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
			return f
		}
		var first [][]run.Divergence
		for _, c := range [][2]int{{3, 3}, {2, 3}, {4, 1}, {2, 9}} {
			got, err := run.Divergences(t.Context(), through(m, c[0]), m, through(base, c[1]), base)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = got
			}
			if !slices.EqualFunc(got, first, slices.Equal[[]run.Divergence]) {
				t.Errorf("batches of %d and %d windows change the bits", c[0], c[1])
			}
		}
	})
}

// A model differs from itself by nothing at all.
func TestKLDItself(t *testing.T) {
	base, dir := baseSpec.Open(t)
	again, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	windows := modeltest.Windows(baseSpec.Vocab, 5, 17)
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		k, err := eval.RunKLD(t.Context(), d, again, base, windows, run.Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		one, zero := eval.Estimate{Value: 1}, eval.Estimate{}
		if k.KL != zero || k.KLQuantiles != (eval.Quantiles{}) || k.SameTop != one || k.Ratio != one || k.LogRatio != zero || k.Difference != zero ||
			k.DeltaP != zero || k.RMSDeltaP != zero || k.DeltaPQuantiles != (eval.Quantiles{}) || k.Correlation != 1 || k.Perplexity != k.BasePerplexity {
			t.Errorf("%+v", k)
		}
	})
}

// Weights perturbed by a thousandth make divergences of some 1e-6 nats, which must be good to 1 %.
func TestKLDSmall(t *testing.T) {
	spec := baseSpec
	spec.DType = dtype.F32
	base, dir := spec.Open(t)
	path := filepath.Join(t.TempDir(), "perturbed")
	perturb(t, dir, path)
	m, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	windows := modeltest.Windows(spec.Vocab, 5, 17)
	want := divergences(oracle(t, dir), oracle(t, path), windows)
	sum := 0.0
	for _, w := range slices.Concat(want...) {
		sum += w.KL / float64(5*16)
	}
	if !(sum > 1e-8 && sum < 1e-4) {
		t.Fatalf("the mean divergence is %g: not what this test is for", sum)
	}
	t.Logf("mean divergence %.3g", sum)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		k, err := eval.RunKLD(t.Context(), d, m, base, windows, run.Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		near(t, k.Tokens, want, 0.01)
		if math.Abs(k.KL.Value/sum-1) > 0.001 {
			t.Errorf("mean divergence %g, want %g", k.KL.Value, sum)
		}
	})
}

// perturb copies a model of f32 weights, each up or down by a thousandth.
func perturb(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "model.safetensors")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := 8 + int(raw[0]) + int(raw[1])<<8 + int(raw[2])<<16
	values := make([]float32, (len(raw)-header)/4)
	dtype.F32.Decode(values, raw[header:])
	for i := range values {
		values[i] *= 1 + 0.001*float32(2*(i*2654435761>>7&1)-1)
	}
	dtype.F32.Encode(raw[header:], values)
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestKLDRefuses(t *testing.T) {
	base, _ := baseSpec.Open(t)
	other := baseSpec
	other.Vocab = 3002
	m, _ := other.Open(t)
	d := vktest.Open(t, vk.Options{})
	windows := modeltest.Windows(baseSpec.Vocab, 2, 9)
	_, err := eval.RunKLD(t.Context(), d, m, base, windows, run.Options{}, nil)
	if err == nil || !strings.Contains(err.Error(), "vocabulary of 3002 tokens") {
		t.Errorf("other vocabulary: %v", err)
	}
	one, dir := baseSpec.Open(t)
	two, otherDir := baseSpec.Open(t)
	for i, dir := range []string{dir, otherDir} {
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte{'{', byte('0' + i), '}'}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = eval.RunKLD(t.Context(), d, one, two, windows, run.Options{}, nil); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("other tokenizer: %v", err)
	}
	if _, err = eval.RunKLD(t.Context(), d, base, base, modeltest.Windows(baseSpec.Vocab, 1, 2), run.Options{}, nil); err == nil || !strings.Contains(err.Error(), "two tokens") {
		t.Errorf("one token: %v", err)
	}
}
