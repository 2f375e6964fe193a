package generate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
)

// Rules are what a model's files say of the next token whatever the sampling: see arch.Generation. They are those of transformers' generate.
type Rules struct{ arch.Generation }

// Apply changes the logits that follow tokens, of which the first prompt ones were given. A forbidden token gets −∞.
func (r Rules) Apply(logits []float32, tokens []uint32, prompt int) {
	if r.RepetitionPenalty != 1 {
		seen := map[uint32]bool{}
		for _, t := range tokens {
			if seen[t] || int(t) >= len(logits) {
				continue
			}
			seen[t] = true
			if v := float64(logits[t]); v < 0 {
				logits[t] = float32(v * r.RepetitionPenalty)
			} else {
				logits[t] = float32(v / r.RepetitionPenalty)
			}
		}
	}
	forbid := func(ids []int) {
		for _, id := range ids {
			if id < len(logits) {
				logits[id] = float32(math.Inf(-1))
			}
		}
	}
	forbid(repeating(tokens, r.NoRepeatNGram))
	if len(tokens) < r.MinLength || len(tokens)-prompt < r.MinNewTokens {
		forbid(r.EOS)
	}
	forbid(r.Suppress)
	if len(tokens) == prompt {
		forbid(r.BeginSuppress)
	}
}

// repeating lists the tokens that would make the last n tokens occur a second time.
func repeating(tokens []uint32, n int) (list []int) {
	if n < 1 || len(tokens) < n {
		return nil
	}
	last := tokens[len(tokens)-n+1:]
	for at := range tokens[:len(tokens)-n+1] {
		if slices.Equal(tokens[at:at+n-1], last) {
			list = append(list, int(tokens[at+n-1]))
		}
	}
	return list
}

// String says which rules change anything, the ends of sequence left out; empty if none does.
func (r Rules) String() string {
	var list []string
	if r.RepetitionPenalty != 1 {
		list = append(list, fmt.Sprintf("repetition_penalty %v", r.RepetitionPenalty))
	}
	for _, n := range []struct {
		key string
		n   int
	}{{"no_repeat_ngram_size", r.NoRepeatNGram}, {"min_length", r.MinLength}, {"min_new_tokens", r.MinNewTokens}} {
		if n.n > 0 {
			list = append(list, fmt.Sprintf("%s %d", n.key, n.n))
		}
	}
	for _, ids := range []struct {
		key string
		ids []int
	}{{"suppress_tokens", r.Suppress}, {"begin_suppress_tokens", r.BeginSuppress}} {
		if len(ids.ids) > 0 {
			list = append(list, fmt.Sprintf("%s of %d", ids.key, len(ids.ids)))
		}
	}
	return strings.Join(list, ", ")
}
