package generate

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/arch"
)

func TestRules(t *testing.T) {
	no := float32(math.Inf(-1))
	for _, c := range []struct {
		name   string
		rules  arch.Generation
		tokens []uint32
		prompt int
		want   []float32 // of 4, 2, -2, 1
		text   string
	}{
		{"none", arch.Generation{}, []uint32{0, 1}, 1, []float32{4, 2, -2, 1}, ""},
		{"penalty once a token", arch.Generation{RepetitionPenalty: 2}, []uint32{0, 0, 2, 9}, 1, []float32{2, 2, -4, 1}, "repetition_penalty 2"},
		{"pairs", arch.Generation{NoRepeatNGram: 2}, []uint32{1, 0, 1, 3, 1}, 1, []float32{no, 2, -2, no}, "no_repeat_ngram_size 2"},
		{"no token twice", arch.Generation{NoRepeatNGram: 1}, []uint32{1, 3}, 1, []float32{4, no, -2, no}, "no_repeat_ngram_size 1"},
		{"triples of a short text", arch.Generation{NoRepeatNGram: 3}, []uint32{1, 1}, 1, []float32{4, 2, -2, 1}, "no_repeat_ngram_size 3"},
		{"length", arch.Generation{MinLength: 3, EOS: []int{0, 9}}, []uint32{1, 1}, 1, []float32{no, 2, -2, 1}, "min_length 3"},
		{"long enough", arch.Generation{MinLength: 2, EOS: []int{0}}, []uint32{1, 1}, 1, []float32{4, 2, -2, 1}, "min_length 2"},
		{"new tokens", arch.Generation{MinNewTokens: 2, EOS: []int{0}}, []uint32{1, 1}, 1, []float32{no, 2, -2, 1}, "min_new_tokens 2"},
		{"never, not at first", arch.Generation{Suppress: []int{0}, BeginSuppress: []int{1}}, []uint32{3}, 1, []float32{no, no, -2, 1}, "suppress_tokens of 1, begin_suppress_tokens of 1"},
		{"not at first", arch.Generation{BeginSuppress: []int{1}}, []uint32{3, 3}, 1, []float32{4, 2, -2, 1}, "begin_suppress_tokens of 1"},
	} {
		if c.rules.RepetitionPenalty == 0 {
			c.rules.RepetitionPenalty = 1
		}
		got := []float32{4, 2, -2, 1}
		Rules{c.rules}.Apply(got, c.tokens, c.prompt)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if text := (Rules{c.rules}).String(); text != c.text {
			t.Errorf("%s: %q, want %q", c.name, text, c.text)
		}
	}
}
