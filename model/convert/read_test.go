package convert

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/modeltest"
)

// TestRead writes models as GGUF and reads them back: weights, positions and ids are those of the folder.
func TestRead(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), g.Name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			g.write(t, dir)
			want := modeltest.Open(t, dir)
			for _, kind := range []gguf.Type{gguf.F32, gguf.BF16} {
				path := filepath.Join(t.TempDir(), "m.gguf")
				if _, err := GGUF(context.Background(), want, path, Options{Type: kind}); err != nil {
					t.Fatal(err)
				}
				got := modeltest.Open(t, path)
				compareWeights(t, got, want)
				compareConfigs(t, got.Config, want.Config)
				compareIDs(t, g, got, want)
			}
		})
	}
}

// compareWeights wants the same values, of a model in BF16: a vector that the file has as F32 too.
func compareWeights(t *testing.T, got, want *model.Model) {
	t.Helper()
	read := func(w model.Weight) []float32 {
		return modeltest.Floats(t, w)
	}
	others := want.AllWeights()
	for i, w := range got.AllWeights() {
		if a, b := read(w), read(others[i]); !slices.Equal(a, b) {
			t.Errorf("%s of %v and %s of %v differ", w.Name, w.DType, others[i].Name, others[i].DType)
		}
		if others[i].DType != dtype.BF16 && !others[i].IsZero() {
			t.Errorf("%s is %v: what is compared must be BF16", others[i].Name, others[i].DType)
		}
	}
}

func compareConfigs(t *testing.T, got, want *arch.Config) {
	t.Helper()
	if got.Layers != want.Layers || got.HeadDim != want.HeadDim || got.TieWordEmbeddings != want.TieWordEmbeddings || got.RMSNormEps != want.RMSNormEps ||
		got.MaxPositionEmbeddings != want.MaxPositionEmbeddings || got.OutputBias != want.OutputBias {
		t.Errorf("config %s\nexpected %s", got.JSON(), want.JSON())
	}
	if !reflect.DeepEqual(got.Recipe, want.Recipe) || !reflect.DeepEqual(got.Mixture, want.Mixture) {
		t.Errorf("it computes %+v with %+v, expected %+v with %+v", got.Recipe, got.Mixture, want.Recipe, want.Mixture)
	}
	for l := range want.Layers {
		if got.Rotary(l) != want.Rotary(l) {
			t.Errorf("layer %d has rotary positions: %v", l, got.Rotary(l))
		}
	}
	const positions = 40
	for _, length := range []int{positions, want.MaxPositionEmbeddings} {
		a, b := got.RopeTable(arch.GlobalRope, positions, length), want.RopeTable(arch.GlobalRope, positions, length)
		for i := range b {
			// The file has factors in single precision, and llama3's as the converter rounds them: at 40 positions, up to 40 times 1e-6.
			if len(a) != len(b) || math.Abs(float64(a[i]-b[i])) > 5e-5 {
				t.Fatalf("position %d in %d tokens: %v, expected %v", i/want.HeadDim, length, a[i], b[i])
			}
		}
	}
}

// compareIDs compares ids of texts, with special tokens in them too. The converter makes a special token of all that looks like one, <|word|>
// among them; and it does not read the special tokens of a tokenizer.model, nor that GPT-2's class has no use for add_bos_token.
func compareIDs(t *testing.T, g golden, got, want *model.Model) {
	t.Helper()
	a, err := got.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if g.files["tokenizer_config.json"] != gptConfig && g.tokenizer != "sp_bytes.model" {
		x, xOK := a.EOS()
		if y, yOK := b.EOS(); x != y || xOK != yOK || !slices.Equal(a.Prefix(), b.Prefix()) {
			t.Errorf("EOS %d, expected %d; a text begins with %v, expected %v", x, y, a.Prefix(), b.Prefix())
		}
	}
	texts := []string{"", "The cat sat on the mat.", " it's 12345 + 3 = ?\n\n  x\t\tü 你好 🙂", "<|im_start|>user\nhello<|im_end|>end"}
	if g.base != "phi3" && g.base != "phi3-long" { // whose special tokens take what white space follows, as llama.cpp has it
		texts = append(texts, "<|im_start|> user<|im_end|> <|word|>  end")
	}
	for _, text := range texts {
		if x, y := must(a.EncodeSpecial(text)), must(b.EncodeSpecial(text)); !slices.Equal(x, y) {
			t.Errorf("%q: ids %v, expected %v", text, x, y)
		}
	}
	for _, text := range texts[:4] {
		if x, y := must(a.Encode(text)), must(b.Encode(text)); !slices.Equal(x, y) {
			t.Errorf("%q as plain text: ids %v, expected %v", text, x, y)
		}
	}
}

// A tokenizer of bytes has no merges: the file has an empty list of them, which llama.cpp wants, and is read back.
func TestReadBytes(t *testing.T) {
	s, err := modeltest.Named("llama")
	if err != nil {
		t.Fatal(err)
	}
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "m.gguf")
	s.Write(t, dir)
	want := modeltest.Open(t, dir)
	if _, err := GGUF(context.Background(), want, path, Options{Type: gguf.F32}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v, ok := f.Value("tokenizer.ggml.merges"); !ok || !reflect.DeepEqual(v, []string{}) {
		t.Errorf("tokenizer.ggml.merges is %v", v)
	}
	got, err := modeltest.Open(t, path).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	own, err := want.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	const text = "The cat sat, ü 你好"
	if a, b := must(got.Encode(text)), must(own.Encode(text)); !slices.Equal(a, b) || len(a) < len(text) {
		t.Errorf("ids %v, expected %v", a, b)
	}
}

// must gives what cannot fail here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
