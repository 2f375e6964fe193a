package abi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
)

type generatorOptions struct {
	MaxTokens   int             `json:"max_tokens"`
	Temperature float64         `json:"temperature"`
	TopK        int             `json:"top_k"`
	TopP        float64         `json:"top_p"`
	Seed        uint64          `json:"seed"`
	IgnoreEOS   bool            `json:"ignore_eos"`
	Chat        bool            `json:"chat"`
	System      string          `json:"system"`
	Template    string          `json:"template"`
	Variables   json.RawMessage `json:"variables"`
}

// defaultTokens is how many tokens a prompt is continued by at most.
const defaultTokens = 128

// writer are the options in the library's words.
func (o generatorOptions) writer() (generate.WriterOptions, error) {
	w := generate.WriterOptions{
		Tokens: o.MaxTokens, Sampling: generate.Sampling{Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP}, Seed: o.Seed, IgnoreEOS: o.IgnoreEOS, Chat: o.Chat,
	}
	if w.Tokens == 0 {
		w.Tokens = defaultTokens
	}
	switch {
	case w.Tokens < 0:
		return w, fail(Argument, fmt.Errorf("max_tokens %d: expected 1 or more", o.MaxTokens))
	case o.Temperature < 0 || o.TopK < 0 || o.TopP < 0 || o.TopP > 1:
		return w, fail(Argument, errors.New("temperature and top_k are 0 or more, top_p is 0 to 1"))
	case !o.Chat && (o.System != "" || o.Template != "" || len(o.Variables) > 0):
		return w, fail(Argument, errors.New("system, template and variables have no meaning without chat"))
	}
	return w, nil
}

// generator is a model that is to continue texts on a device.
type generator struct {
	device  Handle
	on      *device
	of      *opened
	release []func()

	o        generate.WriterOptions
	t        tokenizer.Tokenizer
	template *chat.Template // nil: prompts are continued
	vars     map[string]any
	messages []chat.Message
	writer   *generate.Writer // nil: begin anew
}

// OpenGenerator prepares to generate. It takes nothing of the device's memory yet.
func (l *Library) OpenGenerator(onDevice, of Handle, options string) (Handle, error) {
	var in generatorOptions
	if err := decode(options, &in); err != nil {
		return 0, err
	}
	o, err := in.writer()
	if err != nil {
		return 0, err
	}
	g := &generator{device: onDevice, o: o}
	d, release, err := use[*device](l, onDevice)
	if err != nil {
		return 0, err
	}
	g.on, g.release = d, []func(){release}
	m, release, err := use[*opened](l, of)
	if err == nil {
		g.of, g.release = m, append(g.release, release)
		err = g.prepare(in)
	}
	if err != nil {
		g.letGo()
		return 0, fail(Model, err)
	}
	return l.add(g), nil
}

// prepare reads the tokenizer and the template.
func (g *generator) prepare(in generatorOptions) (err error) {
	if g.t, err = g.of.Tokenizer(); err != nil || !in.Chat {
		return err
	}
	if g.template, err = chat.Open(g.of.Files, g.t, in.Template); err != nil {
		return fmt.Errorf("%s: %w", g.of.Name, err)
	}
	if len(in.Variables) > 0 {
		if g.vars, err = chat.ParseVars(in.Variables); err != nil {
			return fail(Argument, fmt.Errorf("variables: %w", err))
		}
	}
	if in.System != "" {
		g.messages = append(g.messages, chat.Text("system", in.System))
	}
	return nil
}

func (g *generator) letGo() {
	for _, release := range g.release {
		release()
	}
}

type generateRequest struct {
	Prompt string `json:"prompt"`
	Raw    bool   `json:"raw"` // special tokens in the prompt are text
}

type generated struct {
	Text   string   `json:"text"`
	Tokens []uint32 `json:"tokens"`
	Prompt []uint32 `json:"prompt_tokens"`
}

// Generate continues a prompt, or answers it, and gives what came of it as JSON.
func (l *Library) Generate(h Handle, request string, w Watch) ([]byte, error) {
	var in generateRequest
	if err := decode(request, &in); err != nil {
		return nil, err
	}
	g, release, err := claim[*generator](l, h)
	if err != nil {
		return nil, err
	}
	defer release()
	_, free, err := claim[*device](l, g.device)
	if err != nil {
		return nil, err
	}
	defer free()
	var out []byte
	err = l.run(w, func(ctx context.Context, t *teller) error {
		answer, err := g.generate(ctx, in, t)
		if err == nil {
			err = fail(Model, g.of.Unchanged())
		}
		if err != nil {
			return errors.Join(err, g.discard()) // its cache may hold half of a piece
		}
		out, err = json.Marshal(answer)
		return err
	})
	return out, fail(Failed, err)
}

func (g *generator) generate(ctx context.Context, in generateRequest, t *teller) (*generated, error) {
	if g.template != nil && in.Raw {
		return nil, fail(Argument, errors.New("raw has no meaning in a chat: turns are framed by special tokens"))
	}
	if g.writer == nil {
		w, err := generate.NewWriter(g.on.Device, g.of.Model, g.t, g.o)
		if err != nil {
			return nil, fail(Model, err)
		}
		g.writer = w
	}
	var text strings.Builder
	print := func(piece string) {
		text.WriteString(piece)
		if piece != "" {
			t.tell(textEvent{piece})
		}
	}
	if g.template != nil {
		c := generate.Chat{Writer: g.writer, Template: g.template, Vars: g.vars, Messages: g.messages}
		turn, err := c.Turn(ctx, in.Prompt, print)
		if err != nil {
			return nil, err
		}
		g.messages = c.Messages
		return &generated{turn.Text, turn.Tokens, turn.Prompt}, nil
	}
	encode := corpus.EncodeSpecial
	if in.Raw {
		encode = corpus.Encode
	}
	prompt, err := encode(g.t, in.Prompt)
	if err == nil && len(prompt) == 0 {
		err = fmt.Errorf("the prompt is empty and %s has no BOS token to start from", g.of.Name)
	}
	if err != nil {
		return nil, fail(Argument, err)
	}
	tokens, err := g.writer.Write(ctx, prompt, print)
	return &generated{text.String(), tokens, prompt}, err
}

// discard has the next prompt begin anew.
func (g *generator) discard() error {
	if g.writer == nil {
		return nil
	}
	err := g.writer.Close()
	g.writer = nil
	return err
}

// CloseGenerator closes a generator, for which its device must be free.
func (l *Library) CloseGenerator(h Handle) error {
	g, release, err := use[*generator](l, h)
	if err != nil {
		return err
	}
	release()
	_, free, err := claim[*device](l, g.device)
	if err != nil {
		return err
	}
	defer free()
	if _, err := remove[*generator](l, h); err != nil {
		return err
	}
	err = g.discard()
	g.letGo()
	return fail(Device, err)
}
