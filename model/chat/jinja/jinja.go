// Package jinja renders the chat templates of language models: the part of Jinja 2 that they use, with the settings and additions of
// transformers' apply_chat_template (trim_blocks, lstrip_blocks, break and continue, the generation tag, raise_exception,
// strftime_now, tojson without escapes) and with Python's values, methods and error cases.
//
// The rule is the same text as Jinja, or an error. What this package lacks (include, import, extends, block, recursive loops, some
// filters) is an error that names it. Templates come from strangers: they can reach nothing but their variables, and the source, the depth,
// the steps and the text they make are bounded.
//
// Why not a library: with 142 templates as they are found and 26 conversations each, ardanlabs/jinja 1.8.0, the last release for Go 1.26, rendered
// 565 otherwise than Jinja (some of them by the order of a tool's keys) and went on in 450 where Jinja stops with an error; gonja 2.9.1 did so
// in 764 and 357, and refused 826. Neither bounds a template: a macro that calls itself overflows the stack, which ends the process.
package jinja

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits. Real templates have up to 25 kB, nest some 15 levels deep and take some hundred thousand steps.
const (
	maxSource   = 1 << 20  // bytes of a template
	maxNesting  = 200      // levels of the syntax
	maxDepth    = 100      // macros that call one another, and levels of a value
	maxSteps    = 8 << 20  // expressions and statements of one rendering: some seconds
	maxText     = 16 << 20 // bytes of text made by one rendering, intermediate values included, beside what the variables have
	textPerByte = 64       // and so many for each byte of the variables: templates pass a long message through several filters
	maxRange    = 100_000  // as Jinja's sandbox
)

// Raised is the error of a template that called raise_exception.
type Raised struct{ Message string }

func (e *Raised) Error() string { return e.Message }

// Template is a parsed template. Several goroutines may render it.
type Template struct {
	body   []stmt
	hidden []string
	// Source is the text it was parsed from.
	Source string
}

// Parse reads a template.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("jinja: a template of %d bytes, the limit is %d", len(source), maxSource)
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	p := &parser{tokens: tokens}
	body, err := p.statements()
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	names := newSymbols(nil)
	names.statements(body)
	names.within(body)
	return &Template{body, names.hidden(), source}, nil
}

// Render gives the text of the template for the variables: nil, bool, int, int64, float64, string, []any, *Dict and what these hold.
// now is the clock of strftime_now, and ctx ends a rendering that takes long. A template that refuses its variables with raise_exception gives a *Raised.
func (t *Template) Render(ctx context.Context, vars map[string]any, now time.Time) (_ string, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(stop)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("jinja: %w", s.err)
		}
	}()
	m := &machine{ctx: ctx, now: now, text: maxText}
	root := &scope{table: map[string]any{}}
	for name, f := range functions {
		root.table[name] = f
	}
	for name, v := range vars {
		v, size, err := fromGo(v, 0)
		if err != nil {
			return "", fmt.Errorf("jinja: variable %s: %w", name, err)
		}
		root.table[name] = v
		m.text += size * textPerByte
	}
	var out strings.Builder
	m.out = &out
	root.hide(t.hidden)
	if flow, err := m.run(t.body, root); err != nil {
		var raised *Raised
		if errors.As(err, &raised) {
			return "", raised
		}
		return "", fmt.Errorf("jinja: %w", err)
	} else if flow != goOn {
		return "", errors.New("jinja: break or continue outside of a loop")
	}
	return out.String(), nil
}
