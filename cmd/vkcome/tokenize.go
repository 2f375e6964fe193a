package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/tokenizer"
)

const maxTokenized = 8 << 20 // bytes of a text whose tokens are listed one by one: a list takes some fifty times as much memory

var tokenizeVerb = verb{
	name: "tokenize", args: "MODEL [TEXT]", short: "show the tokens of a text",
	example: `vkcome tokenize embedded:tiny12 "The layers that keep" --special`,
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var o tokenizeOptions
		f.StringVar(&o.file, "file", "", "read the text from this file rather than from TEXT, - for standard input")
		f.BoolVar(&o.raw, "raw", false, "read special tokens such as <|im_start|> as text")
		f.BoolVar(&o.special, "special", false, "with what the tokenizer puts around a text, BOS for example")
		c := outputFlags(f)
		c.offlineFlag(f)
		return func(ctx context.Context, args []string) error {
			text, err := o.read(ctx, args[1:])
			if err != nil {
				return err
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				t, err := m.Tokenizer()
				if err != nil {
					return err
				}
				return tokenize(ctx, c, t, text, o)
			})
		}
	},
}

type tokenizeOptions struct {
	file         string
	raw, special bool
}

// read gives the text that the command line means.
func (o *tokenizeOptions) read(ctx context.Context, args []string) (string, error) {
	switch {
	case len(args) > 0 && o.file != "":
		return "", usagef("tokenize: give TEXT or --file, not both")
	case len(args) > 0 && args[0] != "-":
		return args[0], nil
	case len(args) == 0 && o.file == "":
		return "", usagef("tokenize: give TEXT, - for standard input, or --file FILE")
	case o.file != "" && o.file != "-":
		raw, err := files.Read(o.file, maxTokenized)
		return string(raw), err
	}
	raw, err := io.ReadAll(io.LimitReader(interruptible(ctx, os.Stdin), maxTokenized+1))
	if err == nil && len(raw) > maxTokenized {
		err = fmt.Errorf("tokenize: a text of more than %d MB", maxTokenized>>20)
	}
	return string(raw), err
}

// tokenJSON is a token in the output of --json: begin and end are bytes of the text.
type tokenJSON struct {
	ID    int    `json:"id"`
	Piece string `json:"piece"`
	Begin int    `json:"begin"`
	End   int    `json:"end"`
}

func tokenize(ctx context.Context, c *common, t tokenizer.Tokenizer, text string, o tokenizeOptions) error {
	spans, err := t.Spans(ctx, text, !o.raw)
	if err != nil {
		return err
	}
	if o.special {
		spans = tokenizer.Around(t, spans, len(text))
	}
	tokens := make([]tokenJSON, len(spans))
	for i, s := range spans {
		piece, _ := t.Token(s.ID)
		tokens[i] = tokenJSON{s.ID, piece, s.Begin, s.End}
	}
	if c.json {
		return printJSON(map[string]any{"tokens": tokens})
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, token := range tokens {
		fmt.Fprintf(w, "%d\t%d–%d\t%s\n", token.ID, token.Begin, token.End, strconv.Quote(token.Piece))
	}
	return w.Flush()
}
