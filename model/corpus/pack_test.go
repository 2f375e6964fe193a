package corpus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/tokenizer"
)

// wholeSample is how windows were chosen when all were in memory.
func wholeSample(windows [][]uint32, n int, seed uint64) [][]uint32 {
	if n <= 0 || n >= len(windows) {
		return windows
	}
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(len(windows))[:n]
	slices.Sort(chosen)
	out := make([][]uint32, n)
	for i, w := range chosen {
		out[i] = windows[w]
	}
	return out
}

// wholePack is how texts were packed when they were all in memory: it tokenizes groups of texts and cuts them into windows, of which it keeps those that are wanted: of each group as many, as far as
// it has them. It gives how many windows begin in each group.
func (c *Corpus) wholePack(t tokenizer.Tokenizer, o *Options, groups [][]string) (begun []int, err error) {
	bos, _ := t.BOS()
	runs := []run{{}}
	longest := 0
	for g, texts := range groups {
		if o.Pack == Join {
			joined := strings.Join(texts, "\n\n")
			if g < len(groups)-1 {
				joined += "\n\n"
			}
			texts = []string{joined}
		}
		last := &runs[len(runs)-1]
		last.starts = append(last.starts, start{len(last.tokens), g})
		for _, text := range texts {
			if text == "" && o.Pack == Docs {
				continue
			}
			run := &runs[len(runs)-1]
			before := len(run.tokens)
			encode, around := t.Encode, Encode
			if o.Special || o.Chat != nil {
				encode, around = t.EncodeSpecial, EncodeSpecial
			}
			switch {
			case o.BOS == AutoBOS && o.Chat == nil:
				run.tokens = append(run.tokens, must(around(t, text))...)
			case o.BOS == AlwaysBOS || o.BOS == replaceBOS && t.AddBOS():
				run.tokens = append(run.tokens, uint32(bos))
				fallthrough
			default:
				for _, id := range must(encode(text)) {
					run.tokens = append(run.tokens, uint32(id))
				}
			}
			c.Tokens += len(run.tokens) - before
			longest = max(longest, len(run.tokens))
			if o.NoCross {
				runs = append(runs, newRun(g))
			}
		}
	}
	extra := 0
	if o.BOS == WindowBOS {
		extra = 1
	}
	window := o.window()
	if o.Window == 0 {
		window = min(window, max(2, longest+extra))
	}
	body := window - extra
	if window < 2 {
		return nil, badWindow(window)
	}
	if longest == 0 {
		return nil, errEmpty
	}
	of := make([][][]uint32, len(groups))
	found := 0
	for _, run := range runs {
		for at := 0; at+body <= len(run.tokens); at += body {
			piece := run.tokens[at : at+body : at+body]
			if extra > 0 {
				piece = append([]uint32{uint32(bos)}, piece...)
			}
			if o.BOS == replaceBOS && t.AddBOS() {
				piece[0] = uint32(bos)
			}
			g := run.group(at)
			of[g] = append(of[g], piece)
			found++
		}
	}
	if found == 0 {
		if o.NoCross {
			return nil, fmt.Errorf("no document has the %d tokens of a window, the longest has %d", body, longest)
		}
		return nil, tooShort(longest, window)
	}
	n := o.Windows
	if n == 0 && o.Tokens > 0 {
		n = max(1, o.Tokens/window)
	}
	begun = wholeShares(of, n)
	for g, windows := range of {
		if begun[g] > 0 {
			c.Windows = append(c.Windows, wholeSample(windows, begun[g], o.Seed)...)
		}
	}
	return begun, nil
}

// run is tokens that windows do not cross the ends of.
type run struct {
	tokens []uint32
	starts []start // of the groups that it holds
}

// start says at which token of a run a group starts.
type start struct{ at, group int }

func newRun(group int) run { return run{starts: []start{{0, group}}} }

// group gives the group that a token is of.
func (r *run) group(token int) int {
	g := r.starts[0].group
	for _, s := range r.starts {
		if s.at <= token {
			g = s.group
		}
	}
	return g
}

// wholeShares says how many of the windows of each group make n together: of each as many, or all that it has. n of 0 takes all.
func wholeShares(of [][][]uint32, n int) []int {
	shares := make([]int, len(of))
	left := n
	for more := true; more; {
		more = false
		for g := range of {
			if shares[g] < len(of[g]) && (n == 0 || left > 0) {
				shares[g]++
				left--
				more = true
			}
		}
	}
	return shares
}

// wholeLoad is Load with all texts in memory.
func wholeLoad(t *testing.T, tok tokenizer.Tokenizer, o Options) (*Corpus, error) {
	t.Helper()
	if err := o.check(tok); err != nil {
		return nil, err
	}
	var sources []source
	rows := false
	for _, from := range o.Sources {
		f, form, err := o.find(t.Context(), from)
		if err != nil {
			return nil, err
		}
		of := []source{{name: f.name, form: form, files: f.files, rows: slices.ContainsFunc(f.files, hasRows)}}
		if o.apart() {
			of = of[0].split()
		}
		for _, s := range of {
			sources, rows = append(sources, s), rows || s.rows
		}
	}
	var taken []*choice
	for i, s := range sources {
		if i == 0 || o.apart() {
			taken = append(taken, newChoice(t.Context(), &o, s.rows || rows && !o.apart()))
		}
		for _, file := range s.files {
			if err := read(t.Context(), file, s.form, taken[len(taken)-1]); errors.Is(err, errEnough) {
				break
			} else if err != nil {
				return nil, err
			}
		}
	}
	c := &Corpus{}
	groups := make([][]string, len(taken))
	for i, of := range taken {
		groups[i] = handed(t, of)
		c.Documents, c.Nulls = c.Documents+len(groups[i]), c.Nulls+of.nulls
	}
	_, err := c.wholePack(tok, &o, groups)
	return c, err
}

// TestPackedAsWhole: the windows of texts that are read, encoded and chosen in parts are those of texts that are all in memory, for the same
// seed, over packs, sizes, places of BOS, choices and tokenizers; whether tokens wait in memory or in a file.
func TestPackedAsWhole(t *testing.T) {
	tokens := []tokenizer.Tokenizer{tiny12(t)}
	for _, file := range []string{"gpt2.json", "llama2.json", "llama3.json"} {
		raw, err := os.ReadFile("../tokenizer/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, config := range []string{`{}`, `{"bos_token": "a", "add_bos_token": true}`} {
			tok, err := tokenizer.ParseJSON(raw, []byte(config))
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, tok)
		}
	}
	defer func(n int) { maxHeld = n }(maxHeld)
	rnd := rand.New(rand.NewPCG(16, 5))
	dir := t.TempDir()
	some := func(n int) string { // a text, often short, now and then empty
		var b strings.Builder
		for range rnd.IntN(n + 1) {
			b.WriteString([]string{"The ", "layers", " ", "a", "\n\n", "é", ". ", "keep that", "<|endoftext|>", "x "}[rnd.IntN(10)])
		}
		return b.String()
	}
	worked := 0
	for round := range 1500 {
		var sources []string
		for i := range 1 + rnd.IntN(3) {
			n := []int{0, 3, 40}[rnd.IntN(3)]
			if rnd.IntN(2) == 0 {
				sources = append(sources, put(t, dir, fmt.Sprintf("%d.txt", i), []byte(some(20*n))))
				continue
			}
			var texts []string
			for range rnd.IntN(12) {
				texts = append(texts, some(n))
			}
			sources = append(sources, jsonl(t, dir, fmt.Sprintf("%d.jsonl", i), texts...))
		}
		one := func(n ...int) int { return n[rnd.IntN(len(n))] }
		o := Options{
			Sources: sources, Docs: one(0, 0, 0, 1, 5, 100), InOrder: rnd.IntN(2) > 0, Seed: uint64(rnd.IntN(50)), Pack: []Pack{Join, Docs}[rnd.IntN(2)],
			NoCross: rnd.IntN(3) == 0, BOS: []BOS{AutoBOS, AlwaysBOS, NeverBOS, WindowBOS, replaceBOS}[rnd.IntN(5)], Special: rnd.IntN(2) > 0,
			Window: one(0, 0, 2, 3, 8, 30), Context: one(0, 2, 7, 64), Windows: one(0, 0, 1, 3, 9), Tokens: one(0, 0, 1, 20, 300), Dir: dir,
		}
		tok := tokens[rnd.IntN(len(tokens))]
		maxHeld = one(0, 40, 1<<20)
		want, wantErr := wholeLoad(t, tok, o)
		got, err := Load(t.Context(), tok, o)
		if (err == nil) != (wantErr == nil) || err != nil && !strings.HasSuffix(err.Error(), wantErr.Error()) {
			t.Fatalf("%d: %+v: %v, expected %v", round, o, err, wantErr)
		}
		if err != nil {
			continue
		}
		worked++
		if !reflect.DeepEqual(got.Windows, want.Windows) || got.Tokens != want.Tokens || got.Documents != want.Documents || got.Nulls != want.Nulls {
			t.Fatalf("%d: %+v:\ngot  %v, %d tokens of %d documents\nwant %v, %d of %d", round, o, got.Windows, got.Tokens, got.Documents, want.Windows, want.Tokens, want.Documents)
		}
	}
	if worked < 500 {
		t.Errorf("only %d rounds gave windows", worked)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "vkcome-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLoadStops: reading and encoding hear of a context's end, whatever is being read, also where nothing is kept.
func TestLoadStops(t *testing.T) {
	dir := t.TempDir()
	blank := gzipped(t, make([]byte, 64<<20))
	bomb := slices.Repeat(blank, 16) // a gigabyte of nothing
	for name, raw := range map[string][]byte{
		"blank.txt.gz": bomb, "blank.jsonl.gz": gzipped(t, []byte(strings.Repeat(" \n", 32<<20))), "long.txt": []byte(strings.Repeat("The layers that keep. ", 6<<20)),
		"empty.csv.gz": gzipped(t, []byte("text\n"+strings.Repeat("\n", 200<<20))), "rows.jsonl": []byte(strings.Repeat("{\"text\": null}\n", 8<<20)),
	} {
		path := put(t, dir, name, raw)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		_, err := Load(ctx, tiny12(t), Options{Sources: []string{path}, Docs: 1, Seed: 1})
		if name == "long.txt" {
			_, err = Load(ctx, tiny12(t), Options{Sources: []string{path}})
		}
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		cancel()
		os.Remove(path)
	}
}
