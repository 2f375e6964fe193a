package jinja

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// machine is one rendering.
type machine struct {
	ctx   context.Context
	now   time.Time
	out   *strings.Builder
	steps int
	text  int // bytes that may yet be made
	depth int
}

// scope is a level of names. A loop's body, a macro and a block with an end tag have their own; "if" has not.
type scope struct {
	parent *scope
	table  map[string]any // of the outer ones; the others hold few names for a short time
	names  []string
	values []any
}

func (s *scope) find(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if i := slices.Index(s.names, name); i >= 0 {
			return s.values[i], true
		}
		if v, ok := s.table[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) set(name string, v any) {
	if s.table != nil {
		s.table[name] = v
	} else if i := slices.Index(s.names, name); i >= 0 {
		s.values[i] = v
	} else {
		s.names, s.values = append(s.names, name), append(s.values, v)
	}
}

// hide makes names undefined.
func (s *scope) hide(names []string) {
	for _, n := range names {
		s.set(n, &undefined{why: n + " is undefined"})
	}
}

// inner is a scope within s, in which the hidden names are undefined.
func (s *scope) inner(hidden []string) *scope {
	in := &scope{parent: s}
	in.hide(hidden)
	return in
}

var errTooMuch = fmt.Errorf("the template makes more than %d MB of text", maxText>>20)

// made accounts for n bytes of new text.
func (m *machine) made(n int) error {
	if n < 0 || n > m.text {
		return errTooMuch
	}
	m.text -= n
	return nil
}

func (m *machine) step() error {
	if m.steps++; m.steps > maxSteps {
		return fmt.Errorf("the template takes more than %d steps", maxSteps)
	}
	if m.steps%1024 == 0 {
		return m.ctx.Err()
	}
	return nil
}

func (m *machine) write(s string) error {
	m.out.WriteString(s)
	return m.made(len(s))
}

// placed puts a line in front of an error, once.
func placed(at int, err error) error {
	var p *placedError
	var raised *Raised
	if err == nil || errors.As(err, &p) || errors.As(err, &raised) {
		return err
	}
	return &placedError{at, err}
}

type placedError struct {
	line int
	err  error
}

func (e *placedError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *placedError) Unwrap() error { return e.err }

func (m *machine) run(body []stmt, s *scope) (flow, error) {
	for _, st := range body {
		if err := m.step(); err != nil {
			return goOn, placed(st.at(), err)
		}
		f, err := m.do(st, s)
		if err != nil {
			return goOn, placed(st.at(), err)
		}
		if f != goOn {
			return f, nil
		}
	}
	return goOn, nil
}

// captured is the text that body writes.
func (m *machine) captured(body []stmt, s *scope) (string, error) {
	if m.depth++; m.depth > maxDepth {
		return "", fmt.Errorf("macros nested deeper than %d levels", maxDepth)
	}
	outer := m.out
	var b strings.Builder
	m.out = &b
	_, err := m.run(body, s)
	m.out = outer
	m.depth--
	return b.String(), err
}

func (m *machine) do(st stmt, s *scope) (flow, error) {
	switch st := st.(type) {
	case *text:
		return goOn, m.write(st.text)
	case *output:
		v, err := m.eval(st.of, s)
		if err != nil {
			return goOn, err
		}
		out, err := m.print(v)
		if err != nil {
			return goOn, err
		}
		return goOn, m.write(out)
	case *branch:
		for i, t := range st.tests {
			yes, err := m.truth(t, s)
			if err != nil {
				return goOn, err
			}
			if yes {
				return m.run(st.bodies[i], s)
			}
		}
		return m.run(st.orElse, s)
	case *loop:
		return m.loop(st, s)
	case *assign:
		v, err := m.eval(st.of, s)
		if err != nil {
			return goOn, err
		}
		return goOn, m.assign(st.to, v, s, s)
	case *jump:
		return st.flow, nil
	case *macro:
		s.set(st.name, m.closure(st, s))
		return goOn, nil
	case *with:
		in := s.inner(st.hidden)
		for i, e := range st.of {
			v, err := m.eval(e, s)
			if err != nil {
				return goOn, err
			}
			if err := m.assign(st.to[i], v, in, in); err != nil {
				return goOn, err
			}
		}
		return m.run(st.body, in)
	}
	return goOn, m.doBlock(st, s)
}

// throughFilters is what a block writes, through its filters.
func (m *machine) throughFilters(body []stmt, hidden []string, filters expr, s *scope) (any, error) {
	v, err := m.captured(body, s.inner(hidden))
	if err != nil {
		return nil, err
	}
	return m.chain(filters, v, s)
}

// doBlock does the statements that capture what their bodies write.
func (m *machine) doBlock(st stmt, s *scope) error {
	switch st := st.(type) {
	case *scoped:
		v, err := m.captured(st.body, s.inner(st.hidden))
		if err != nil {
			return err
		}
		return m.write(v)
	case *assignBlock:
		out, err := m.throughFilters(st.body, st.hidden, st.filters, s)
		if err != nil {
			return err
		}
		return m.assign(st.to, out, s, s)
	case *filterBlock:
		out, err := m.throughFilters(st.body, st.hidden, st.filters, s)
		if err != nil {
			return err
		}
		printed, err := textArg("a filter block", out)
		if err != nil {
			return err
		}
		return m.write(printed)
	case *callBlock:
		args, err := m.arguments(st.of.args, s)
		if err != nil {
			return err
		}
		args.names, args.values = append(args.names, "caller"), append(args.values, m.closure(st.caller, s))
		f, err := m.eval(st.of.of, s)
		if err != nil {
			return err
		}
		v, err := m.call(f, args)
		if err != nil {
			return err
		}
		printed, err := m.print(v)
		if err != nil {
			return err
		}
		return m.write(printed)
	}
	return fmt.Errorf("statement %T", st) // unreachable: the parser makes no other
}

// print is the text of a value in the output.
func (m *machine) print(v any) (string, error) {
	s := str(v)
	if _, plain := isString(v); !plain {
		if err := m.made(len(s)); err != nil {
			return "", err
		}
	}
	return s, nil
}

// assign fills a target; names go into s, namespaces are found from from.
func (m *machine) assign(t target, v any, s, from *scope) error {
	if t.tuple {
		items, err := m.items(v)
		if err != nil {
			return err
		}
		if len(items) != len(t.parts) {
			return fmt.Errorf("%d values for %d names", len(items), len(t.parts))
		}
		for i, p := range t.parts {
			if err := m.assign(p, items[i], s, from); err != nil {
				return err
			}
		}
		return nil
	}
	if t.attr == "" {
		s.set(t.name, v)
		return nil
	}
	found, _ := from.find(t.name)
	ns, ok := found.(*namespace)
	if !ok {
		return fmt.Errorf("%s is no namespace, its attribute %s can't be set", t.name, t.attr)
	}
	if strings.HasPrefix(t.attr, "_") {
		return fmt.Errorf("attribute %s of a namespace: names with _ in front are not allowed", t.attr)
	}
	ns.vars.put(t.attr, v)
	return nil
}

// loopState is the variable loop.
type loopState struct {
	items   []any
	at      int
	changed []any // the last arguments of loop.changed
}

func (m *machine) loop(l *loop, s *scope) (flow, error) {
	over, err := m.eval(l.over, s)
	if err != nil {
		return goOn, err
	}
	items, err := m.items(over)
	if err != nil {
		return goOn, err
	}
	if l.where != nil {
		var kept []any
		for _, v := range items {
			in := s.inner(nil)
			if err := m.assign(l.to, v, in, in); err != nil {
				return goOn, err
			}
			yes, err := m.truth(l.where, in)
			if err != nil {
				return goOn, err
			}
			if yes {
				kept = append(kept, v)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		return m.run(l.orElse, s.inner(l.hiddenElse))
	}
	state := &loopState{items: items}
	orElse := true // Jinja goes there too if no turn came to its end
	for i, v := range items {
		m.steps += 8 // a scope and its names
		if err := m.step(); err != nil {
			return goOn, err
		}
		state.at = i
		in := s.inner(l.hidden)
		in.set("loop", state)
		if err := m.assign(l.to, v, in, in); err != nil {
			return goOn, err
		}
		f, err := m.run(l.body, in)
		if err != nil {
			return goOn, err
		}
		if f == breakLoop {
			break
		}
		orElse = orElse && f == continueLoop
	}
	if orElse {
		return m.run(l.orElse, s.inner(l.hiddenElse))
	}
	return goOn, nil
}

func (l *loopState) attribute(name string) (any, bool) {
	n := int64(len(l.items))
	i := int64(l.at)
	switch name {
	case "index":
		return i + 1, true
	case "index0":
		return i, true
	case "revindex":
		return n - i, true
	case "revindex0":
		return n - i - 1, true
	case "first":
		return i == 0, true
	case "last":
		return i == n-1, true
	case "length":
		return n, true
	case "depth":
		return int64(1), true
	case "depth0":
		return int64(0), true
	case "previtem":
		if i == 0 {
			return &undefined{why: "there is no previous item"}, true
		}
		return l.items[i-1], true
	case "nextitem":
		if i == n-1 {
			return &undefined{why: "there is no next item"}, true
		}
		return l.items[i+1], true
	case "cycle":
		return &function{"cycle", func(_ *machine, a callArgs) (any, error) {
			if len(a.pos) == 0 || len(a.names) > 0 {
				return nil, errors.New("loop.cycle needs items")
			}
			return a.pos[l.at%len(a.pos)], nil
		}}, true
	case "changed":
		return &function{"changed", func(m *machine, a callArgs) (any, error) {
			if l.changed != nil && m.equal(&tuple{l.changed}, &tuple{a.pos}) {
				return false, nil
			}
			l.changed = append([]any{}, a.pos...)
			return true, nil
		}}, true
	}
	return nil, false
}

// closure makes a macro's value: a function that sees the names where it was defined.
func (m *machine) closure(mac *macro, s *scope) *function {
	return &function{mac.name, func(m *machine, a callArgs) (any, error) {
		in := s.inner(mac.hidden)
		n := len(mac.params)
		for i, p := range mac.params {
			if i < len(a.pos) {
				in.set(p, a.pos[i])
			} else if v, ok := a.take(p); ok {
				in.set(p, v)
			} else if d := i - (n - len(mac.defaults)); d >= 0 {
				v, err := m.eval(mac.defaults[d], in)
				if err != nil {
					return nil, err
				}
				in.set(p, v)
			} else {
				in.set(p, &undefined{why: fmt.Sprintf("the parameter %s of %s was not given", p, mac.name)})
			}
		}
		if mac.caller {
			v, ok := a.take("caller")
			if !ok {
				v = &undefined{why: "there is no caller"}
			}
			in.set("caller", v)
		}
		if mac.kwargs {
			d := NewDict()
			for i, k := range a.names {
				d.put(k, a.values[i])
			}
			in.set("kwargs", d)
		} else if len(a.names) > 0 {
			return nil, fmt.Errorf("%s takes no argument %s", mac.name, a.names[0])
		}
		rest := a.pos[min(n, len(a.pos)):]
		if mac.varargs {
			in.set("varargs", &tuple{rest})
		} else if len(rest) > 0 {
			return nil, fmt.Errorf("%s takes %d arguments, not %d", mac.name, n, len(a.pos))
		}
		return m.captured(mac.body, in)
	}}
}

// items are the items of something that can be gone through.
func (m *machine) items(v any) ([]any, error) {
	switch v := v.(type) {
	case *list:
		return v.items, nil
	case *tuple:
		return v.items, nil
	case *Dict:
		return v.keys, nil
	case *view:
		return v.list()
	case *undefined:
		return nil, nil
	case *interval:
		items := make([]any, v.len())
		for i := range items {
			items[i] = v.start + int64(i)*v.step
		}
		return items, nil
	case *iterator:
		var items []any
		for {
			one, ok, err := v.next()
			if err != nil || !ok {
				return items, err
			}
			if err := m.step(); err != nil {
				return nil, err
			}
			items = append(items, one)
		}
	}
	s, ok := isString(v)
	if !ok {
		return nil, fmt.Errorf("a %s has no items to go through", typeName(v))
	}
	if err := m.made(len(s)); err != nil {
		return nil, err
	}
	var items []any
	for _, r := range s {
		items = append(items, string(r))
	}
	return items, nil
}

// callArgs are the values of arguments.
type callArgs struct {
	pos    []any
	names  []string
	values []any
}

// take removes a named argument.
func (a *callArgs) take(name string) (any, bool) {
	for i, n := range a.names {
		if n == name {
			v := a.values[i]
			a.names = append(append([]string{}, a.names[:i]...), a.names[i+1:]...)
			a.values = append(append([]any{}, a.values[:i]...), a.values[i+1:]...)
			return v, true
		}
	}
	return nil, false
}

// bind gives the arguments in the order of params; absent ones are nil with false in given.
func (a callArgs) bind(what string, need int, params ...string) ([]any, []bool, error) {
	if len(a.pos) > len(params) {
		return nil, nil, fmt.Errorf("%s takes %d arguments, not %d", what, len(params), len(a.pos))
	}
	values, given := make([]any, len(params)), make([]bool, len(params))
	for i, v := range a.pos {
		values[i], given[i] = v, true
	}
	for i, p := range params {
		v, ok := a.take(p)
		if ok && given[i] {
			return nil, nil, fmt.Errorf("%s: argument %s twice", what, p)
		}
		if ok {
			values[i], given[i] = v, true
		}
		if i < need && !given[i] {
			return nil, nil, fmt.Errorf("%s: argument %s is missing", what, p)
		}
	}
	if len(a.names) > 0 {
		return nil, nil, fmt.Errorf("%s takes no argument %s", what, a.names[0])
	}
	return values, given, nil
}

func (m *machine) arguments(a arguments, s *scope) (c callArgs, err error) {
	for _, e := range a.pos {
		v, err := m.eval(e, s)
		if err != nil {
			return c, err
		}
		c.pos = append(c.pos, v)
	}
	for i, e := range a.values {
		v, err := m.eval(e, s)
		if err != nil {
			return c, err
		}
		c.names, c.values = append(c.names, a.names[i]), append(c.values, v)
	}
	if a.star != nil {
		v, err := m.eval(a.star, s)
		if err != nil {
			return c, err
		}
		more, err := m.items(v)
		if err != nil {
			return c, err
		}
		c.pos = append(c.pos, more...)
	}
	if a.stars != nil {
		v, err := m.eval(a.stars, s)
		if err != nil {
			return c, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return c, fmt.Errorf("** needs a dict, not a %s", typeName(v))
		}
		for i, k := range d.keys {
			n, ok := isString(k)
			if !ok {
				return c, errors.New("** needs keys that are strings")
			}
			c.names, c.values = append(c.names, n), append(c.values, d.values[i])
		}
	}
	return c, nil
}

func (m *machine) call(f any, a callArgs) (any, error) {
	switch f := f.(type) {
	case *function:
		v, err := f.call(m, a)
		if err != nil {
			return nil, err
		}
		if s, ok := isString(v); ok {
			err = m.made(len(s))
		}
		return v, err
	case *undefined:
		return nil, f.error()
	}
	return nil, fmt.Errorf("a %s can't be called", typeName(f))
}

func (u *undefined) error() error { return errors.New(u.why) }

// whole is an argument that must be an integer.
func whole(v any, what string) (int, error) {
	i, _, isInt, ok := number(v)
	if !ok || !isInt {
		return 0, fmt.Errorf("%s: expected an integer, found a %s", what, typeName(v))
	}
	if i > math.MaxInt32 || i < math.MinInt32 {
		return 0, fmt.Errorf("%s: %d is out of range", what, i)
	}
	return int(i), nil
}
