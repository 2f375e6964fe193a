package corpus

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// Pack says how documents become one run of tokens.
type Pack string

// The ways of packing.
const (
	Join Pack = "join" // joined by a blank line and tokenized as one text
	Docs Pack = "docs" // each tokenized on its own; those without text left out
)

// BOS says where a token that begins a sequence is put.
type BOS string

// The places of BOS. A text is what is tokenized at once: the joined documents, of each source where windows are taken of each, or each document.
const (
	AutoBOS   BOS = "auto"   // in front of every text if the tokenizer adds one
	AlwaysBOS BOS = "always" // in front of every text
	NeverBOS  BOS = "never"  // nowhere
	WindowBOS BOS = "window" // in front of every window and nowhere else

	replaceBOS BOS = "replace" // as AutoBOS, and in the place of every window's first token: see LlamaCpp
)

// Options say what is read and how it becomes windows. The zero value of each option but Sources means the default.
type Options struct {
	// Sources are files, directories, globs, names (Names), or data sets of the hub as OWNER/NAME, which are read as a directory is. A path
	// comes before a name. A name and a directory with splits mean the split that Test says; name:SPLIT, DIR:SPLIT and, where the directory's
	// README has configs, DIR:CONFIG:SPLIT another.
	Sources []string
	Field   string // of JSON, CSV and Parquet that holds text; default "text"
	// Chat makes texts of rows whose Field (then by default "messages") holds conversations. Their special tokens count, the template writes
	// what goes around them, and documents are packed by Docs.
	Chat    *chat.Template
	Special bool // special tokens in the texts, such as <|im_end|>, count as such: as tokenizers of transformers read texts
	Test    bool // the split is what models are evaluated on (test, else validation), not what they are trained on

	// Docs takes so many documents, shuffled by Seed. 0 takes all in their order; but where Tokens bounds what is used, and documents are
	// rows of files, as many in shuffled order as surely hold that much.
	//
	// The order is that of keys: document i, from 0, has the i-th output of SplitMix64 (Steele et al. 2014) started with Seed.
	Docs    int
	InOrder bool // Docs takes the first as they stand, and reading ends there
	Seed    uint64

	Pack    Pack // default Join
	NoCross bool // a window holds tokens of one document; documents are packed by Docs, each one's tail dropped
	BOS     BOS  // default AutoBOS

	Window  int // tokens; default 2048, or Context or all tokens if that is less
	Context int // of the model; 0 is unknown
	Windows int // how many, chosen at random by Seed, of each of several sources as many unless Docs is set; 0 is all, or as many as hold Tokens
	Tokens  int // 0 is no bound

	Hub hub.Hub // where names are looked up
	Dir string  // folder of tokens that are waited with in files, see Load; "" is the system's for temporary ones. No file stays there.
}

// ComePaperRows is how many rows the CoMe authors calibrate on.
const ComePaperRows = 256

// ComePaper sets the protocol of the code released with CoMe (arXiv 2510.15304): rows of WikiText-2, joined by a blank line and cut into
// windows of 2048, the tail dropped. To calibrate, rows of the train split, shuffled by Seed, of which the first 256 are taken; to
// evaluate (Test), all of the test split. Sources, Docs and Window that are set stay; nothing bounds the tokens. The shuffle is that of
// Options.Docs, not NumPy's, so the rows are others than the authors'.
func (o Options) ComePaper() Options {
	if len(o.Sources) == 0 {
		o.Sources = []string{"wiki2"}
	}
	if o.Docs == 0 && !o.Test {
		o.Docs = ComePaperRows
	}
	o.InOrder, o.Pack, o.NoCross, o.BOS, o.Tokens = false, Join, false, AutoBOS, 0
	return o
}

// LlamaCpp sets how llama-perplexity of llama.cpp cuts a text: as one, from its begin, into windows of 512 unless Window is set, the tail
// dropped. Where the tokenizer adds a BOS, Load puts it in the place of each window's first token, as that program does.
func (o Options) LlamaCpp() Options {
	o.InOrder, o.Pack, o.NoCross, o.BOS, o.Tokens = false, Join, false, replaceBOS, 0
	o.Window = cmp.Or(o.Window, 512)
	return o
}

// Corpus is what Load gives.
type Corpus struct {
	Windows   [][]uint32
	Source    string   // what was read, for a record: names, and how many documents of how many
	Documents int      // that were taken
	Tokens    int      // that they have, those outside of the windows too
	Nulls     int      // rows that have null instead of a text, of those that were looked at: left out
	Left      []string // files of directories that are in no split: left out
	Partial   []string // what is said of directories that lack files of the split
	Unused    []string // sources of several that no window begins in
}

// Notes tells in a line each what was left out or is missing.
func (c *Corpus) Notes() (lines []string) {
	if c.Nulls > 0 {
		lines = append(lines, fmt.Sprintf("%d rows without a text (null) were left out", c.Nulls))
	}
	if len(c.Left) > 0 {
		lines = append(lines, fmt.Sprintf("%d files were left out, which by their names are in no split: %s", len(c.Left), names(c.Left, filepath.Base)))
	}
	for _, name := range c.Unused {
		lines = append(lines, fmt.Sprintf("%s is shorter than a window: nothing of it is used", name))
	}
	return append(lines, c.Partial...)
}

// Load reads documents and makes windows of their tokens. Text is read and encoded in parts, and reading ends where nothing more can be
// wanted: behind the first documents that Docs takes InOrder. What is kept of a corpus is its windows, and beside them up to 64 MiB each of documents and
// tokens: where windows are chosen at random, of which all must be known first, more of them wait in a file in Dir. Documents that are
// chosen at random (Docs, or rows by Tokens) wait until all were seen, those beyond that in such a file too.
func Load(ctx context.Context, t tokenizer.Tokenizer, o Options) (c *Corpus, err error) {
	if err := o.check(t); err != nil {
		return nil, err
	}
	var sources []source
	var names []string
	c, rows := &Corpus{}, false
	for _, from := range o.Sources {
		f, form, err := o.find(ctx, from)
		if err != nil {
			return nil, err
		}
		of := []source{{name: f.name, form: form, files: f.files, rows: slices.ContainsFunc(f.files, hasRows)}}
		if o.apart() {
			of = of[0].split()
		}
		for _, s := range of {
			sources, rows = append(sources, s), rows || s.rows
			names = append(names, s.name)
		}
		c.Left = append(c.Left, f.left...)
		if f.partial != "" {
			c.Partial = append(c.Partial, f.partial)
		}
	}
	all := strings.Join(names, ", ")
	p, err := newPacker(ctx, t, &o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", all, err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	taken, err := o.read(ctx, sources, rows, p)
	if err != nil {
		return nil, err
	}
	seen, shuffled, ended := 0, false, false
	for _, t := range taken {
		c.Documents, seen, c.Nulls = c.Documents+t.taken(), seen+t.seen, c.Nulls+t.nulls
		shuffled, ended = shuffled || t.shuffled(), ended || t.ended
	}
	switch {
	case shuffled:
		c.Source = fmt.Sprintf("; %d of %d documents, shuffled by seed %d", c.Documents, seen, o.Seed)
	case ended:
		c.Source = fmt.Sprintf("; the first %d documents", c.Documents)
	case rows:
		c.Source = fmt.Sprintf("; %d documents", c.Documents)
	}
	if c.Nulls > 0 {
		c.Source += fmt.Sprintf("; %d null rows left out", c.Nulls)
		if c.Documents == 0 {
			return nil, fmt.Errorf("%s: all %d rows are null", all, c.Nulls)
		}
	}
	windows, begun, err := p.finish()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", all, err)
	}
	c.Windows, c.Tokens = windows, p.tokens
	if len(begun) == len(names) && len(names) > 1 {
		for i, n := range begun {
			if n == 0 {
				c.Unused = append(c.Unused, names[i])
			}
			names[i] = fmt.Sprintf("%s (%d windows)", names[i], n)
		}
		all = strings.Join(names, ", ")
	}
	c.Source = all + c.Source
	return c, nil
}

// read reads the documents that are chosen of all sources as one; or of each on its own where of each as many windows are wanted, as else a
// text that is one document among the rows of another source would be taken whole or not at all, by chance. What is taken goes to the packer.
func (o *Options) read(ctx context.Context, sources []source, rows bool, p *packer) (taken []*choice, err error) {
	apart, size := o.apart(), 0
	for i, s := range sources {
		if i == 0 || apart {
			taken = append(taken, newChoice(ctx, o, s.rows || rows && !apart))
			if err := p.group(); err != nil {
				return nil, err
			}
		}
		c := taken[len(taken)-1]
		if !c.shuffled() {
			c.to = p
		}
		for _, file := range s.files {
			if err := read(ctx, file, s.form, c); errors.Is(err, errEnough) {
				break
			} else if err != nil {
				return nil, err
			}
		}
		if i == len(sources)-1 || apart {
			if err := errors.Join(c.hand(p.more, p.take), c.aside.close()); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
		if apart {
			if size += c.size; size > maxText {
				return nil, errText
			}
		}
	}
	return taken, nil
}

// apart says whether windows are taken of each source, and not of all as one.
func (o *Options) apart() bool { return o.Docs == 0 && (o.Windows > 0 || o.Tokens > 0) }

func (o *Options) check(t tokenizer.Tokenizer) error {
	if len(o.Sources) == 0 {
		return errors.New("no corpus given")
	}
	if o.Field == "" {
		o.Field = "text"
		if o.Chat != nil {
			o.Field = "messages"
		}
	}
	if o.Pack == "" && o.Chat != nil {
		o.Pack = Docs
	}
	if o.Pack == "" {
		o.Pack = Join
	}
	if o.NoCross {
		o.Pack = Docs
	}
	if o.BOS == "" {
		o.BOS = AutoBOS
	}
	switch {
	case o.Pack != Join && o.Pack != Docs:
		return fmt.Errorf("pack %q: expected %s or %s", o.Pack, Join, Docs)
	case !slices.Contains([]BOS{AutoBOS, AlwaysBOS, NeverBOS, WindowBOS, replaceBOS}, o.BOS):
		return fmt.Errorf("BOS %q: expected %s, %s, %s or %s", o.BOS, AutoBOS, AlwaysBOS, NeverBOS, WindowBOS)
	case o.Docs < 0 || o.Windows < 0 || o.Tokens < 0:
		return fmt.Errorf("%d documents, %d windows, %d tokens: expected 0 or more of each", o.Docs, o.Windows, o.Tokens)
	}
	if _, ok := t.BOS(); !ok && (o.BOS == AlwaysBOS || o.BOS == WindowBOS) {
		return fmt.Errorf("BOS %q: the tokenizer names no BOS token", o.BOS)
	}
	return nil
}

// source is what one of Options.Sources stands for.
type source struct {
	name  string
	files []string
	form  form // how rows become text
	rows  bool // some files have rows
}

// split gives the files with rows and the others each as a source, where there are both.
func (s source) split() []source {
	texts, rows := s, s
	texts.name, rows.name = s.name+" (texts)", s.name+" (rows)"
	texts.files, texts.rows, rows.files = nil, false, nil
	for _, f := range s.files {
		if hasRows(f) {
			rows.files = append(rows.files, f)
		} else {
			texts.files = append(texts.files, f)
		}
	}
	if len(texts.files) == 0 || len(rows.files) == 0 {
		return []source{s}
	}
	return []source{texts, rows}
}

// hasRows says whether a file's documents are its rows.
func hasRows(path string) bool { return slices.Contains(suffixes[1:], kind(path)) }

// form is how rows become text unless a name says otherwise.
func (o *Options) form() form {
	if o.Chat != nil {
		return form{fields: []string{o.Field}, chat: o.Chat}
	}
	return oneField(o.Field)
}

// find gives the files of a source and the form of their rows.
func (o *Options) find(ctx context.Context, source string) (*found, form, error) {
	f, err := expand(source, o.Test)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, o.form(), err
	}
	d, split, ok, lookupErr := lookup(source, o.Test)
	switch {
	case ok && o.Chat != nil:
		return nil, form{}, fmt.Errorf("%s holds no conversations, as a chat template needs", source)
	case lookupErr != nil:
		return nil, form{}, lookupErr
	case ok:
		repo := d.repo(o.Hub)
		files, commit, err := o.Hub.Files(ctx, repo, d.splits[split])
		base, _, _ := strings.Cut(source, ":")
		return &found{files: files, name: fmt.Sprintf("%s:%s (%s@%s)", base, split, repo.ID, commit)}, d.form, err
	case isRepo(source):
		f, err := o.repository(ctx, source)
		return f, o.form(), err
	case !strings.ContainsAny(source, `./\`):
		err = fmt.Errorf("%s: %w, nor a corpus by name (%s)", source, os.ErrNotExist, strings.Join(Names(), ", "))
	}
	return nil, form{}, err
}

// repository names of a Corpus.Source: those of corpora by name stand in brackets, others in front, each with the commit.
var repoInSource = regexp.MustCompile(`^(?:[^ ]+ \()?([^\s():@]+/[^\s():@]+)(?::[^\s()@]*)?@[0-9a-zA-Z]+\)?(?: \([0-9]+ windows\))?$`)

// Repositories are the data sets of the hub that a Corpus.Source names.
func Repositories(source string) (ids []string) {
	names, _, _ := strings.Cut(source, ";")
	for _, name := range strings.Split(names, ", ") {
		if m := repoInSource.FindStringSubmatch(name); m != nil && hub.IsName(m[1]) && !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// isRepo says whether a source is the name of a repository, OWNER/NAME with a split or a config behind it or not.
func isRepo(source string) bool {
	id, _, _ := strings.Cut(source, ":")
	return hub.IsName(id)
}

// repository finds the files of a data set of the hub, as those of a folder: in the cache if the split is there whole, else they are
// fetched.
func (o *Options) repository(ctx context.Context, source string) (f *found, err error) {
	id, want, _ := strings.Cut(source, ":")
	repo := hub.Repo{Kind: hub.Datasets, ID: id}
	dir, err := o.Hub.Snapshot(repo)
	if err == nil {
		f, err = folder(dir, want, o.Test)
	}
	if o.Hub.IsOffline() && err != nil {
		return nil, fmt.Errorf("%s: no such folder; %w, and this is offline", source, err)
	}
	if err != nil || f.partial != "" {
		dir, _, err = o.Hub.Select(ctx, repo, func(names []string, read func(name string) ([]byte, error)) ([]string, error) {
			var card []byte
			var with []string
			if slices.Contains(names, readmeFile) {
				if card, err = read(readmeFile); err != nil {
					return nil, err
				}
				with = []string{readmeFile}
			}
			l, err := layoutOf(names, card)
			if err != nil {
				return nil, err
			}
			_, s, err := l.choose(want, o.Test)
			return append(with, s.files...), err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: no such folder; %w", source, err)
		}
		if f, err = folder(dir, want, o.Test); err != nil {
			return nil, err
		}
	}
	f.name = fmt.Sprintf("%s@%s", strings.Replace(f.name, filepath.Base(dir), id, 1), filepath.Base(dir))
	return f, nil
}

// document is a text with its place in the shuffled order.
type document struct {
	key   uint64
	text  string
	size  int   // of the text, in bytes
	filed int64 // where it is in the file, counted from 1; 0: it is in memory
}

// choice is a sink that keeps the documents that Options choose.
type choice struct {
	ctx         context.Context
	seed        uint64
	docs, bytes int // to keep; 0 is all
	inOrder     bool
	ended       bool

	seen  int        // documents so far
	nulls int        // and those of them that have no text
	size  int        // bytes of those kept
	next  uint64     // the key of the document that want spoke of
	begun []byte     // what more took of it, in memory
	filed int64      // of it, as a document's
	sized int        // of it
	kept  []document // a heap, the last in order on top, where shuffled
	held  int        // bytes of texts in memory
	aside spill      // has the others
	to    *packer    // takes the documents at once, none of which is kept
	done  int        // documents that are kept no longer
}

var errText = fmt.Errorf("more than %d GiB of text; take a part of the documents with corpus.Options.Docs N", maxText>>30)

// CalibrationTokens is how much of a text a calibration takes that is told nothing else: about twice what the authors use.
const CalibrationTokens = 32_768

// DefaultWindow is the tokens of a window unless told otherwise: the authors' own.
const DefaultWindow = 2048

// Bytes of text that surely make a token: English has 4 to 5. Where tails are dropped, most documents may have no window at all.
const (
	bytesPerToken        = 16
	bytesPerTokenNoCross = 256
)

func newChoice(ctx context.Context, o *Options, rows bool) *choice {
	c := &choice{ctx: ctx, seed: o.Seed, docs: o.Docs, inOrder: o.InOrder, aside: spill{dir: o.Dir}}
	if o.Docs == 0 && o.Tokens > 0 && rows {
		tokens := max(o.Tokens, o.window())
		if o.Windows > 0 {
			tokens = o.Windows * o.window()
		}
		if c.bytes = tokens * bytesPerToken; o.NoCross {
			c.bytes = tokens * bytesPerTokenNoCross
		}
	}
	return c
}

// window is the size of windows unless the corpus is smaller than one.
func (o *Options) window() int {
	switch {
	case o.Window != 0:
		return o.Window
	case o.Context > 0:
		return min(DefaultWindow, o.Context)
	}
	return DefaultWindow
}

func (c *choice) shuffled() bool { return (c.docs > 0 || c.bytes > 0) && !c.inOrder }

func (c *choice) Len() int           { return len(c.kept) }
func (c *choice) Less(i, j int) bool { return c.kept[i].key > c.kept[j].key } // the keys of one run differ: SplitMix64 is a bijection
func (c *choice) Swap(i, j int)      { c.kept[i], c.kept[j] = c.kept[j], c.kept[i] }
func (c *choice) Push(x any)         { c.kept = append(c.kept, x.(document)) }
func (c *choice) Pop() any {
	last := c.kept[len(c.kept)-1]
	c.kept = c.kept[:len(c.kept)-1]
	return last
}

func (c *choice) want() (bool, error) {
	if err := c.ctx.Err(); err != nil {
		return false, err
	}
	if c.inOrder && c.docs > 0 && c.taken() == c.docs {
		c.ended = true
		return false, errEnough
	}
	c.next = splitMix64(c.seed, uint64(c.seen))
	c.seen++
	return !c.shuffled() || !c.full() || c.next < c.kept[0].key, nil
}

// full says whether the documents that are kept are enough.
func (c *choice) full() bool {
	return c.docs > 0 && len(c.kept) >= c.docs || c.bytes > 0 && c.size >= c.bytes
}

func (c *choice) null() { c.nulls++ }

// taken is how many documents were taken.
func (c *choice) taken() int { return c.done + len(c.kept) }

func (c *choice) more(text string) error {
	if c.size += len(text); c.size > maxText {
		return errText
	}
	if c.to != nil {
		return c.to.more(text)
	}
	return c.keep(text)
}

// keep adds text to the document that has begun: in memory as long as there is room for all of it, else in the file.
func (c *choice) keep(text string) error {
	c.sized += len(text)
	if c.filed == 0 && c.held+len(text) <= maxHeld {
		c.begun = append(c.begun, text...)
		c.held += len(text)
		return nil
	}
	if c.filed == 0 {
		c.filed = c.aside.size + 1
		if _, err := c.aside.Write(c.begun); err != nil {
			return err
		}
		c.held -= len(c.begun)
		c.begun = nil
	}
	_, err := io.WriteString(&c.aside, text)
	return err
}

func (c *choice) take(text string) error {
	if c.size += len(text); c.to != nil {
		if c.done++; c.size > maxText {
			return errText
		}
		return c.to.take(text)
	}
	if err := c.keep(text); err != nil {
		return err
	}
	d := document{c.next, string(c.begun), c.sized, c.filed}
	c.begun, c.sized, c.filed = c.begun[:0], 0, 0
	if !c.shuffled() {
		c.kept = append(c.kept, d)
	} else {
		heap.Push(c, d)
		for len(c.kept) > 1 {
			last := c.kept[0]
			if enough := c.docs > 0 && len(c.kept) > c.docs || c.bytes > 0 && c.size-last.size >= c.bytes; !enough {
				break
			}
			c.size -= last.size
			c.held -= len(last.text)
			heap.Pop(c)
		}
	}
	if c.size > maxText {
		return errText
	}
	return nil
}

// hand hands on what was kept, in order: of each document the last part to take, what is before it to more.
func (c *choice) hand(more, take func(text string) error) error {
	if c.shuffled() {
		slices.SortFunc(c.kept, func(a, b document) int { return cmp.Compare(a.key, b.key) })
	}
	var room []byte
	for _, d := range c.kept {
		text := d.text
		for at, rest := d.filed-1, d.size; d.filed > 0 && rest > 0; {
			if room == nil {
				room = make([]byte, 1<<20)
			}
			part := room[:min(rest, len(room))]
			if _, err := c.aside.ReadAt(part, at); err != nil {
				return err
			}
			at, rest, text = at+int64(len(part)), rest-len(part), string(part)
			if rest == 0 {
				break
			}
			if err := more(text); err != nil {
				return err
			}
		}
		if err := take(text); err != nil {
			return err
		}
	}
	c.kept, c.done = nil, c.taken()
	return nil
}

// splitMix64 is output i of the generator SplitMix64 with a seed (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
// generators").
func splitMix64(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
