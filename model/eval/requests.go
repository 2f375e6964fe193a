package eval

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// Encoder turns requests into tokens, as lm-eval 0.4.13 does for a causal model of transformers with default arguments: its _encode_pair,
// tok_encode, get_rolling_token_windows and make_disjoint_window.
type Encoder struct {
	t       tokenizer.Tokenizer
	longest int // tokens that the model sees at most
	prefix  int // the token before a text that has nothing before it, -1 where the tokenizer has none
	begin   string
	first   []int // what the tokenizer puts before a text,
	last    []int // and after it
}

// NewEncoder encodes for a model that sees at most longest tokens.
func NewEncoder(t tokenizer.Tokenizer, longest int) *Encoder {
	e := &Encoder{t: t, longest: longest, prefix: -1, first: t.Prefix(), last: t.Suffix()}
	if bos, ok := t.BOS(); ok {
		e.prefix = bos
	} else if eos, ok := t.EOS(); ok {
		e.prefix = eos
	}
	if e.prefix >= 0 {
		e.begin = t.Decode([]int{e.prefix})
	}
	return e
}

// encode gives the tokens of a text; special tokens in it count, and a text that begins with the prefix token gets nothing around
// it.
func (e *Encoder) encode(text string) ([]int, error) {
	ids, err := e.t.EncodeSpecial(text)
	if err != nil || e.begin != "" && strings.HasPrefix(text, e.begin) {
		return ids, err
	}
	return slices.Concat(e.first, ids, e.last), nil
}

var errNoPrefix = errors.New("its context is empty, and the tokenizer names neither a BOS nor an EOS token to stand there")

// Pair gives the tokens of a context and its continuation, of which those of the continuation are scored. Spaces that end the context
// count to the continuation; both are encoded together, and what follows as many tokens as the context has alone is the continuation's.
// Tokens beyond what the model sees are cut from the left.
func (e *Encoder) Pair(context, continuation string) (run.Sequence, error) {
	return e.pair(context, continuation, e.encode)
}

// pair has the encoder of contexts given, so that choices can share it.
func (e *Encoder) pair(context, continuation string, encode func(string) ([]int, error)) (run.Sequence, error) {
	var before, after []int
	var err error
	if context == "" {
		after, err = e.t.EncodeSpecial(continuation)
		switch {
		case err != nil:
			return run.Sequence{}, err
		case e.prefix < 0:
			return run.Sequence{}, errNoPrefix
		case len(after) > 0 && after[0] == e.prefix:
			before, after = after[:1], after[1:]
		default:
			before = []int{e.prefix}
		}
	} else {
		trimmed := strings.TrimRightFunc(context, pythonSpace)
		continuation = context[len(trimmed):] + continuation
		whole, err := e.encode(trimmed + continuation)
		if err != nil {
			return run.Sequence{}, err
		}
		if before, err = encode(trimmed); err != nil {
			return run.Sequence{}, err
		}
		after = whole[min(len(before), len(whole)):]
	}
	switch {
	case len(before) == 0:
		return run.Sequence{}, errors.New("its context has no tokens")
	case len(after) == 0:
		return run.Sequence{}, fmt.Errorf("its continuation %.40q adds no tokens to its context", continuation)
	case len(after) > e.longest:
		return run.Sequence{}, fmt.Errorf("its continuation has %d tokens, the model sees at most %d", len(after), e.longest)
	}
	return e.sequence(before, after), nil
}

// pythonSpace is what Python's str.rstrip takes for white space.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// sequence joins tokens, of which the last are scored, and cuts from the left what the model cannot see.
func (e *Encoder) sequence(before, after []int) run.Sequence {
	over := max(0, len(before)+len(after)-(e.longest+1))
	q := run.Sequence{Tokens: make([]uint32, 0, len(before)+len(after)-over), Scored: len(after)}
	for _, part := range [][]int{before[over:], after} {
		for _, id := range part {
			q.Tokens = append(q.Tokens, uint32(id))
		}
	}
	return q
}

// Rolling gives windows that score every token of a text once: the first begins with the prefix token, and each of the others has one token
// before those that it scores, or in the last as many as the model sees. A text without tokens has no window.
func (e *Encoder) Rolling(text string) ([]run.Sequence, error) {
	if e.prefix < 0 {
		return nil, errNoPrefix
	}
	ids, err := e.encode(text)
	if err != nil {
		return nil, err
	}
	ids = append([]int{e.prefix}, ids...)
	var windows []run.Sequence
	for done := 1; done < len(ids); {
		n := min(e.longest, len(ids)-done)
		done += n
		begin := max(0, done-e.longest-1)
		windows = append(windows, e.sequence(ids[begin:done-n], ids[done-n:done]))
	}
	return windows, nil
}

// encoded are the sequences of a document, and how many each of its requests has.
type encoded struct {
	sequences []run.Sequence
	counts    []int
}

// encodeAll encodes the requests of documents.
func (e *Encoder) encodeAll(ctx context.Context, t *task.Task, docs []int, requests [][]task.Request) ([]encoded, error) {
	out := make([]encoded, len(requests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, document := range requests {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if out[i], err = e.document(t, document); err != nil {
				return fmt.Errorf("%s: document %d: %w", t.Name, docs[i], err)
			}
			return nil
		})
	}
	return out, g.Wait()
}

func (e *Encoder) document(t *task.Task, requests []task.Request) (d encoded, err error) {
	contexts := map[string][]int{}
	encode := func(text string) (ids []int, err error) {
		ids, ok := contexts[text]
		if !ok {
			if ids, err = e.encode(text); err == nil {
				contexts[text] = ids
			}
		}
		return ids, err
	}
	for i, r := range requests {
		var some []run.Sequence
		if t.Output == task.Rolling {
			some, err = e.Rolling(r.Continuation)
		} else {
			some = make([]run.Sequence, 1)
			some[0], err = e.pair(r.Context, r.Continuation, encode)
		}
		if err != nil {
			return d, fmt.Errorf("request %d: %w", i, err)
		}
		d.sequences, d.counts = append(d.sequences, some...), append(d.counts, len(some))
	}
	return d, nil
}
