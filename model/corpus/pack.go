package corpus

import (
	"context"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/tokenizer"
)

// packer tokenizes the documents of groups as they come and cuts their tokens into windows, of which it keeps those that are wanted: of each
// group as many, as far as it has them.
type packer struct {
	ctx     context.Context
	o       *Options
	t       tokenizer.Tokenizer
	bos     uint32
	replace bool // BOS takes the place of a window's first token

	window, body int        // tokens of a window, and of those the text's
	run          []uint32   // the tokens of a run that fill no window yet: windows do not cross the ends of runs
	at           int        // the group of the first of them
	length       int        // of the run
	longest      int        // run
	short        [][]uint32 // runs as long as the longest, while that fills no window: they are windows if none does
	shortAt      []int      // their groups
	windows      *windows
	counts       []int // windows that begin in each group
	tokens       int

	text          *tokenizer.Writer // the text that is being encoded
	before, after []int             // what goes around it
	waits         bool              // it has no tokens yet
	docs          int               // of the group
	begun         bool              // a document, of which there may be more
}

func newPacker(ctx context.Context, t tokenizer.Tokenizer, o *Options) (*packer, error) {
	p := &packer{ctx: ctx, o: o, t: t, window: o.window(), replace: o.BOS == replaceBOS && t.AddBOS()}
	bos, _ := t.BOS()
	p.bos = uint32(bos)
	if p.window < 2 {
		return nil, badWindow(p.window)
	}
	p.body = p.window - p.extra()
	p.windows = &windows{spill: spill{dir: o.Dir}, some: o.Windows > 0 || o.Tokens > 0}
	return p, nil
}

func (p *packer) close() error { return p.windows.close() }

// extra is how many tokens of a window are not the text's.
func (p *packer) extra() int {
	if p.o.BOS == WindowBOS {
		return 1
	}
	return 0
}

// group ends a group of documents and begins the next.
func (p *packer) group() error {
	if len(p.counts) > 0 && p.o.Pack == Join {
		if err := p.write("\n\n"); err != nil {
			return err
		}
		if err := p.end(); err != nil {
			return err
		}
	}
	p.counts, p.docs = append(p.counts, 0), 0
	if p.o.Pack == Join {
		return p.begin()
	}
	return nil
}

// more encodes a part of a document.
func (p *packer) more(text string) error {
	switch {
	case p.begun:
	case p.o.Pack == Join:
		if p.begun = true; p.docs > 0 {
			text = "\n\n" + text
		}
	case text != "": // documents without text are left out
		p.begun = true
		if err := p.begin(); err != nil {
			return err
		}
	}
	return p.write(text)
}

// take encodes the rest of a document.
func (p *packer) take(text string) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if err := p.more(text); err != nil {
		return err
	}
	begun := p.begun
	p.docs, p.begun = p.docs+1, false
	if begun && p.o.Pack == Docs {
		return p.end()
	}
	return nil
}

func (p *packer) write(text string) error {
	if text == "" {
		return nil
	}
	return p.text.WriteString(text)
}

// begin begins a text. What goes around it is known with its first token, as a text that brings its own BOS gets nothing.
func (p *packer) begin() error {
	special := p.o.Special || p.o.Chat != nil
	p.before, p.after, p.waits = nil, nil, true
	switch {
	case p.o.BOS == AutoBOS && p.o.Chat == nil:
		p.before, p.after = around(p.t)
	case p.o.BOS == AlwaysBOS || p.replace:
		p.before = []int{int(p.bos)}
	}
	p.text = p.t.Writer(p.ctx, special, func(ids []int) error {
		if p.waits && len(ids) > 0 {
			if bos, ok := p.t.BOS(); special && p.o.BOS == AutoBOS && ok && ids[0] == bos {
				p.before, p.after = nil, nil
			}
			p.waits = false
			if err := p.push(p.before); err != nil {
				return err
			}
		}
		return p.push(ids)
	})
	return nil
}

// end ends a text.
func (p *packer) end() error {
	if err := p.text.Close(); err != nil {
		return err
	}
	if p.waits {
		if err := p.push(p.before); err != nil {
			return err
		}
	}
	if err := p.push(p.after); err != nil {
		return err
	}
	if p.o.NoCross {
		p.endRun()
	}
	return nil
}

// push adds tokens to the run.
func (p *packer) push(ids []int) error {
	for _, id := range ids {
		if len(p.run) == 0 {
			p.at = len(p.counts) - 1
		}
		if p.run = append(p.run, uint32(id)); len(p.run) == p.body {
			if err := p.cut(p.run, p.at); err != nil {
				return err
			}
			p.run = p.run[:0]
		}
	}
	p.length, p.tokens = p.length+len(ids), p.tokens+len(ids)
	return nil
}

// endRun ends a run, of which the rest fills no window.
func (p *packer) endRun() {
	if p.length > p.longest {
		p.longest, p.short, p.shortAt = p.length, nil, nil
	}
	if p.o.Window == 0 && p.length == p.longest && p.length > 0 && p.longest < p.body {
		p.short, p.shortAt = append(p.short, slices.Clone(p.run)), append(p.shortAt, p.at)
	}
	p.run, p.length = p.run[:0], 0
}

// cut makes a window of tokens of a group.
func (p *packer) cut(tokens []uint32, group int) error {
	window := make([]uint32, 0, p.window)
	if p.extra() > 0 {
		window = append(window, p.bos)
	}
	if window = append(window, tokens[:p.body]...); p.replace {
		window[0] = p.bos
	}
	p.counts[group]++
	return p.windows.add(window)
}

// finish gives the windows that are wanted, and how many of them begin in each group.
func (p *packer) finish() (chosen [][]uint32, begun []int, err error) {
	if p.o.Pack == Join {
		if err := p.end(); err != nil {
			return nil, nil, err
		}
	}
	if !p.o.NoCross {
		p.endRun()
	}
	if p.longest == 0 {
		return nil, nil, errEmpty
	}
	if p.o.Window == 0 && p.longest < p.body { // nothing fills a window, so it is as long as the longest run
		p.window = max(2, p.longest+p.extra())
		p.body = p.window - p.extra()
		for i, run := range p.short {
			if len(run) < p.body {
				break
			}
			if err := p.cut(run, p.shortAt[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	if p.windows.n == 0 {
		if p.o.NoCross {
			return nil, nil, fmt.Errorf("no document has the %d tokens of a window, the longest has %d", p.body, p.longest)
		}
		return nil, nil, tooShort(p.longest, p.window)
	}
	n := p.o.Windows
	if n == 0 && p.o.Tokens > 0 {
		n = max(1, p.o.Tokens/p.window)
	}
	begun = shares(p.counts, n)
	first := 0
	for g, count := range p.counts {
		for _, i := range pick(count, begun[g], p.o.Seed) {
			window, err := p.windows.get(first + i)
			if err != nil {
				return nil, nil, err
			}
			chosen = append(chosen, window)
		}
		first += count
	}
	return chosen, begun, nil
}

// shares says how many of the windows of each group make n together: of each as many, or all that it has. n of 0 takes all.
func shares(counts []int, n int) []int {
	shares := make([]int, len(counts))
	if n == 0 {
		copy(shares, counts)
		return shares
	}
	for more := true; more; {
		more = false
		for g := range counts {
			if shares[g] < counts[g] && n > 0 {
				shares[g]++
				n--
				more = true
			}
		}
	}
	return shares
}
