package arch

import (
	"math"
	"strings"
	"testing"
)

// FuzzGeneration reads a generation_config.json, or the keys of one in a config.json.
func FuzzGeneration(f *testing.F) {
	f.Add([]byte(`{"bos_token_id":0,"eos_token_id":[1,2],"repetition_penalty":1.1,"no_repeat_ngram_size":3,"min_length":1,"min_new_tokens":2,"suppress_tokens":[5],"begin_suppress_tokens":[6],"num_beams":1,"_x":1}`))
	f.Add([]byte(`{"repetition_penalty":1e999,"eos_token_id":null,"suppress_tokens":[-1,1.5]}`))
	f.Add([]byte(`{"stop_strings":["\u001b[31m"],"\u202e":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, ofConfig := range []bool{false, true} {
			g, err := ParseGeneration("fuzz", raw, ofConfig)
			switch {
			case err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("an error of several lines: %q", err)
			case err != nil:
			case !(g.RepetitionPenalty > 0) || math.IsInf(g.RepetitionPenalty, 0) || g.NoRepeatNGram < 0 || g.MinLength < 0 || g.MinNewTokens < 0:
				t.Errorf("%s is %+v", raw, g)
			}
		}
	})
}
