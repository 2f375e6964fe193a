package score_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestDevices merges on two and on five devices as on one: the same models, and the same scores where both have them.
func TestDevices(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // after the scorers
	windows := calibration(t, 13)
	var devices []*vk.Device
	for range 5 {
		devices = append(devices, vktest.Open(t, vk.Options{}))
	}
	outcomes := func(n int, all bool) []outcome {
		s, err := score.NewOn(devices[:n], m, windows, score.Options)
		s = scorer(t, s, err)
		return steps(t, method.State{Device: devices[0], Model: m, Scorer: s, Tree: tree(m), AllScores: all}, method.CoMe{}, 9)
	}
	want := outcomes(1, true)
	for _, n := range []int{2, 5} {
		same(t, outcomes(n, true), want, true)
		got := outcomes(n, false)
		same(t, got, want, false)
		for i := range got {
			var a, b method.Step
			for raw, to := range map[string]*method.Step{got[i].step: &a, want[i].step: &b} {
				if err := json.Unmarshal([]byte(raw), to); err != nil {
					t.Fatal(err)
				}
			}
			for _, pair := range [][2]method.Scores{{a.BI, b.BI}, {a.SBI, b.SBI}} {
				for l, v := range pair[0] {
					if !math.IsNaN(v) && v != pair[1][l] {
						t.Errorf("%d devices, step %d: score %d is %v, want %v", n, i, l, v, pair[1][l])
					}
				}
			}
		}
		// What several devices did, one goes on with.
		s, err := score.New(devices[0], m, windows)
		state := got[0].state
		state.Scorer = scorer(t, s, err)
		if err := s.Restore(t.Context(), state.Model, got[0].valid, got[0].checkpoint); err != nil {
			t.Fatal(err)
		}
		same(t, steps(t, state, method.CoMe{}, 9), want[1:], false)
	}
	s, err := score.NewOn(devices[:3], m, windows[:2], score.Options) // one too many
	s = scorer(t, s, err)
	all(t, s, m, 0)
	if _, err := score.NewOn(nil, m, windows, score.Options); err == nil {
		t.Error("a Scorer without devices")
	}
	if _, err := score.NewOn(devices[:2], m, append(windows[:1:1], windows[1][:5]), score.Options); err == nil {
		t.Error("windows of different lengths on two devices")
	}
}

// TestDevicesLosses compares what runs beyond the search: losses and last states of candidates, distances over all tokens, squares.
func TestDevicesLosses(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // after the scorers
	windows := calibration(t, 11)
	var candidates []run.Candidate
	for _, l := range []int{2, 3, 9} {
		candidates = append(candidates, run.Candidate{From: l, Make: func(context.Context) (*model.Model, error) {
			var keep []int
			for k := range m.Layers {
				if k != l {
					keep = append(keep, k)
				}
			}
			return m.With(slices.Delete(slices.Clone(m.Layers), l, l+1), keep)
		}})
	}
	outcomes := func(n int) string {
		var devices []*vk.Device
		for range n {
			devices = append(devices, vktest.Open(t, vk.Options{}))
		}
		s, err := score.NewOn(devices, m, windows, score.Options)
		s = scorer(t, s, err)
		if err := s.Update(t.Context(), m, 0, 0); err != nil {
			t.Fatal(err)
		}
		losses, err := s.Losses(t.Context(), 11, candidates, nil)
		if err != nil {
			t.Fatal(err)
		}
		states, err := s.LastStates(t.Context(), candidates[1])
		if err != nil {
			t.Fatal(err)
		}
		angles, err := s.Skips(t.Context(), 2, score.Angle, nil)
		if err != nil {
			t.Fatal(err)
		}
		heads, neurons, err := s.Sensitivity(t.Context(), 4, score.L2)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(losses, states, angles, heads, neurons)
	}
	want := outcomes(1)
	for _, n := range []int{2, 3} {
		if outcomes(n) != want {
			t.Errorf("%d devices give other figures than one", n)
		}
	}
	boom := errors.New("boom")
	failing := []run.Candidate{{From: 3, Make: func(context.Context) (*model.Model, error) { return nil, boom }}}
	s, err := score.NewOn([]*vk.Device{vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{})}, m, windows, score.Options)
	s = scorer(t, s, err)
	if err := s.Update(t.Context(), m, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Losses(t.Context(), 11, failing, nil); !errors.Is(err, boom) {
		t.Errorf("error %v, want that of the candidate", err)
	}
}

// TestDevicesFail tells which device, and stops the others.
func TestDevicesFail(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // after the scorers
	devices := []*vk.Device{vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{})}
	s, err := score.NewOn(devices, m, calibration(t, 8), score.Options)
	s = scorer(t, s, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, m, 0, 0); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), devices[0].Info.Name) {
		t.Errorf("error %v, want one that names %s", err, devices[0].Info.Name)
	}
}
