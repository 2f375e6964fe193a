package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	name: "generate", args: "MODEL", short: "continue a prompt, or chat",
	example: `vkcome generate embedded:tiny12 --prompt "The film is" -n 40 --temperature 0.8 --seed 7`,
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var o generateOptions
		f.StringVarP(&o.prompt, "prompt", "p", "", "text to continue, or with --chat to answer")
		f.IntVarP(&o.tokens, "max-new-tokens", "n", 128, "tokens to generate at most")
		f.Float64Var(&o.sampling.Temperature, "temperature", 0, "randomness; 0 takes the most likely token each time")
		f.IntVar(&o.sampling.TopK, "top-k", 0, "choose among the k most likely tokens; 0 among all")
		f.Float64Var(&o.sampling.TopP, "top-p", 1, "choose among the fewest tokens whose probability reaches p")
		f.Uint64Var(&o.seed, "seed", 0, "seed of the choice")
		f.BoolVar(&o.ignoreEOS, "ignore-eos", false, "go on after an end-of-sequence token")
		f.BoolVar(&o.raw, "raw", false, "read special tokens in the prompt (<s>, <|im_end|>) as plain text")
		f.BoolVar(&o.chat, "chat", false, "answer with the model's chat template: --prompt, or each line of the standard input in turn")
		f.StringVar(&o.system, "system", "", "with --chat: text of the system turn before the first")
		f.StringVar(&o.template, "chat-template", "", "with --chat: name of the template, where the model has several, or a file of one")
		f.StringVar(&o.vars, "chat-vars", "", `with --chat: more variables of the template as JSON, such as {"enable_thinking":false}`)
		c := commonFlags(f)
		return func(ctx context.Context, args []string) error {
			switch {
			case o.tokens < 1:
				return usagef("-n %d: expected 1 or more", o.tokens)
			case !(o.sampling.Temperature >= 0 && o.sampling.TopK >= 0 && o.sampling.TopP >= 0 && o.sampling.TopP <= 1):
				return usagef("--temperature and --top-k are 0 or more, --top-p is 0 to 1")
			case o.chat && o.raw:
				return usagef("--raw has no meaning with --chat: turns are framed by special tokens")
			}
			for _, name := range []string{"system", "chat-template", "chat-vars"} {
				if f.Changed(name) && !o.chat {
					return usagef("--%s has no meaning without --chat", name)
				}
			}
			o.asked = f.Changed("prompt")
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				return c.compute(func(d *vk.Device) error {
					if o.chat {
						return runChat(ctx, c, d, m, o)
					}
					return runGenerate(ctx, c, d, m, o)
				})
			})
		}
	},
}

type generateOptions struct {
	prompt    string
	asked     bool // there is a prompt
	tokens    int
	sampling  generate.Sampling
	seed      uint64
	ignoreEOS bool
	raw       bool

	chat                   bool
	system, template, vars string
}

func runGenerate(ctx context.Context, c *common, d *vk.Device, m *model.Model, o generateOptions) error {
	t, err := m.Tokenizer()
	if err != nil {
		return err
	}
	encode := corpus.EncodeSpecial
	if o.raw {
		encode = corpus.Encode
	}
	prompt, err := encode(t, o.prompt)
	if err != nil {
		return err
	}
	if len(prompt) == 0 {
		return usagef("generate: the prompt is empty and %s has no BOS token to start from; give --prompt TEXT", m.Name)
	}
	var print func(text string)
	if !c.json {
		_, _ = io.WriteString(data, o.prompt)
		print = func(text string) { _, _ = io.WriteString(data, text) } // which remembers that it failed
	}
	start := time.Now()
	tokens, err := continueText(ctx, d, m, t, prompt, o, print)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(map[string]any{"prompt": o.prompt, "prompt_tokens": prompt, "new_tokens": tokens, "text": t.Decode(ints(tokens))})
	}
	fmt.Fprintln(stdout)
	c.tellGenerated(m, len(tokens), start)
	return nil
}

// tellGenerated says how long it took, and what of the model's own rules had a part.
func (c *common) tellGenerated(m *model.Model, tokens int, start time.Time) {
	if rules, err := m.Generation(); err == nil && (generate.Rules{Generation: *rules}).String() != "" {
		c.note("%s has %v", rules.File, generate.Rules{Generation: *rules})
	}
	c.note("%d tokens in %.1f s", tokens, time.Since(start).Seconds())
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
	w, err := newWriter(d, m, t, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	return w.write(ctx, prompt, print)
}

// writer continues prompts one after another. What a prompt has in common with the text before it stays in the cache.
type writer struct {
	d     *vk.Device
	m     *model.Model
	t     tokenizer.Tokenizer
	o     generateOptions
	rules generate.Rules
	rng   *rand.Rand
	g     *generate.Generator
	room  int // tokens that g holds
}

func newWriter(d *vk.Device, m *model.Model, t tokenizer.Tokenizer, o generateOptions) (*writer, error) {
	rules, err := m.Generation()
	if err != nil {
		return nil, err
	}
	return &writer{d: d, m: m, t: t, o: o, rules: generate.Rules{Generation: *rules}, rng: rand.New(rand.NewPCG(o.seed, 0))}, nil
}

func (w *writer) close() error {
	if w.g == nil {
		return nil
	}
	return w.g.Close()
}

// hold makes room for so many tokens. A chat gets room for twice as many, so that few turns begin anew.
func (w *writer) hold(tokens int) error {
	if tokens <= w.room {
		return nil
	}
	if w.o.chat {
		tokens = min(max(2*tokens, 1024), w.m.Config.MaxPositionEmbeddings)
	}
	if err := w.close(); err != nil {
		return err
	}
	w.g, w.room = nil, 0
	g, err := generate.New(w.d, w.m, tokens)
	if err == nil {
		w.g, w.room = g, tokens
	}
	return err
}

// write continues prompt; print, if not nil, gets the text piece by piece.
func (w *writer) write(ctx context.Context, prompt []uint32, print func(string)) ([]uint32, error) {
	room := w.m.Config.MaxPositionEmbeddings - len(prompt)
	if room < 1 {
		return nil, fmt.Errorf("generate: a prompt of %d tokens, %s has max_position_embeddings %d", len(prompt), w.m.Name, w.m.Config.MaxPositionEmbeddings)
	}
	n := min(w.o.tokens, room)
	if err := w.hold(len(prompt) + n); err != nil {
		return nil, err
	}
	stream := tokenizer.NewStream(w.t, true, ints(prompt))
	tokens := []uint32{}
	for len(tokens) < n {
		all := slices.Concat(prompt, tokens)
		logits, err := w.g.Follow(ctx, all)
		if err != nil {
			return nil, err
		}
		w.rules.Apply(logits, all, len(prompt))
		token := w.o.sampling.Next(logits, w.rng)
		if slices.Contains(w.rules.EOS, int(token)) && !w.o.ignoreEOS {
			break
		}
		tokens = append(tokens, token)
		if print != nil {
			print(stream.Next(int(token)))
		}
	}
	if print != nil {
		print(stream.Flush())
	}
	return tokens, nil
}
