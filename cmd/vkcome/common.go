package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/vk"
)

// common are the flags of every verb that computes.
type common struct {
	device, memory, tier string
	hostMemory, spillDir string
	quiet, json          bool
}

func commonFlags(f *pflag.FlagSet) *common {
	c := outputFlags(f)
	f.StringVar(&c.device, "device", "", "device by index, UUID or part of its name (default $VKCOME_DEVICE, else the best)")
	f.StringVar(&c.memory, "max-device-memory", "", "use at most this much device memory, as in 6GiB (default 80 % of it)")
	f.StringVar(&c.tier, "tier", "", "use no shader features above baseline, subgroup, fp16 or coopmat (default $VKCOME_TIER, else all)")
	return c
}

func outputFlags(f *pflag.FlagSet) *common {
	c := &common{}
	f.BoolVar(&c.json, "json", false, "print the result as JSON")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
	return c
}

// open opens the device that the flags mean.
func (c *common) open() (*vk.Device, error) {
	o := vk.Options{Device: c.device}
	if c.memory != "" {
		n, err := parseSize("--max-device-memory", c.memory)
		if err != nil {
			return nil, err
		}
		o.MaxMemory = n
	}
	if c.tier != "" {
		t, err := vk.ParseTier(c.tier)
		if err != nil {
			return nil, usagef("--tier: %w", err)
		}
		o.MaxTier = &t
	}
	return vk.Open(o)
}

// hostFlags are the flags of verbs that keep hidden states.
func (c *common) hostFlags(f *pflag.FlagSet) {
	f.StringVar(&c.hostMemory, "max-host-memory", "", "keep at most this much host memory resident beside the device's, as in 8GiB; hidden states beyond go to files (default no bound)")
	f.StringVar(&c.spillDir, "spill-dir", "", "folder of these files (default the system's for temporary ones)")
}

// host is the bound that the flags mean, nil for none.
func (c *common) host() (*model.HostMemory, error) {
	if c.hostMemory == "" {
		if c.spillDir != "" {
			return nil, usagef("--spill-dir: nothing goes there without --max-host-memory")
		}
		return nil, nil
	}
	n, err := parseSize("--max-host-memory", c.hostMemory)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(cmp.Or(c.spillDir, os.TempDir())); err != nil || !info.IsDir() {
		return nil, usagef("--spill-dir %q: not a folder", c.spillDir)
	}
	debug.SetGCPercent(20) // what is kept is counted, what is not yet collected is not
	debug.SetMemoryLimit(n)
	return &model.HostMemory{Limit: n, Dir: c.spillDir}, nil
}

// tellHost says where the states of a run that has a bound were.
func (c *common) tellHost(h *model.HostMemory) {
	if h != nil {
		s := h.Stats()
		c.note("host memory: %s of %s counted at most, %s of hidden states went to files", vk.Bytes(s.Peak), vk.Bytes(h.Limit), vk.Bytes(s.Spilled))
	}
}

func parseSize(flag, s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usagef("%s %q: expected a size such as 512MiB or 6GiB", flag, s)
	}
	return int64(n), nil
}

// compute opens the device, calls f, and closes it; a failed close is an error too.
func (c *common) compute(f func(d *vk.Device) error) error {
	d, err := c.open()
	if err != nil {
		return err
	}
	err = errors.Join(f(d), d.Close())
	for _, msg := range vk.TakeMessages() { // there are none unless VKCOME_VALIDATE=1
		err = errors.Join(err, fmt.Errorf("validation: %s", msg))
	}
	return err
}

// withModel opens a model and calls f with it.
func withModel(name string, f func(m *model.Model) error) error {
	open := model.Open
	if name == model.Embedded {
		open = func(string) (*model.Model, error) { return model.OpenEmbedded() }
	}
	m, err := open(name)
	if err != nil {
		return err
	}
	return errors.Join(f(m), m.Close())
}

// bar shows progress on a terminal and nothing elsewhere.
type bar struct {
	*progressbar.ProgressBar
	stage string
	off   bool
}

func (c *common) bar() *bar {
	return &bar{off: c.quiet || !term.IsTerminal(int(os.Stderr.Fd()))}
}

// set shows done of total of a stage.
func (b *bar) set(stage string, done, total int) {
	if b.off {
		return
	}
	if stage != b.stage {
		b.finish()
		b.stage = stage
		b.ProgressBar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(stage),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true))
	}
	_ = b.Set(done) // a terminal that cannot be written to loses its bar, not the work
}

func (b *bar) finish() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}

// note says something on stderr unless quiet.
func (c *common) note(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// printJSON writes v to stdout.
func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}

// corpusFlags are the flags that say which tokens to run on.
type corpusFlags struct {
	text    []string
	tokens  string
	window  int
	samples int
	limit   int // tokens, when samples is 0
	seed    uint64
}

// calibrationTokens is how much prune calibrates on unless told otherwise: about twice what the authors use.
const calibrationTokens = 32_768

// newCorpusFlags declares the flags; by default at most so many tokens' worth of windows are used, 0 for all.
func newCorpusFlags(f *pflag.FlagSet, tokens int) *corpusFlags {
	c := &corpusFlags{limit: tokens}
	usual := "all"
	if tokens > 0 {
		usual = fmt.Sprintf("as many as hold %d tokens", tokens)
	}
	f.StringArrayVar(&c.text, "text", nil, "plain text file; may be given several times")
	f.StringVar(&c.tokens, "tokens", "", "JSON array of token ids, instead of text")
	f.IntVar(&c.window, "window", 0, "tokens of a window (default 2048, or the model's max_position_embeddings or the corpus if that is less)")
	f.IntVar(&c.samples, "samples", 0, "windows to use, chosen at random by the seed (default "+usual+")")
	f.Uint64Var(&c.seed, "seed", 0, "seed of the choice of windows")
	return c
}

// load reads the corpus and cuts it into windows.
func (c *corpusFlags) load(m *model.Model) ([][]uint32, error) {
	if (len(c.text) > 0) == (c.tokens != "") {
		return nil, usagef("give either --text FILE or --tokens FILE")
	}
	if c.samples < 0 {
		return nil, usagef("--samples %d: expected 0 or more", c.samples)
	}
	var tokens []uint32
	var err error
	if c.tokens != "" {
		tokens, err = corpus.ReadTokens(c.tokens)
	} else {
		t, tokErr := m.Tokenizer()
		if tokErr != nil {
			return nil, tokErr
		}
		tokens, err = corpus.ReadText(t, c.text...)
	}
	if err != nil {
		return nil, err
	}
	window := c.window
	if window == 0 {
		window = min(2048, m.Config.MaxPositionEmbeddings, max(2, len(tokens)))
	}
	windows, err := corpus.Cut(tokens, window)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", c.tokens, c.firstText(), err)
	}
	samples := c.samples
	if samples == 0 && c.limit > 0 {
		samples = max(1, c.limit/window)
	}
	return corpus.Sample(windows, samples, c.seed), nil
}

func (c *corpusFlags) firstText() string {
	if len(c.text) > 0 {
		return c.text[0]
	}
	return ""
}
