package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
)

// What PyTorch computed in float64 of tiny12 and of what CoMe makes of it: testdata/kld/README.md.
func TestKLDGolden(t *testing.T) {
	out := filepath.Join(t.TempDir(), "come8")
	vkcome(t, "prune", embedded.Name, out, "--method", "come", "--target-layers", "8", "--tokens", calib, "--window", "128", "-q")
	var got eval.KLD
	if err := json.Unmarshal(vkcome(t, "eval", "kld", out, "--base", embedded.Name, "--tokens", evalSet, "--window", "128", "--json"), &got); err != nil {
		t.Fatal(err)
	}
	var want struct {
		Tokens          int
		KL, PPL, Ratio  [2]float64
		Correlation     float64
		SameTop         [2]float64         `json:"same_top"`
		Base            [2]float64         `json:"ppl_base"`
		LogRatio        [2]float64         `json:"ln_ratio"`
		DeltaP          [2]float64         `json:"delta_p"`
		RMS             [2]float64         `json:"rms_delta_p"`
		KLQuantiles     map[string]float64 `json:"kl_quantiles"`
		DeltaPQuantiles map[string]float64 `json:"delta_p_quantiles"`
	}
	readJSON(t, "../../testdata/kld/expected.json", &want)
	near := func(what string, got, want, bound float64) {
		t.Helper()
		if !(math.Abs(got-want) <= bound*math.Abs(want)) {
			t.Errorf("%s %v, want %v", what, got, want)
		}
	}
	for _, c := range []struct {
		what string
		got  eval.Estimate
		want [2]float64
	}{
		{"KL", got.KL, want.KL}, {"perplexity", got.Perplexity, want.PPL}, {"base perplexity", got.BasePerplexity, want.Base}, {"ratio", got.Ratio, want.Ratio},
		{"ln ratio", got.LogRatio, want.LogRatio}, {"delta p", got.DeltaP, want.DeltaP}, {"RMS delta p", got.RMSDeltaP, want.RMS},
	} {
		near(c.what, c.got.Value, c.want[0], 2e-5)
		near(c.what+" error", c.got.Error, c.want[1], 2e-5)
	}
	near("same top", got.SameTop.Value, want.SameTop[0], 3/float64(want.Tokens)) // two or three tokens whose best are equal but for f32
	near("same top error", got.SameTop.Error, want.SameTop[1], 1e-3)
	near("correlation", got.Correlation, want.Correlation, 1e-5)
	if got.TokensScored != want.Tokens {
		t.Errorf("%d tokens, want %d", got.TokensScored, want.Tokens)
	}
	for _, c := range []struct {
		what string
		got  eval.Quantiles
		want map[string]float64
	}{{"KL", got.KLQuantiles, want.KLQuantiles}, {"delta p", got.DeltaPQuantiles, want.DeltaPQuantiles}} {
		q := c.got
		for level, value := range map[string]float64{
			"max": q.Maximum, "99.9": q.P999, "99": q.P99, "95": q.P95, "90": q.P90, "75": q.P75, "50": q.Median, "25": q.P25, "10": q.P10, "5": q.P5,
			"1": q.P1, "0.1": q.P01, "min": q.Minimum,
		} {
			near(c.what+" "+level, value, c.want[level], 2e-3) // one token's f32 logits; the smallest are 1e-5 nats
		}
	}
}

func TestKLDCommand(t *testing.T) {
	text := string(vkcome(t, "eval", "kld", embedded.Name, "--base", embedded.Name, "--tokens", evalSet, "--window", "64", "--samples", "2"))
	for _, line := range []string{"perplexity, 126 tokens of 2 windows", "model / base                 1.000000 ± 0.000000", "mean                         0.000000 ± 0.000000", "share                       100.000 % ± 0.000 %"} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if _, stderr, code := try(t, "eval", "kld", embedded.Name, "--tokens", evalSet); code != 2 || !strings.Contains(stderr, "--base") {
		t.Errorf("without --base: exit %d, %s", code, stderr)
	}
}
