package jinja

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// clock is the one of the golden files.
var clock = time.Date(2026, 3, 7, 9, 5, 3, 0, time.UTC)

func golden(t *testing.T, file string, into any) {
	t.Helper()
	f, err := os.Open("../../../testdata/chat/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// TestExpressions compares with Jinja. Where Jinja makes a text, this package makes the same or says what it lacks, and that seldom; where Jinja
// stops with an error, this package does too.
func TestExpressions(t *testing.T) {
	var g struct {
		Vars  json.RawMessage
		Cases []struct {
			Src        string
			Out, Error *string
		}
	}
	golden(t, "expressions.json.gz", &g)
	v, err := ParseJSON(g.Vars)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{}
	v.(*Dict).Each(func(k string, v any) bool { vars[k] = v; return true })
	refused := 0
	for _, c := range g.Cases {
		out, err := "", error(nil)
		tmpl, err := Parse(c.Src)
		if err == nil {
			out, err = tmpl.Render(t.Context(), vars, clock)
		}
		switch {
		case c.Out != nil && err != nil:
			refused++
		case c.Out != nil && out != *c.Out:
			t.Errorf("%q: %q, Jinja makes %q", c.Src, out, *c.Out)
		case c.Out == nil && err == nil:
			t.Errorf("%q: %q, Jinja stops: %s", c.Src, out, *c.Error)
		}
	}
	// Of the texts put together at random, such that no template has: slices of numbers, filters over what has no items whose result nobody reads.
	if refused > len(g.Cases)/25 {
		t.Errorf("%d of %d refused", refused, len(g.Cases))
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000)
	for _, c := range []struct{ src, want string }{
		{"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macros nested deeper than 100 levels"},
		{"{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "more than 16 MB of text"},
		{"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "more than 8388608 steps"},
		{"{{ range(99999999) }}", "range of 99999999 numbers, the limit is 100000"},
		{"{{ 'a' * 999999999 }}", "more than 16 MB of text"},
		{"{{ [1] * 999999999 }}", "more than 16 MB of text"},
		{"{{ 'a'.ljust(999999999) }}", "more than 16 MB of text"},
		{"{{ 'a\nb' | indent(999999999) }}", "more than 16 MB of text"},
		{"{{ '%999999999d' % 1 }}", "not supported"},
		{"{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "deeper than 100 levels"},
		{"{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}", "deeper than 100 levels"},
		{"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "more than 16 MB of text"},
		{"{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}", "more than 8388608 steps"},
		{"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "deeper than 100 levels"},
		{"{{ " + deep + " }}", "nested deeper than 200 levels"},
		{strings.Repeat("{% if 1 %}", 1000), "nested deeper than 200 levels"},
		{"{{ " + strings.Repeat("not ", 1000) + "1 }}", "nested deeper than 200 levels"},
		{"{{ " + strings.Repeat("-", 1000) + "1 }}", "nested deeper than 200 levels"},
		{strings.Repeat("x", maxSource+1), "the limit is 1048576"},
	} {
		tmpl, err := Parse(c.src)
		if err == nil {
			_, err = tmpl.Render(t.Context(), nil, clock)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: %v, expected %q", c.src, err, c.want)
		}
	}
}

func TestMessages(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"a\n{{ x.y }}", "jinja: line 2: x is undefined"},
		{"{{ x.y.z }}", "jinja: line 1: y is undefined in a dict"},
		{"{% include 'a' %}", "jinja: line 1: the tag include is not supported"},
		{"{{ 'a' | urlize }}", "jinja: line 1: the filter urlize is unknown or not supported"},
		{"{{ 'a'.encode() }}", "jinja: line 1: the method encode of a string is not supported or not allowed"},
		{"{% if 1 %}", "jinja: line 1: endif is missing"},
		{"\n{{ 1 ", "jinja: line 2: a tag without its }}"},
		{"{{ raise_exception('no') }}", "no"},
	} {
		tmpl, err := Parse(c.src)
		if err == nil {
			_, err = tmpl.Render(t.Context(), map[string]any{"x": map[bool]any{true: NewDict()}[strings.Contains(c.src, "z")]}, clock)
		}
		if c.src[0] == 'a' {
			tmpl, _ = Parse(c.src)
			_, err = tmpl.Render(t.Context(), nil, clock)
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, expected %s", c.src, err, c.want)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{"{{ a.b }}", "{% for i in l %}{{ loop.index }}{% endfor %}", "{%- if a -%} x {%- endif -%}", "{# c #}{% raw %}{{{% endraw %}", "{{ 'a'|replace('a','b')|upper }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if tmpl, err := Parse(src); err == nil {
			_, _ = tmpl.Render(t.Context(), map[string]any{"a": NewDict("b", "c"), "l": []any{1, "x", nil}}, clock) // no panic, no hang
		}
	})
}

// TestRenderStops: a template that takes its time hears of the context's end.
func TestRenderStops(t *testing.T) {
	tmpl, err := Parse("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tmpl.Render(ctx, nil, time.Now()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
