package ref

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// The goldens are what PyTorch in float32 and the authors' code gave for tiny12.
const (
	goldens = "../../testdata/golden"
	window  = 128 // the length that they cut their tokens into
)

var full = flag.Bool("full", false, "compare every variant of CoMe to its end, with its perplexity: two minutes on two cores")

// golden reads one of the files.
func golden[T any](t testing.TB, name string) (v T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldens, name))
	if err != nil {
		t.Fatal(err)
	}
	// Python wrote the SBI of an excluded window as Infinity, which JSON does not have.
	if err := json.Unmarshal(bytes.ReplaceAll(text, []byte("Infinity"), []byte("-1")), &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// tiny12 is the embedded model, loaded once for all tests, which only read it.
func tiny12(t testing.TB) *Model {
	t.Helper()
	m, err := unpacked()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var unpacked = sync.OnceValues(func() (*Model, error) {
	const from = "../embedded/tiny12"
	dir, err := os.MkdirTemp("", "tiny12")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	packed, err := os.ReadFile(filepath.Join(from, "model.safetensors.zst"))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	weights, err := decoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	return LoadModel(dir)
})

// dense is tiny12 calibrated, once for all tests.
func dense(t testing.TB) Pruned {
	t.Helper()
	m, tokens := tiny12(t), golden[[]int](t, "calib_tokens.json")
	calibrated.Do(func() { calibrated.Pruned = Start(m, Windows(tokens, window)) })
	return calibrated.Pruned
}

var calibrated struct {
	sync.Once
	Pruned
}

// near fails where got is further from want than tolerance·|want|, and logs the largest distance.
func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	worst := 0.0
	for i, w := range want {
		off := math.Abs(got[i]-w) / math.Abs(w)
		if !(off <= tolerance) {
			t.Errorf("%s[%d]: %.9g, want %.9g (off by %.1e, tolerance %.0e)", what, i, got[i], w, off, tolerance)
		}
		worst = max(worst, off)
	}
	t.Logf("%s: off by at most %.1e, tolerance %.0e", what, worst, tolerance)
}

func TestGoldenLogits(t *testing.T) {
	want := golden[struct {
		Tokens    []int
		Positions []int
		Logits    [][]float64
	}](t, "logits.json")
	got := GatherRows(tiny12(t).Logits(want.Tokens), want.Positions)
	worst := 0.0
	for i, logits := range want.Logits {
		for v, w := range logits {
			worst = max(worst, math.Abs(got.At(i, v)-w))
		}
	}
	if t.Logf("off by at most %.1e", worst); !(worst < 1e-11) { // float64 against float64: only the order of sums differs
		t.Errorf("logits off by %.1e", worst)
	}
}

func TestGoldenGenerate(t *testing.T) {
	for _, c := range golden[[]struct {
		Prompt string
		Tokens []int `json:"prompt_tokens"`
		New    []int `json:"new_tokens"`
	}](t, "generate.json") {
		if got := tiny12(t).Generate(c.Tokens, len(c.New)); !slices.Equal(got, c.New) {
			t.Errorf("%q:\n got %v\nwant %v", c.Prompt, got, c.New)
		}
	}
}

func TestGoldenPerplexity(t *testing.T) {
	want := golden[struct{ Dense struct{ PPL float64 } }](t, "expected.json").Dense.PPL
	windows := Windows(golden[[]int](t, "eval_tokens.json"), window)
	near(t, "perplexity", []float64{tiny12(t).Perplexity(windows)}, []float64{want}, 1e-4)
}

func TestGoldenScores(t *testing.T) {
	want := golden[struct {
		Dense struct {
			CalibLoss float64 `json:"calib_loss"`
		}
		Scores struct {
			BI        []float64   `json:"bi_sum_over_layers"` // over tokens, divided by the number of layers
			SBI       []float64   `json:"sbi_last_token"`     // over windows, divided by the number of SBIs
			HeadGroup [][]float64 `json:"head_group"`
			Neuron0   []float64   `json:"neuron_layer0_first16"`
			Neuron7   []float64   `json:"neuron_layer7_first16"`
			NeuronSum []float64   `json:"neuron_sum"`
		}
	}](t, "expected.json")
	p := dense(t)
	got := p.Calibration.Scores(2)
	layers, windows := float64(len(got.BI)), float64(len(p.Calibration.windows))
	var neuronSum []float64
	for _, s := range got.Neurons {
		neuronSum = append(neuronSum, mean(s)*float64(len(s)))
	}
	const tolerance = 1e-4 // the goldens' float32
	near(t, "calibration loss", []float64{p.Calibration.Loss()}, []float64{want.Dense.CalibLoss}, tolerance)
	near(t, "BI", scaled(got.BI, windows*window/layers), want.Scores.BI, tolerance)
	near(t, "SBI", scaled(got.SBI, windows/float64(len(got.SBI))), want.Scores.SBI, tolerance)
	near(t, "head groups", slices.Concat(got.HeadGroups...), slices.Concat(want.Scores.HeadGroup...), tolerance)
	near(t, "neurons of layer 0", got.Neurons[0][:16], want.Scores.Neuron0, tolerance)
	near(t, "neurons of layer 7", got.Neurons[7][:16], want.Scores.Neuron7, tolerance)
	near(t, "sums of neurons", neuronSum, want.Scores.NeuronSum, tolerance)
}

func scaled(x []float64, by float64) []float64 {
	y := make([]float64, len(x))
	view(x).Mul(view(y), by)
	return y
}

// TestGoldenCoMe follows plain CoMe down to 8 layers, and with -full the other variants too; else they take one step.
func TestGoldenCoMe(t *testing.T) {
	eval := Windows(golden[[]int](t, "eval_tokens.json"), window)
	for _, c := range []struct {
		name   string // of the golden, with a %d where a target stands
		depths []int  // each pruned on from the one before
		o      Options
	}{
		{"come_%d", []int{10, 9, 8}, Options{}},
		{"come_reference_compat_%d", []int{10, 9, 8}, Options{TiledMask: true}},
		{"come_%d_repeat", []int{8}, Options{Repeat: true}},
		{"come_%d_psu2_min0.8", []int{8}, Options{RatioPower: 2, RatioFloor: 0.8}},
	} {
		p := dense(t)
		for _, depth := range c.depths {
			name := fmt.Sprintf(c.name, depth)
			t.Run(name, func(t *testing.T) {
				var want variant
				if err := json.Unmarshal(golden[map[string]json.RawMessage](t, "expected.json")[name], &want); err != nil {
					t.Fatal(err)
				}
				c.o.TargetLayers = depth
				if !*full && c.name != "come_%d" {
					got, _, err := p.step(c.o)
					if err != nil {
						t.Fatal(err)
					}
					compareSteps(t, []Step{got}, want.Steps[:1])
					return
				}
				var err error
				if p, err = p.CoMe(c.o); err != nil {
					t.Fatal(err)
				}
				tree, err := json.Marshal(p.Tree)
				if got := strings.ReplaceAll(string(tree), ",", " "); err != nil || got != fmt.Sprint(want.Tree) {
					t.Errorf("tree %s, want %v (%v)", got, want.Tree, err)
				}
				compareSteps(t, p.Steps, want.Steps)
				near(t, "calibration loss", []float64{p.Calibration.Loss()}, []float64{want.CalibLoss}, 1e-5)
				if *full || depth == 8 {
					near(t, "perplexity", []float64{p.Model.Perplexity(eval)}, []float64{want.PPL}, 1e-5)
				}
			})
		}
	}
}

// variant is the golden of one pruning.
type variant struct {
	Tree      any
	Steps     []variantStep
	PPL       float64
	CalibLoss float64 `json:"calib_loss"`
}

type variantStep struct {
	MergeList []int `json:"merge_list"`
	Ratio     []float64
	BI        []float64 // as in TestGoldenScores
	SBI       []float64 // likewise; −1 for an excluded window
}

func compareSteps(t *testing.T, got []Step, want []variantStep) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d steps, want %d", len(got), len(want))
	}
	const windows = 64
	for i, w := range want {
		if !slices.Equal(got[i].MergeList, w.MergeList) {
			t.Fatalf("step %d merges %v, want %v", i, got[i].MergeList, w.MergeList)
		}
		bi := scaled(got[i].Scores.BI, windows*window/float64(len(w.BI)))
		sbi := scaled(got[i].Scores.SBI, windows/float64(len(w.SBI)))
		for l, s := range w.SBI {
			if s < 0 {
				sbi[l] = s
			}
		}
		near(t, fmt.Sprintf("ratio of step %d", i), got[i].Ratio, w.Ratio, 1e-5)
		near(t, fmt.Sprintf("BI of step %d", i), bi, w.BI, 1e-5)
		near(t, fmt.Sprintf("SBI of step %d", i), sbi, w.SBI, 1e-5)
	}
}

func BenchmarkWindow(b *testing.B) {
	m, tokens := tiny12(b), golden[[]int](b, "eval_tokens.json")[:window]
	for b.Loop() {
		m.NLL(tokens)
	}
}
