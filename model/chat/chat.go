// Package chat turns conversations into the texts that models were trained on, with the template that lies beside a model, as
// apply_chat_template of transformers 5.24 does, to the byte.
//
// Such a text holds the special tokens that frame the turns, BOS among them where the template wants it: it is encoded with special tokens
// recognized and with nothing put around it.
package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vkcome/vkcome/model/chat/jinja"
)

// Message is one turn: role, content, and whatever else a template reads (tool_calls, reasoning_content). Values are those of
// [jinja.Template.Render].
type Message = *jinja.Dict

// Text makes a message of a role (system, user, assistant) and a text.
func Text(role, content string) Message { return jinja.NewDict("role", role, "content", content) }

// ParseMessages reads a JSON list of messages.
func ParseMessages(raw []byte) ([]Message, error) {
	v, err := jinja.ParseJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("messages: expected a list")
	}
	messages := make([]Message, len(list))
	for i, one := range list {
		if messages[i], ok = one.(*jinja.Dict); !ok {
			return nil, fmt.Errorf("messages: entry %d is no object", i)
		}
	}
	return messages, nil
}

// Options say what a conversation is rendered for.
type Options struct {
	Prompt    bool            // add_generation_prompt: end with what begins an answer
	Continue  bool            // continue_final_message: end within the last message, which the model goes on with
	Tools     any             // a list of JSON schemas, or nil
	Documents any             // a list of objects, or nil
	Vars      map[string]any  // more variables, such as enable_thinking
	Now       time.Time       // the clock of templates that print the date; zero means the real one
	Context   context.Context // ends a template that takes long; nil: nothing does
}

// Template is a chat template with the special tokens that it may name.
type Template struct {
	parsed  *jinja.Template
	special map[string]string
}

// The special tokens that templates may name.
var specialNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// New reads a template. special are the tokenizer's named tokens in their spelling ("bos_token": "<s>").
func New(source string, special map[string]string) (*Template, error) {
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{parsed, special}, nil
}

// Source is the template's text.
func (t *Template) Source() string { return t.parsed.Source }

// Other names of a message's reasoning_content, the first that is there counts.
var reasoning = []string{"reasoning_content", "thinking", "reasoning"}

// Render gives the text of a conversation. A template that refuses it gives an error that matches *jinja.Raised.
func (t *Template) Render(messages []Message, o Options) (string, error) {
	if len(messages) == 0 {
		return "", errors.New("chat template: a conversation without messages")
	}
	if o.Prompt && o.Continue {
		return "", errors.New("chat template: a conversation cannot both begin an answer and go on with its last message")
	}
	list := make([]any, len(messages))
	for i, m := range messages {
		list[i] = normalized(m)
	}
	var final string
	if o.Continue {
		var err error
		if final, err = t.mark(list[len(list)-1].(Message)); err != nil {
			return "", err
		}
	}
	vars := map[string]any{}
	for _, name := range specialNames {
		if token, ok := t.special[name]; ok {
			vars[name] = token
		}
	}
	for name, v := range o.Vars {
		vars[name] = v
	}
	vars["messages"], vars["tools"], vars["documents"], vars["add_generation_prompt"] = list, o.Tools, o.Documents, o.Prompt
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	text, err := t.parsed.Render(cmp.Or(o.Context, context.Background()), vars, now)
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	if o.Continue {
		return cutAtMark(text, final)
	}
	return text, nil
}

// normalized copies a message without what is null, its reasoning under the names that templates read.
func normalized(m Message) Message {
	var thought any
	for _, name := range reasoning {
		if v, ok := m.Get(name); ok && v != nil && thought == nil {
			thought = v
		}
	}
	out := jinja.NewDict()
	if v, ok := m.Get("thinking"); thought != nil && (!ok || v == nil) {
		out.Set("thinking", thought) // in front, as transformers has it
	}
	m.Each(func(key string, v any) bool {
		if v != nil {
			out.Set(key, v)
		}
		return true
	})
	if thought != nil {
		out.Set("reasoning_content", thought)
	}
	return out
}

// mark is put behind the text of the message that is to be continued; what the template puts behind it is cut off again.
const mark = "CONTINUE_FINAL_MESSAGE_TAG "

// mark marks the last message's text, and gives that text.
func (t *Template) mark(m Message) (string, error) {
	content, _ := m.Get("content")
	if !strings.Contains(t.Source(), "content") {
		return "", errors.New("chat template: it has no place for a content to go on with")
	}
	switch content := content.(type) {
	case string:
		m.Set("content", content+mark)
		return content, nil
	case []any:
		parts := slices.Clone(content)
		for i := len(parts) - 1; i >= 0; i-- {
			part, ok := parts[i].(*jinja.Dict)
			if !ok {
				continue
			}
			if v, ok := part.Get("text"); ok {
				text, ok := v.(string)
				if !ok {
					break
				}
				marked := jinja.NewDict()
				part.Each(func(key string, v any) bool {
					marked.Set(key, v)
					return true
				})
				marked.Set("text", text+mark)
				parts[i] = marked
				m.Set("content", parts)
				return text, nil
			}
		}
	}
	return "", errors.New("chat template: the last message has no text to go on with")
}

func cutAtMark(text, final string) (string, error) {
	at := strings.LastIndex(text, strings.TrimSpace(mark))
	if at < 0 || !strings.Contains(text, strings.TrimFunc(final, unicode.IsSpace)) {
		return "", errors.New("chat template: the last message does not appear in the text, so it cannot be gone on with")
	}
	if strings.HasPrefix(text[at:], mark) {
		return text[:at], nil
	}
	return strings.TrimRightFunc(text[:at], unicode.IsSpace), nil // the template trims messages
}
