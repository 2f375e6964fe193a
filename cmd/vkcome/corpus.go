package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
)

// corpusFlags are the flags that say which tokens to run on.
type corpusFlags struct {
	text             []string
	tokens           string
	window           int
	samples          int
	limit            int // tokens, when samples is 0
	seed             uint64
	field            string
	docs             int
	inOrder, noCross bool
	pack, bos        string
	special          bool
	template         string // of conversations: anyTemplate, or see openTemplate
	protocol         string
	evaluate         bool
	protocols        []string // that the verb knows

	source string // what load read, for the record
	nulls  int    // rows without a text, which it left out
	f      *pflag.FlagSet
}

// calibrationTokens is how much prune calibrates on unless told otherwise.
const calibrationTokens = corpus.CalibrationTokens

// The protocols, by which corpora are read as others read them.
const (
	comePaper = "come-paper"
	llamaCpp  = "llama.cpp" // of eval ppl: windows as llama-perplexity scores them
)

// newCorpusFlags declares the flags. By default at most so many tokens' worth of windows are used, to calibrate on; with 0 all are, to
// evaluate, and names mean the split for that.
func newCorpusFlags(f *pflag.FlagSet, tokens int) *corpusFlags {
	if tokens == 0 {
		return corpusFlagsOf(f, tokens, "all")
	}
	return corpusFlagsOf(f, tokens, fmt.Sprintf("as many as hold %d tokens", tokens))
}

// corpusFlagsOf is newCorpusFlags with words for how many windows are usual.
func corpusFlagsOf(f *pflag.FlagSet, tokens int, usual string) *corpusFlags {
	c := &corpusFlags{limit: tokens, evaluate: tokens == 0, protocols: []string{comePaper}, f: f}
	f.StringArrayVar(&c.text, "text", nil, "text, .json, .jsonl, .csv (.gz, .zst and others), .parquet, a directory, a glob, or a name ("+strings.Join(corpus.Names(), ", ")+"), or owner/name of a data set on the hub; wiki2:test or DIR:test for another split; may be given several times: --samples then takes of each as many")
	f.StringVar(&c.tokens, "tokens", "", "JSON array of token ids, instead of text")
	f.StringVar(&c.field, "field", "text", "field of JSON and column of CSV and Parquet that holds the text")
	f.IntVar(&c.docs, "docs", 0, "documents to use, shuffled by the seed (default all, or of rows as many as hold the tokens that are used)")
	f.BoolVar(&c.inOrder, "in-order", false, "with --docs: the first as they stand")
	f.StringVar(&c.pack, "pack", string(corpus.Join), "join documents by a blank line and tokenize them as one, or docs: each on its own")
	f.BoolVar(&c.noCross, "no-cross", false, "a window holds tokens of one document (--pack docs)")
	f.StringVar(&c.bos, "bos", string(corpus.AutoBOS), "BOS before what is tokenized at once: auto (as the tokenizer's configuration says), always, never; or window: before every window")
	f.BoolVar(&c.special, "special", false, "special tokens in the text (<|im_end|>) count as such; without it they are text like any other")
	f.StringVar(&c.template, "apply-chat-template", "", "rows hold conversations (--field, default messages), put into words by the model's chat template; =NAME (or a file) chooses one")
	f.Lookup("apply-chat-template").NoOptDefVal = anyTemplate
	f.StringVar(&c.protocol, "protocol", "", "come-paper: WikiText-2 as the CoMe authors use it; --docs is their number of rows (256). eval ppl has llama.cpp too: windows of 512 whose second half is scored, as llama-perplexity does")
	f.IntVar(&c.window, "window", 0, "tokens of a window (default 2048, or the model's max_position_embeddings or the corpus if that is less)")
	f.IntVar(&c.samples, "samples", 0, "windows to use, chosen at random by the seed (default "+usual+")")
	f.Uint64Var(&c.seed, "seed", 0, "seed of the choice of documents and windows")
	return c
}

// load reads the corpus and cuts it into windows.
func (c *corpusFlags) load(ctx context.Context, m *model.Model) ([][]uint32, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.tokens != "" {
		return c.loadTokens(ctx, m)
	}
	t, err := m.Tokenizer()
	if err != nil {
		return nil, err
	}
	o := corpus.Options{
		Sources: c.text, Field: c.field, Test: c.evaluate, Docs: c.docs, InOrder: c.inOrder, Seed: c.seed, Pack: corpus.Pack(c.pack), NoCross: c.noCross,
		BOS: corpus.BOS(c.bos), Window: c.window, Context: m.Config.MaxPositionEmbeddings, Windows: c.samples, Tokens: c.limit,
	}
	switch c.protocol {
	case comePaper:
		o = o.ComePaper()
	case llamaCpp:
		o = o.LlamaCpp()
	}
	own := &common{}
	own.quiet, _ = c.f.GetBool("quiet") // every verb has both
	own.offline, _ = c.f.GetBool("offline")
	b := own.bar()
	o.Hub = own.hub(b)
	o.Dir, _ = c.f.GetString("spill-dir") // of verbs that have it
	in, err := corpus.Load(ctx, t, o)
	b.finish()
	if err != nil {
		return nil, err
	}
	if bound, _ := c.f.GetString("max-host-memory"); bound != "" {
		debug.FreeOSMemory() // a run counts what is resident when it begins: the windows, not what reading them has left
	}
	for _, line := range in.Notes() {
		own.note("%s", line)
	}
	c.nulls = in.Nulls
	if c.source = in.Source; c.protocol != "" {
		c.source += "; " + c.protocol
	}
	return in.Windows, nil
}

// corpusRecord is what the JSON of a measurement says of its text.
type corpusRecord struct {
	Source string `json:"source"`
	Nulls  int    `json:"null_rows,omitempty"`
}

func (c *corpusFlags) record() corpusRecord { return corpusRecord{c.source, c.nulls} }

// check refuses flags that contradict each other.
func (c *corpusFlags) check() error {
	if (len(c.text) > 0 || c.protocol != "") == (c.tokens != "") {
		return usagef("give either --text FILE or --tokens FILE")
	}
	if c.samples < 0 {
		return usagef("--samples %d: expected 0 or more", c.samples)
	}
	if c.docs < 0 {
		return usagef("--docs %d: expected 0 or more", c.docs)
	}
	if c.protocol != "" && !slices.Contains(c.protocols, c.protocol) {
		return usagef("--protocol %q: expected %s", c.protocol, strings.Join(c.protocols, " or "))
	}
	if c.inOrder && c.docs == 0 {
		return usagef("--in-order: say how many with --docs")
	}
	for _, other := range []struct {
		given bool
		name  string
		flags []string
	}{
		{c.tokens != "", "--tokens", []string{"field", "docs", "in-order", "pack", "no-cross", "bos", "special", "apply-chat-template"}},
		{c.protocol != "", "--protocol", []string{"in-order", "pack", "no-cross", "bos", "special", "apply-chat-template"}},
	} {
		for _, flag := range other.flags {
			if other.given && c.f.Changed(flag) {
				return usagef("--%s has no meaning with %s", flag, other.name)
			}
		}
	}
	if c.noCross && c.f.Changed("pack") && c.pack != string(corpus.Docs) {
		return usagef("--no-cross: a window of one document needs --pack docs, not %s", c.pack)
	}
	return nil
}

func (c *corpusFlags) loadTokens(ctx context.Context, m *model.Model) ([][]uint32, error) {
	o := corpus.Options{Window: c.window, Context: m.Config.MaxPositionEmbeddings, Windows: c.samples, Tokens: c.limit, Seed: c.seed}
	in, err := corpus.LoadTokens(ctx, c.tokens, m.Config.VocabSize, o)
	if err != nil {
		return nil, err
	}
	c.source = in.Source
	return in.Windows, nil
}
