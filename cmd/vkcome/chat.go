package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

// maxLine bounds a user's turn.
const maxLine = 16 << 20

// runChat answers the prompt, or each line of the standard input with those before it in mind.
func runChat(ctx context.Context, c *common, d *vk.Device, m *model.Model, o generateOptions) (err error) {
	t, err := m.Tokenizer()
	if err != nil {
		return err
	}
	s := &chatSession{common: c, m: m}
	if s.Template, err = openTemplate(m, t, o.template); err != nil {
		return err
	}
	if s.Vars, err = templateVars(o.vars); err != nil {
		return err
	}
	if s.Writer, err = generate.NewWriter(d, m, t, o.WriterOptions); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Writer.Close()) }()
	if o.system != "" {
		s.Messages = append(s.Messages, chat.Text("system", o.system))
	}
	if o.asked {
		return s.turn(ctx, o.prompt)
	}
	return s.lines(ctx, interruptible(ctx, os.Stdin))
}

// openTemplate reads a model's template by its name, "" for the usual one, or that of a file.
func openTemplate(m *model.Model, t tokenizer.Tokenizer, name string) (*chat.Template, error) {
	template, err := chat.Open(m.Files, t, name)
	if err == nil || name == "" {
		if errors.Is(err, chat.ErrNone) {
			err = fmt.Errorf("%s: %w; --chat-template FILE names one", m.Name, err)
		}
		return template, err
	}
	raw, failed := files.Read(name, chat.MaxTemplate)
	if failed != nil {
		if strings.ContainsRune(name, filepath.Separator) || errors.Is(err, chat.ErrNone) {
			err = failed
		}
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return chat.New(string(raw), t.SpecialTokens())
}

// anyTemplate is the value of --apply-chat-template without a name.
const anyTemplate = "default"

// chatTemplate is openTemplate for --apply-chat-template.
func chatTemplate(m *model.Model, t tokenizer.Tokenizer, name string) (*chat.Template, error) {
	if name == anyTemplate {
		name = ""
	}
	return openTemplate(m, t, name)
}

// templateVars reads variables of a template.
func templateVars(text string) (map[string]any, error) {
	if text == "" {
		return nil, nil
	}
	vars, err := chat.ParseVars([]byte(text))
	if err != nil {
		return nil, usagef("--chat-vars: %w", err)
	}
	return vars, nil
}

// chatSession is a conversation.
type chatSession struct {
	*common
	generate.Chat
	m *model.Model
}

// lines answers each line.
func (s *chatSession) lines(ctx context.Context, in io.Reader) error {
	typed := term.IsTerminal(int(os.Stdin.Fd())) && !s.quiet
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for {
		if typed {
			_, _ = io.WriteString(terminal, "> ")
		}
		if !lines.Scan() {
			if errors.Is(lines.Err(), bufio.ErrTooLong) {
				return fmt.Errorf("generate: a line of more than %d bytes", maxLine)
			}
			return lines.Err()
		}
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := s.turn(ctx, lines.Text()); err != nil {
			return err
		}
	}
}

// turn answers one message.
func (s *chatSession) turn(ctx context.Context, text string) error {
	var print func(string)
	if !s.json {
		print = func(text string) { _, _ = io.WriteString(data, text) } // which remembers that it failed
	}
	start := time.Now()
	turn, err := s.Turn(ctx, text, print)
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(map[string]any{"prompt": turn.Rendered, "prompt_tokens": turn.Prompt, "new_tokens": turn.Tokens, "text": turn.Text})
	}
	fmt.Fprintln(stdout)
	s.tellGenerated(s.m, len(turn.Tokens), start)
	return nil
}
