package abi

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model/corpus"
)

// corpusRequest says which tokens a model runs on. Fields are those of corpus.Options.
type corpusRequest struct {
	Sources   []string    `json:"sources"`
	TokenFile string      `json:"token_file"` // instead: a JSON list of token ids
	Field     string      `json:"field"`
	Special   bool        `json:"special"`
	Docs      int         `json:"docs"`
	InOrder   bool        `json:"in_order"`
	Seed      uint64      `json:"seed"`
	Pack      corpus.Pack `json:"pack"`
	NoCross   bool        `json:"no_cross"`
	BOS       corpus.BOS  `json:"bos"`
	Window    int         `json:"window"`
	Windows   int         `json:"windows"`
	Tokens    int         `json:"tokens"`
	SpillDir  string      `json:"spill_dir"`
	networked
}

// check refuses what contradicts itself.
func (c *corpusRequest) check() error {
	switch {
	case c == nil:
		return fail(Argument, errors.New("corpus is missing"))
	case (len(c.Sources) > 0) == (c.TokenFile != ""):
		return fail(Argument, errors.New("corpus: give either sources or token_file"))
	case min(c.Docs, c.Window, c.Windows, c.Tokens) < 0:
		return fail(Argument, fmt.Errorf("corpus: docs %d, window %d, windows %d, tokens %d: expected 0 or more", c.Docs, c.Window, c.Windows, c.Tokens))
	}
	return nil
}

// load reads the corpus; tokens is how much of it counts where the request says nothing, 0 for all, and test whether it measures.
func (c *corpusRequest) load(ctx context.Context, m *opened, t *teller, tokens int, test bool) (*corpus.Corpus, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t.stage("read the text", 0, 1)
	o := corpus.Options{
		Sources: c.Sources, Field: c.Field, Special: c.Special, Test: test, Docs: c.Docs, InOrder: c.InOrder, Seed: c.Seed, Pack: c.Pack, NoCross: c.NoCross, BOS: c.BOS,
		Window: c.Window, Context: m.Config.MaxPositionEmbeddings, Windows: c.Windows, Tokens: c.Tokens, Hub: c.hub(t), Dir: c.SpillDir,
	}
	if o.Tokens == 0 {
		o.Tokens = tokens
	}
	in, err := c.read(ctx, m, o)
	if err != nil {
		return nil, fail(Argument, err)
	}
	for _, line := range in.Notes() {
		t.note(line)
	}
	return in, nil
}

func (c *corpusRequest) read(ctx context.Context, m *opened, o corpus.Options) (*corpus.Corpus, error) {
	if c.TokenFile != "" {
		return corpus.LoadTokens(ctx, c.TokenFile, m.Config.VocabSize, o)
	}
	k, err := m.Tokenizer()
	if err != nil {
		return nil, fail(Model, err)
	}
	return corpus.Load(ctx, k, o)
}

// window is how many tokens a window has that is told nothing else.
func (c *corpusRequest) window(m *opened) int {
	if c.Window > 0 {
		return c.Window
	}
	return min(corpus.DefaultWindow, m.Config.MaxPositionEmbeddings)
}
