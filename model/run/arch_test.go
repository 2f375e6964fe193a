package run_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestTransformers compares the reference and every device with the logits of transformers: see testdata/arch/README.md.
func TestTransformers(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/arch/logits.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Arch   string
		DType  string
		SHA256 string
		Tokens []uint32
		Logits []float64
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != len(modeltest.Names()) {
		t.Errorf("logits of %d architectures, there are %d", len(cases), len(modeltest.Names()))
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range cases {
			spec, err := modeltest.Named(c.Arch)
			if err != nil {
				t.Fatal(err)
			}
			spec.Vocab = 61
			for _, dt := range dtype.All {
				if strings.EqualFold(dt.String(), c.DType) {
					spec.DType = dt
				}
			}
			m, dir := spec.Open(t)
			weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(weights); hex.EncodeToString(sum[:]) != c.SHA256 {
				t.Fatalf("%s: the model's weights have SHA-256 %x, the logits are of %s: make them again", c.Arch, sum, c.SHA256)
			}
			oracle, err := ref.LoadModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			near := func(got []float32) {
				t.Helper()
				vktest.Near(t, got, c.Logits, "model logits", c.DType)
			}
			all, last := oracle.Logits(toInts(c.Tokens)), make([]float32, spec.Vocab)
			for i, v := range all.Row(all.Rows - 1) {
				last[i] = float32(v)
			}
			near(last)
			g, err := generate.New(d, m, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Feed(t.Context(), c.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			near(got)
			if t.Failed() {
				t.Fatalf("in %s", c.Arch)
			}
		}
	})
}

// write writes a spec, changed, and opens it.
func write(t *testing.T, spec modeltest.Spec) (*model.Model, string, error) {
	t.Helper()
	dir := t.TempDir()
	spec.Write(t, dir)
	m, err := model.Open(dir)
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, dir, err
}

// What a checkpoint stores of a head that is tied, or is not, stays as it is.
func TestTied(t *testing.T) {
	heads := func(spec modeltest.Spec) string {
		t.Helper()
		m, _, err := write(t, spec)
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		if err := m.Write(t.Context(), out, 0); err != nil {
			t.Fatal(err)
		}
		again, err := model.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if again.Config.TieWordEmbeddings != spec.Tied || again.Parameters() != m.Parameters() || again.Bytes() != m.Bytes() {
			t.Errorf("%+v: %d parameters, tied: %v, became %d, tied: %v", spec, m.Parameters(), spec.Tied, again.Parameters(), again.Config.TieWordEmbeddings)
		}
		raw, err := os.ReadFile(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return map[bool]string{true: "head", false: "no head"}[bytes.Contains(raw, []byte("lm_head.weight"))]
	}
	for _, name := range []string{"qwen2", "opt"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.Tied, spec.Vocab = true, 61
		stored, untied := spec, spec
		stored.StoredHead, untied.Tied = true, false
		for _, c := range []struct {
			spec modeltest.Spec
			want string
		}{{spec, "no head"}, {stored, "no head"}, {untied, "head"}} {
			if got := heads(c.spec); got != c.want {
				t.Errorf("%s, tied %v, stored %v: the output has %s, want %s", name, c.spec.Tied, c.spec.StoredHead, got, c.want)
			}
		}
		// An untied checkpoint whose config says that it is tied.
		dir, other := t.TempDir(), t.TempDir()
		stored.Write(t, dir)
		untied.Write(t, other)
		if err := os.Rename(filepath.Join(other, "model.safetensors"), filepath.Join(dir, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
		if _, err := model.Open(dir); err == nil || !strings.Contains(err.Error(), "set tie_word_embeddings to false") {
			t.Errorf("%s: a tied head that is another: %v", name, err)
		}
	}
}

// Norms may be of another dtype than the matrices beside them; what one operation reads as one dtype is converted to the wider one, and its
// values are those of the file.
func TestMixedDTypes(t *testing.T) {
	spec, err := modeltest.Named("opt")
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab, spec.DType, spec.NormsF32 = 61, dtype.BF16, true
	m, _, err := write(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	l := m.Layers[0].Weights
	if l[arch.InputNorm].DType != dtype.F32 || l[arch.Q].DType != dtype.BF16 || m.Top[arch.FinalNorm].DType != dtype.F32 {
		t.Errorf("norms are %v and %v, matrices %v", l[arch.InputNorm].DType, m.Top[arch.FinalNorm].DType, l[arch.Q].DType)
	}
	for _, c := range []struct {
		name string
		role arch.Role
		want string
	}{
		{"model.decoder.layers.2.self_attn.k_proj.weight", arch.Q, "model.decoder.layers.2.self_attn.q_proj.weight from BF16 to F32"},
		{"model.decoder.layers.2.fc1.bias", arch.Up, "model.decoder.layers.2.fc1.weight from BF16 to F32"},
		{"model.decoder.layers.2.self_attn_layer_norm.bias", arch.InputNorm, "model.decoder.layers.2.self_attn_layer_norm.weight from BF16 to F32"},
	} {
		odd, plain := spec, spec
		odd.NormsF32, odd.Wide, plain.NormsF32 = false, c.name, false
		got, _, err := write(t, odd)
		if err != nil {
			t.Fatal(err)
		}
		was, _, err := write(t, plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range got.Layers { // a merge may put layers side by side
			if l.Weights[c.role].DType != dtype.F32 {
				t.Errorf("%s in F32: another layer's is %v", c.name, l.Weights[c.role].DType)
			}
		}
		narrow, wide := was.Layers[2].Weights[c.role], got.Layers[2].Weights[c.role]
		values, want := modeltest.Floats(t, wide), modeltest.Floats(t, narrow)
		if wide.DType != dtype.F32 || !slices.Equal(values, want) || !slices.Contains(got.Converted, c.want) {
			t.Errorf("%s in F32: %v of %v, converted %q", c.name, wide.DType, values[:3], got.Converted)
		}
	}
}
