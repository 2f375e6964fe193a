package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

var generateVerb = verb{
	name: "generate", args: "MODEL", short: "continue a prompt",
	example: `vkcome generate embedded:tiny12 --prompt "The film is" -n 40 --temperature 0.8 --seed 7`,
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var o generateOptions
		f.StringVarP(&o.prompt, "prompt", "p", "", "text to continue")
		f.IntVarP(&o.tokens, "max-new-tokens", "n", 128, "tokens to generate at most")
		f.Float64Var(&o.sampling.Temperature, "temperature", 0, "randomness; 0 takes the most likely token each time")
		f.IntVar(&o.sampling.TopK, "top-k", 0, "choose among the k most likely tokens; 0 among all")
		f.Float64Var(&o.sampling.TopP, "top-p", 1, "choose among the fewest tokens whose probability reaches p")
		f.Uint64Var(&o.seed, "seed", 0, "seed of the choice")
		f.BoolVar(&o.ignoreEOS, "ignore-eos", false, "go on after an end-of-sequence token")
		c := commonFlags(f)
		return func(ctx context.Context, args []string) error {
			switch {
			case o.tokens < 1:
				return usagef("-n %d: expected 1 or more", o.tokens)
			case !(o.sampling.Temperature >= 0 && o.sampling.TopK >= 0 && o.sampling.TopP >= 0 && o.sampling.TopP <= 1):
				return usagef("--temperature and --top-k are 0 or more, --top-p is 0 to 1")
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				return c.compute(func(d *vk.Device) error { return runGenerate(ctx, c, d, m, o) })
			})
		}
	},
}

type generateOptions struct {
	prompt    string
	tokens    int
	sampling  generate.Sampling
	seed      uint64
	ignoreEOS bool
}

func runGenerate(ctx context.Context, c *common, d *vk.Device, m *model.Model, o generateOptions) error {
	t, err := m.Tokenizer()
	if err != nil {
		return err
	}
	prompt := corpus.Encode(t, o.prompt)
	if len(prompt) == 0 {
		return usagef("generate: the prompt is empty and %s has no BOS token to start from; give --prompt TEXT", m.Name)
	}
	var print func(text string)
	if !c.json {
		fmt.Print(o.prompt)
		print = func(text string) { fmt.Print(text) }
	}
	start := time.Now()
	tokens, err := continueText(ctx, d, m, t, prompt, o, print)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(map[string]any{"prompt": o.prompt, "prompt_tokens": prompt, "new_tokens": tokens, "text": t.Decode(ints(tokens))})
	}
	fmt.Println()
	if !c.quiet {
		if rules, err := m.Generation(); err == nil && (generate.Rules{Generation: *rules}).String() != "" {
			fmt.Fprintf(os.Stderr, "%s has %v\n", rules.File, generate.Rules{Generation: *rules})
		}
		fmt.Fprintf(os.Stderr, "%d tokens in %.1f s\n", len(tokens), time.Since(start).Seconds())
	}
	return nil
}

func ints(tokens []uint32) []int {
	out := make([]int, len(tokens))
	for i, t := range tokens {
		out[i] = int(t)
	}
	return out
}

// continueText continues prompt; print, if not nil, gets the text piece by piece.
func continueText(ctx context.Context, d *vk.Device, m *model.Model, t tokenizer.Tokenizer, prompt []uint32, o generateOptions, print func(string)) (tokens []uint32, err error) {
	room := m.Config.MaxPositionEmbeddings - len(prompt)
	if room < 1 {
		return nil, fmt.Errorf("generate: a prompt of %d tokens, %s has max_position_embeddings %d", len(prompt), m.Name, m.Config.MaxPositionEmbeddings)
	}
	rules, err := m.Generation()
	if err != nil {
		return nil, err
	}
	n := min(o.tokens, room)
	g, err := generate.New(d, m, len(prompt)+n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	stream := tokenizer.NewStream(t, true, ints(prompt))
	rng := rand.New(rand.NewPCG(o.seed, 0))
	tokens = []uint32{}
	next := prompt
	for len(tokens) < n {
		logits, err := g.Feed(ctx, next)
		if err != nil {
			return nil, err
		}
		generate.Rules{Generation: *rules}.Apply(logits, slices.Concat(prompt, tokens), len(prompt))
		token := o.sampling.Next(logits, rng)
		if slices.Contains(rules.EOS, int(token)) && !o.ignoreEOS {
			break
		}
		tokens = append(tokens, token)
		next = tokens[len(tokens)-1:]
		if print != nil {
			print(stream.Next(int(token)))
		}
	}
	if print != nil {
		print(stream.Flush())
	}
	return tokens, nil
}
