package score_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// scorer makes a Scorer that closes with the test.
func scorer(t *testing.T, s *score.Scorer, err error) *score.Scorer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tree is that of a model that was not merged.
func tree(m *model.Model) (tree []method.Tree) {
	for l := range m.Layers {
		tree = append(tree, method.Tree{Layer: l})
	}
	return tree
}

// outcome is all that a step leaves.
type outcome struct {
	state      method.State
	valid      int    // the first layer that is another's
	merged     int    // layers that it was made of
	step       string // as JSON
	passes     float64
	checkpoint []byte
}

// steps merges down to target layers.
func steps(t *testing.T, s method.State, come method.CoMe, target int) (list []outcome) {
	t.Helper()
	for len(s.Model.Layers) > target {
		step, err := come.Step(t.Context(), &s, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(step)
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, err := s.Scorer.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, outcome{s, step.MergeList[0], len(step.MergeList), string(raw), s.Scorer.Work().Passes, checkpoint})
	}
	return list
}

// same compares the outcomes of steps, checkpoints only where exact.
func same(t *testing.T, got, want []outcome, exact bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d steps, want %d", len(got), len(want))
	}
	for i := range want {
		if exact && got[i].step != want[i].step {
			t.Errorf("step %d: %s\nwant %s", i, got[i].step, want[i].step)
		}
		if exact && got[i].passes != want[i].passes {
			t.Errorf("step %d: %v passes, want %v", i, got[i].passes, want[i].passes)
		}
		if exact && !bytes.Equal(got[i].checkpoint, want[i].checkpoint) {
			t.Errorf("step %d: another checkpoint", i)
		}
		sameModel(t, got[i].state.Model, want[i].state.Model)
	}
}

// sameModel compares weights.
func sameModel(t *testing.T, got, want *model.Model) {
	t.Helper()
	if len(got.Layers) != len(want.Layers) {
		t.Fatalf("%d layers, want %d", len(got.Layers), len(want.Layers))
	}
	for l := range want.Layers {
		for p, w := range want.Layers[l].Weights {
			if !bytes.Equal(modeltest.Bytes(t, got.Layers[l].Weights[p]), modeltest.Bytes(t, w)) {
				t.Fatalf("layer %d: other weights %s", l, w.Name)
			}
		}
	}
}

// TestCheckpoint interrupts a run after each step and after an Update, and goes on in a new Scorer: with the same batches everything
// that follows is the same, with others the models are.
func TestCheckpoint(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // after the scorers
	windows := calibration(t, 12)
	d := vktest.Open(t, vk.Options{})
	small := vktest.Open(t, vk.Options{MaxMemory: 5 << 20})
	options := run.Options{BatchTokens: 256, KeepWeights: true}
	for name, come := range map[string]method.CoMe{"pairs": {}, "triples": {LayersPerMerge: 3}, "again": {Repeat: true}} {
		t.Run(name, func(t *testing.T) {
			fresh := func(d *vk.Device, o run.Options) *score.Scorer {
				s, err := score.NewWith(d, m, windows, o)
				return scorer(t, s, err)
			}
			want := steps(t, method.State{Device: d, Model: m, Scorer: fresh(d, options), Tree: tree(m)}, come, 8)
			for i, at := range want {
				restored := func(d *vk.Device, o run.Options) method.State {
					s := at.state
					s.Device, s.Scorer = d, fresh(d, o)
					if err := s.Scorer.Restore(t.Context(), s.Model, at.valid, at.checkpoint); err != nil {
						t.Fatal(err)
					}
					return s
				}
				s := restored(d, options)
				if passes := s.Scorer.Work().Passes; passes != at.passes {
					t.Errorf("%v passes after Restore, want %v", passes, at.passes)
				}
				same(t, steps(t, s, come, 8), want[i+1:], true)
				other := restored(small, run.Options{BatchTokens: 400})
				same(t, steps(t, other, come, 8), want[i+1:], false)
				if err := other.Scorer.Close(); err != nil { // its memory serves the next
					t.Fatal(err)
				}

				// Between Update and Select.
				s = restored(d, options)
				if err := s.Scorer.Update(t.Context(), s.Model, at.valid, at.merged); err != nil {
					t.Fatal(err)
				}
				checkpoint, err := s.Scorer.Checkpoint()
				if err != nil {
					t.Fatal(err)
				}
				again := fresh(d, options)
				if err := again.Restore(t.Context(), s.Model, at.valid, checkpoint); err != nil {
					t.Fatal(err)
				}
				eligible := slices.Repeat([]bool{true}, len(s.Model.Layers)-1)
				first, err := s.Scorer.Select(t.Context(), 2, eligible, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				gotFirst, err := again.Select(t.Context(), 2, eligible, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				checkpoint, err = s.Scorer.Checkpoint()
				if err != nil {
					t.Fatal(err)
				}
				got, err := again.Checkpoint()
				if err != nil {
					t.Fatal(err)
				}
				if first != gotFirst || !bytes.Equal(got, checkpoint) {
					t.Errorf("layer %d on after an interrupted Update, want %d; or other scores", gotFirst, first)
				}
			}
		})
	}
}

// TestCheckpointRefuses what is not a checkpoint of this corpus and model, whatever its bytes.
func TestCheckpointRefuses(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // after the scorers
	windows := calibration(t, 4)
	d := vktest.Open(t, vk.Options{})
	fresh := func(windows [][]uint32) *score.Scorer {
		s, err := score.New(d, m, windows)
		return scorer(t, s, err)
	}
	s := fresh(windows)
	if _, err := s.Checkpoint(); err == nil {
		t.Error("a checkpoint of nothing")
	}
	done := steps(t, method.State{Device: d, Model: m, Scorer: s, Tree: tree(m)}, method.CoMe{}, 11)[0]
	good, at := done.checkpoint, done.state
	if err := s.Restore(t.Context(), at.Model, done.valid, good); err == nil {
		t.Error("a checkpoint went into a Scorer in use")
	}
	refuse := func(what string, s *score.Scorer, data []byte, says string) {
		t.Helper()
		if err := s.Restore(t.Context(), at.Model, done.valid, data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", what, err, says)
		}
	}
	refuse("other windows", fresh(windows[:3]), good, "calibration corpus")
	refuse("other tokens", fresh(slices.Concat(windows[:3], windows[:1])), good, "calibration corpus")

	// From here on one Scorer will do: what is refused leaves it as it was.
	s = fresh(windows)
	refuse("nothing", s, nil, "version")
	refuse("another version", s, bytes.Replace(good, []byte(" 01"), []byte(" 02"), 1), "version")
	const shapes = 16 + 64
	changed := func(at int, v uint32) []byte {
		data := slices.Clone(good)
		binary.LittleEndian.PutUint32(data[at:], v)
		return data
	}
	for field, name := range []string{"windows", "window", "layers", "hidden", "channels", "neurons", "span", "terms", "before"} {
		for _, v := range []uint32{0, 1, 13, 1 << 20, 1<<32 - 1} {
			if v == 0 && name == "before" {
				continue // there are none before the first step
			}
			refuse(name, s, changed(shapes+4*field, v), "checkpoint")
		}
	}
	refuse("runs", s, changed(shapes+9*4+4, 1<<31), "runs")
	for n := 0; n < len(good); n += 1 + n/7 {
		refuse("cut off", s, good[:n], "checkpoint")
	}
	refuse("longer", s, append(slices.Clone(good), 0), "checkpoint")

	// The same with a stream that is sound: bytes changed at random, and lists that promise what is not there.
	head := good[:shapes+9*4+2*8]
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	body, err := dec.DecodeAll(good[len(head):], nil)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(body []byte)) []byte {
		b := slices.Clone(body)
		change(b)
		return enc.EncodeAll(b, slices.Clone(head))
	}
	if err := fresh(windows).Restore(t.Context(), at.Model, done.valid, with(func([]byte) {})); err != nil {
		t.Errorf("a stream that was packed anew: %v", err)
	}
	refuse("height", s, with(func(b []byte) { b[3] = 1 }), "boundary")
	refuse("height 12 of less", s, with(func(b []byte) { b[0] = 12 }), "lacks window 0")
	refuse("boundary 0", s, with(func(b []byte) { b[16] = 0 }), "boundary 0 lacks window 0")
	refuse("flag", s, with(func(b []byte) { b[16+4*13] = 2 }), "layer 0 lacks window 0")
	refuse("no number", s, with(func(b []byte) { copy(b[len(b)-4:], []byte{0, 0, 0x80, 0x7f}) }), "finite")
	refuse("negative term", s, with(func(b []byte) { b[16+4*13+4*12+7] |= 0x80 }), "term")
	refuse("zeros without end", s, enc.EncodeAll(make([]byte, 64<<20), slices.Clone(head)), "checkpoint")
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		data := slices.Clone(good)
		for range 1 + rng.IntN(4) {
			data[len(head)+rng.IntN(len(good)-len(head))] ^= byte(1 + rng.IntN(255))
		}
		refuse("random bytes", s, data, "checkpoint")
	}
	if err := s.Restore(t.Context(), at.Model, done.valid, good); err != nil {
		t.Errorf("after all that was refused: %v", err)
	}
}
