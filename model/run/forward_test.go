package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

func toInts(w []uint32) []int {
	out := make([]int, len(w))
	for i, v := range w {
		out[i] = int(v)
	}
	return out
}

// through takes three windows through a model of the spec and loads its reference.
func through(t *testing.T, d *vk.Device, spec modeltest.Spec) (*model.Model, *ref.Model, *run.Forward, [][]uint32) {
	t.Helper()
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.Windows(spec.Vocab, 3, 33)
	f, err := run.New(d, m, windows)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	return m, oracle, f, windows
}

func TestForward(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for name, spec := range modeltest.Odd {
			m, oracle, f, windows := through(t, d, spec)
			loss, err := f.Loss(t.Context(), m)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, w := range windows {
				vktest.Near(t, loss[i], oracle.NLL(toInts(w)), "model loss", spec.DType.String())
			}
			err = f.Logits(t.Context(), m, func(i int, logits []float32) error {
				vktest.Near(t, logits, oracle.Logits(toInts(windows[i])).Data, "model logits", spec.DType.String())
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Fatalf("in %s", name)
			}
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

// lossesUnder runs a model with some memory limit, binding limit or staging and returns its losses.
func lossesUnder(t *testing.T, o vk.Options, m *model.Model, windows [][]uint32) [][]float32 {
	t.Helper()
	d := vktest.Open(t, o)
	f, err := run.New(d, m, windows)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if s := d.Memory(); s.Used != 0 || o.MaxMemory > 0 && s.Peak > o.MaxMemory {
			t.Errorf("%+v: %+v", o, s)
		}
	}()
	if err := f.Run(t.Context(), m, nil); err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	loss, err := f.Loss(t.Context(), m)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return loss
}

// TestForwardUnderLimits gets the same bits whatever the memory: batches, spilled states, streamed weights, tiles of the LM head, and
// bindings of 1 MiB split nothing that changes an order of additions.
func TestForwardUnderLimits(t *testing.T) {
	spec := modeltest.Spec{Hidden: 128, Intermediate: 320, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 5003, Context: 128, DType: dtype.BF16}
	m, _ := spec.Open(t)
	windows := modeltest.Windows(spec.Vocab, 12, 65)
	want := lossesUnder(t, vk.Options{}, m, windows)
	for _, o := range []vk.Options{{MaxMemory: 3 << 20}, {StorageRange: 1 << 20}, {Staging: true}, {MaxMemory: 3 << 20, StorageRange: 1 << 20, Staging: true}} {
		if got := lossesUnder(t, o, m, windows); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: other losses: %v…, want %v…", o, got[0][:4], want[0][:4])
		}
	}
	few := lossesUnder(t, vk.Options{}, m, windows[5:7])
	if fmt.Sprint(few) != fmt.Sprint(want[5:7]) {
		t.Error("the losses of a window depend on which others run beside it")
	}
}

func TestForwardRefuses(t *testing.T) {
	spec := modeltest.Odd["llama"]
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	for _, c := range []struct {
		windows [][]uint32
		want    string
	}{
		{nil, "no tokens"}, {[][]uint32{{}}, "no tokens"}, {[][]uint32{{1, 2}, {3}}, "window 1 has 1 tokens"},
		{[][]uint32{{1, 97}}, "token 97"}, {modeltest.Windows(97, 1, 65), "max_position_embeddings 64"},
	} {
		if _, err := run.New(d, m, c.windows); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: want %q", err, c.want)
		}
	}
	small := vktest.Open(t, vk.Options{MaxMemory: 64 << 10})
	if _, err := run.New(small, m, modeltest.Windows(97, 1, 64)); err == nil || !strings.Contains(err.Error(), "vk.Options.MaxMemory") {
		t.Errorf("64 KiB of memory: %v", err)
	}
	if _, err := generate.New(d, m, 65); err == nil {
		t.Error("a generator beyond the context")
	}
}

// boundary reads the states at a boundary, batch by batch.
func boundary(t *testing.T, d *vk.Device, f *run.Forward, l int) []byte {
	t.Helper()
	var all []byte
	err := f.States().Visit(t.Context(), l, func(_ int, x op.Tensor) error {
		if err := f.Recorder().Wait(t.Context()); err != nil {
			return err
		}
		raw := make([]byte, x.Size())
		all = append(all, raw...)
		return d.Download(t.Context(), all[len(all)-len(raw):], x.View)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLastTokens gets the bits of the whole layer, of every architecture and from batches of one window on, as do layers that run for
// some batches at a time.
func TestLastTokens(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for name, spec := range modeltest.Odd {
			m, _ := spec.Open(t)
			windows := modeltest.Windows(spec.Vocab, 7, 33)
			for _, o := range []run.Options{{}, {BatchTokens: 1, KeepWeights: true}, {BatchTokens: 66}, {BatchTokens: 132, KeepWeights: true}} {
				f, err := run.NewWith(d, m, windows, o)
				if err != nil {
					t.Fatal(err)
				}
				last := len(m.Layers) - 1
				if err := f.Embed(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				for l := range last {
					if err := f.Layer(t.Context(), m, l, nil); err != nil {
						t.Fatal(err)
					}
				}
				buf, err := d.NewBuffer("last tokens", int64(4*len(windows)*spec.Hidden), vk.OnDevice)
				if err != nil {
					t.Fatal(err)
				}
				out := op.Of(buf.All(), dtype.F32, len(windows), spec.Hidden)
				gather := func(s run.Step) error {
					op.GatherRows(f.Recorder(), out, s.Batch.Begin, s.Out, s.Ends)
					return nil
				}
				read := func(err error) []byte {
					if err := errors.Join(err, f.Wait(t.Context())); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					raw := make([]byte, out.Size())
					if err := d.Download(t.Context(), raw, out.View); err != nil {
						t.Fatal(err)
					}
					return raw
				}
				var batches []int
				for i := range f.Corpus.Batches {
					batches = append(batches, i)
				}
				before := f.Stats().Passes
				got := read(f.LastTokens(t.Context(), m, last, batches, gather))
				if share := f.Stats().Passes - before; !(share > 0 && share < 0.7) {
					t.Errorf("%s: the last tokens took %v of a layer", name, share)
				}
				if f.States().Has(last + 1) {
					t.Errorf("%s: the last tokens made a boundary", name)
				}
				for begin := 0; begin < len(batches); begin += 2 {
					if err := f.LayerOn(t.Context(), m, last, batches[begin:min(begin+2, len(batches))], nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				parts := boundary(t, d, f, last+1)
				if err := f.Layer(t.Context(), m, last, gather); err != nil {
					t.Fatal(err)
				}
				if want := read(nil); !bytes.Equal(got, want) {
					t.Errorf("%s, %+v: the last tokens have other bits", name, o)
				}
				if !bytes.Equal(parts, boundary(t, d, f, last+1)) {
					t.Errorf("%s, %+v: some batches at a time have other bits", name, o)
				}
				var size int64
				for _, l := range m.Layers {
					size += l.Bytes()
				}
				if s := f.Stats(); o.KeepWeights && (s.Uploaded < size || s.Uploaded > size+256*int64(arch.LayerRoles)*int64(len(m.Layers))) {
					t.Errorf("%s: %d bytes of weights went to the device, the model has %d", name, s.Uploaded, size)
				}
				d.Free(buf)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

// TestWeightsStream counts the bytes that go to the device: all of a model's once where they stay, and once for each run where not.
func TestWeightsStream(t *testing.T) {
	spec := modeltest.Spec{Hidden: 128, Intermediate: 320, Layers: 6, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 50, Context: 64, DType: dtype.F32}
	m, _ := spec.Open(t)
	size := m.Layers[0].Bytes() * int64(len(m.Layers)) // a multiple of any alignment
	for _, c := range []struct {
		limit int64
		keeps bool
		want  int64
	}{{0, true, size}, {3 << 20, false, 3*size - 2*2*m.Layers[0].Bytes()}} {
		d := vktest.Open(t, vk.Options{MaxMemory: c.limit})
		f, err := run.NewWith(d, m, modeltest.Windows(50, 4, 32), run.Options{KeepWeights: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := f.Run(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
		}
		if s := f.Stats(); f.Keeps() != c.keeps || s.Uploaded < c.want || s.Uploaded > 3*size || c.keeps && s.Uploaded != size {
			t.Errorf("%s of memory: weights stay: %v, %d bytes went to the device, want %v and %d", vk.Bytes(c.limit), f.Keeps(), s.Uploaded, c.keeps, c.want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNonFiniteStates names the layer and the operation that makes the first NaN or infinity, though all weights are finite.
func TestNonFiniteStates(t *testing.T) {
	llama := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}
	opt := modeltest.Spec{Architecture: "OPTForCausalLM", Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 8, Vocab: 50, Context: 32, Tied: true, AttentionBias: true,
		DType: dtype.BF16}
	big := func(w model.Weight) model.Weight { // 2^127 everywhere, which overflows at once
		w.Data = bytes.Clone(modeltest.Bytes(t, w))
		for i := 0; i < len(w.Data); i += 2 {
			w.Data[i], w.Data[i+1] = 0x00, 0x7f
		}
		return w
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			spec  modeltest.Spec
			part  arch.Role
			layer int
			want  string
		}{
			{llama, arch.Q, 0, "self_attn.q_proj"}, {llama, arch.V, 3, "self_attn.v_proj"}, {llama, arch.O, 1, "self_attn.o_proj"}, {llama, arch.Up, 2, "mlp.up_proj"},
			{llama, arch.Down, 1, "mlp.down_proj"}, {llama, arch.PostNorm, 2, "post_attention_layernorm"},
			{opt, arch.V, 0, "self_attn.v_proj"}, {opt, arch.O, 1, "self_attn.out_proj"}, {opt, arch.Up, 2, "fc1"}, {opt, arch.Down, 1, "fc2"},
			{opt, arch.PostNorm, 2, "final_layer_norm"},
		} {
			m, _ := c.spec.Open(t)
			broken := &model.Layer{Weights: m.Layers[c.layer].Weights}
			broken.Weights[c.part] = big(broken.Weights[c.part])
			m.Layers[c.layer] = broken
			for _, o := range []run.Options{{}, {BatchTokens: 32, KeepWeights: true}} {
				f, err := run.NewWith(d, m, modeltest.Windows(50, 5, 16), o)
				if err != nil {
					t.Fatal(err)
				}
				err = f.Run(t.Context(), m, nil)
				var found *run.NonFiniteError
				if !errors.As(err, &found) || found.Layer != c.layer || found.Op != c.want || found.Count == 0 || found.Count > found.Of {
					t.Errorf("%s of layer %d overflows: %v", c.want, c.layer, err)
				} else if text := fmt.Sprintf("layer %d: %s output: %d of %d values are NaN or infinite", c.layer, c.want, found.Count, found.Of); !strings.Contains(err.Error(), text) {
					t.Errorf("%v, want %q", err, text)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			scorer, err := run.NewScorer(d, m, run.ScorerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			err = scorer.Score(t.Context(), [][]run.Sequence{{{Tokens: modeltest.Windows(50, 1, 17)[0], Scored: 2}}}, func(int, []run.Score) error { return nil })
			var spoiled *run.NonFiniteError
			if !errors.As(err, &spoiled) || spoiled.Layer != c.layer || spoiled.Op != c.want || !strings.Contains(err.Error(), "(batches of sequences 0 to 0)") {
				t.Errorf("scoring, %s of layer %d overflows: %v", c.want, c.layer, err)
			}
			if err := scorer.Close(); err != nil {
				t.Error(err)
			}
			if c.part == arch.Q {
				continue // attention.comp hides NaN queries from the logits, all that a Generator looks at
			}
			g, err := generate.New(d, m, 16)
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Feed(t.Context(), modeltest.Windows(50, 1, 7)[0])
			var found *run.NonFiniteError
			if !errors.As(err, &found) || found.Layer != c.layer || found.Op != c.want || !strings.Contains(err.Error(), "the logit of token") {
				t.Errorf("generating, %s of layer %d overflows: %v", c.want, c.layer, err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

// TestNonFiniteWeights names the tensor whose weights are not numbers.
func TestNonFiniteWeights(t *testing.T) {
	spec := modeltest.Odd["llama"]
	d := vktest.Open(t, vk.Options{})
	for _, c := range []struct {
		name, want string
		data       func(m *model.Model) []byte
	}{
		{"model.layers.1.mlp.up_proj.weight", "1 of 5376", func(m *model.Model) []byte { return modeltest.Bytes(t, m.Layers[1].Weights[arch.Up]) }},
		{"model.norm.weight", "1 of 48", func(m *model.Model) []byte { return modeltest.Bytes(t, m.Top[arch.FinalNorm]) }},
		{"model.embed_tokens.weight", "1 of ", func(m *model.Model) []byte { return modeltest.Bytes(t, m.Top[arch.Embed])[5*2*48:] }}, // token 5
	} {
		dir := t.TempDir()
		spec.Write(t, dir)
		path := dir + "/model.safetensors"
		m, err := model.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(raw), string(c.data(m)[:96]))
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		raw[at], raw[at+1] = 0xc0, 0x7f // a bf16 NaN
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if m, err = model.Open(dir); err != nil {
			t.Fatal(err)
		}
		f, err := run.New(d, m, [][]uint32{{1, 5, 3, 2, 5, 7}})
		if err == nil {
			err = f.Run(t.Context(), m, nil)
			if closeErr := f.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want the name of %s and %q values", err, c.name, c.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestForwardCancelled(t *testing.T) {
	spec := modeltest.Odd["llama"]
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	f, err := run.New(d, m, modeltest.Windows(97, 4, 32))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = f.Run(ctx, m, func(done, total int) { cancel() })
	if err == nil || ctx.Err() == nil {
		t.Errorf("a cancelled run gave %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if used := d.Memory().Used; used != 0 {
		t.Errorf("%d bytes left on the device", used)
	}
}

// asGPU is the best device, taken for a GPU: it then runs the kernels that GPUs run.
func asGPU(t *testing.T) *vk.Device {
	d, err := vk.Open(vk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.Info.Kind = vk.Discrete
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// What a GPU runs is right on devices that are none, with cooperative matrices where they have them.
func TestForwardAsGPU(t *testing.T) {
	d := asGPU(t)
	spec := modeltest.Spec{Hidden: 64, Intermediate: 120, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 24, Vocab: 97, Context: 64, DType: dtype.F16}
	m, oracle, f, windows := through(t, d, spec)
	defer f.Close()
	tolerance := "model logits"
	if op.LinearScratch(d, spec.DType) {
		tolerance = "model logits of f16"
	}
	err := f.Logits(t.Context(), m, func(i int, logits []float32) error {
		vktest.Near(t, logits, oracle.Logits(toInts(windows[i])).Data, tolerance, spec.DType.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	vktest.Clean(t)
}
