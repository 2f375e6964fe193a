package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
		f.IntVarP(&o.Tokens, "max-new-tokens", "n", 128, "tokens to generate at most")
		f.Float64Var(&o.Sampling.Temperature, "temperature", 0, "randomness; 0 takes the most likely token each time")
		f.IntVar(&o.Sampling.TopK, "top-k", 0, "choose among the k most likely tokens; 0 among all")
		f.Float64Var(&o.Sampling.TopP, "top-p", 1, "choose among the fewest tokens whose probability reaches p")
		f.Uint64Var(&o.Seed, "seed", 0, "seed of the choice")
		f.BoolVar(&o.IgnoreEOS, "ignore-eos", false, "go on after an end-of-sequence token")
		f.BoolVar(&o.raw, "raw", false, "read special tokens in the prompt (<s>, <|im_end|>) as plain text")
		f.BoolVar(&o.Chat, "chat", false, "answer with the model's chat template: --prompt, or each line of the standard input in turn")
		f.StringVar(&o.system, "system", "", "with --chat: text of the system turn before the first")
		f.StringVar(&o.template, "chat-template", "", "with --chat: name of the template, where the model has several, or a file of one")
		f.StringVar(&o.vars, "chat-vars", "", `with --chat: more variables of the template as JSON, such as {"enable_thinking":false}`)
		c := commonFlags(f)
		return func(ctx context.Context, args []string) error {
			switch {
			case o.Tokens < 1:
				return usagef("-n %d: expected 1 or more", o.Tokens)
			case !(o.Sampling.Temperature >= 0 && o.Sampling.TopK >= 0 && o.Sampling.TopP >= 0 && o.Sampling.TopP <= 1):
				return usagef("--temperature and --top-k are 0 or more, --top-p is 0 to 1")
			case o.Chat && o.raw:
				return usagef("--raw has no meaning with --chat: turns are framed by special tokens")
			}
			for _, name := range []string{"system", "chat-template", "chat-vars"} {
				if f.Changed(name) && !o.Chat {
					return usagef("--%s has no meaning without --chat", name)
				}
			}
			o.asked = f.Changed("prompt")
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				return c.compute(func(d *vk.Device) error {
					if o.Chat {
						return runChat(ctx, c, d, m, o)
					}
					return runGenerate(ctx, c, d, m, o)
				})
			})
		}
	},
}

type generateOptions struct {
	prompt string
	asked  bool // there is a prompt
	raw    bool
	generate.WriterOptions

	system, template, vars string // of a chat
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
	tokens, err := continueText(ctx, d, m, t, prompt, o.WriterOptions, print)
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
func continueText(ctx context.Context, d *vk.Device, m *model.Model, t tokenizer.Tokenizer, prompt []uint32, o generate.WriterOptions, print func(string)) (tokens []uint32, err error) {
	w, err := generate.NewWriter(d, m, t, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return w.Write(ctx, prompt, print)
}
