package generate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

// WriterOptions say how a Writer continues a prompt.
type WriterOptions struct {
	Tokens    int // new ones at most, of each prompt
	Sampling  Sampling
	Seed      uint64 // of the choice
	IgnoreEOS bool   // go on after an end of sequence
	Chat      bool   // prompts grow, each out of the one before: the cache gets room for more than the first needs
}

// Writer continues prompts one after another, as text. What a prompt has in common with the text before it stays in the cache. A Writer belongs
// to one goroutine.
type Writer struct {
	d     *vk.Device
	m     *model.Model
	t     tokenizer.Tokenizer
	o     WriterOptions
	rules Rules
	rng   *rand.Rand
	g     *Generator
	room  int // tokens that g holds
}

// NewWriter prepares to continue prompts by a model, whose tokenizer is t. It takes nothing of the device before Write.
func NewWriter(d *vk.Device, m *model.Model, t tokenizer.Tokenizer, o WriterOptions) (*Writer, error) {
	rules, err := m.Generation()
	if err != nil {
		return nil, err
	}
	return &Writer{d: d, m: m, t: t, o: o, rules: Rules{*rules}, rng: rand.New(rand.NewPCG(o.Seed, 0))}, nil
}

// Close frees all that the Writer holds on the device.
func (w *Writer) Close() error {
	if w.g == nil {
		return nil
	}
	return w.g.Close()
}

// hold makes room for so many tokens. A chat gets room for twice as many, so that few turns begin anew.
func (w *Writer) hold(tokens int) error {
	if tokens <= w.room {
		return nil
	}
	if w.o.Chat {
		tokens = min(max(2*tokens, 1024), w.m.Config.MaxPositionEmbeddings)
	}
	if err := w.Close(); err != nil {
		return err
	}
	w.g, w.room = nil, 0
	g, err := New(w.d, w.m, tokens)
	if err == nil {
		w.g, w.room = g, tokens
	}
	return err
}

// Write continues a prompt and returns the new tokens; print, if not nil, gets their text piece by piece. A prompt that leaves no position
// free is an error.
func (w *Writer) Write(ctx context.Context, prompt []uint32, print func(string)) ([]uint32, error) {
	room := w.m.Config.MaxPositionEmbeddings - len(prompt)
	if room < 1 {
		return nil, fmt.Errorf("generate: a prompt of %d tokens, %s has max_position_embeddings %d", len(prompt), w.m.Name, w.m.Config.MaxPositionEmbeddings)
	}
	n := min(w.o.Tokens, room)
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
		token := w.o.Sampling.Next(logits, w.rng)
		if slices.Contains(w.rules.EOS, int(token)) && !w.o.IgnoreEOS {
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

// Chat is a conversation with a model, put into words by its template.
type Chat struct {
	Writer   *Writer
	Template *chat.Template
	Vars     map[string]any // of the template
	Messages []chat.Message // so far
}

// Turn is an answer, and what led to it.
type Turn struct {
	Rendered string   // the conversation as the template writes it
	Prompt   []uint32 // its tokens
	Tokens   []uint32 // of the answer
	Text     string   // of the answer, without special tokens
}

// Turn answers a message and keeps both among Messages. print, if not nil, gets the answer piece by piece. After an error Messages are as
// they were.
func (c *Chat) Turn(ctx context.Context, text string, print func(string)) (turn Turn, err error) {
	m, t := c.Writer.m, c.Writer.t
	messages := append(slices.Clip(c.Messages), chat.Text("user", text))
	if turn.Rendered, err = c.Template.Render(messages, chat.Options{Prompt: true, Vars: c.Vars, Context: ctx}); err != nil {
		return turn, fmt.Errorf("%s: %w", m.Name, err)
	}
	ids, err := t.EncodeSpecial(turn.Rendered) // the template has written what frames the text, BOS too
	switch {
	case err != nil:
		return turn, err
	case len(ids) == 0:
		return turn, errors.New(m.Name + ": the chat template makes an empty text")
	}
	turn.Prompt = make([]uint32, len(ids))
	for i, id := range ids {
		turn.Prompt[i] = uint32(id)
	}
	if turn.Tokens, err = c.Writer.Write(ctx, turn.Prompt, print); err != nil {
		return turn, err
	}
	turn.Text = t.DecodeSkipSpecial(ints(turn.Tokens))
	c.Messages = append(messages, chat.Text("assistant", turn.Text))
	return turn, nil
}

func ints(tokens []uint32) []int {
	out := make([]int, len(tokens))
	for i, t := range tokens {
		out[i] = int(t)
	}
	return out
}
