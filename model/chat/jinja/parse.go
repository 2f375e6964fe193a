package jinja

import (
	"fmt"
	"slices"
)

type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int             // that enclose the place
	names  map[string]bool // read within the macro that is parsed
}

func (p *parser) peek() token         { return p.tokens[p.pos] }
func (p *parser) isOp(op string) bool { return p.peek().kind == tokOp && p.peek().text == op }

func (p *parser) isName(names ...string) bool {
	return p.peek().kind == tokName && slices.Contains(names, p.peek().text)
}

func (p *parser) take() token {
	t := p.tokens[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.peek().line, fmt.Sprintf(format, args...))
}

func (p *parser) needOp(op string) error {
	if !p.skipOp(op) {
		return p.fail("expected '%s', found %v", op, p.peek())
	}
	return nil
}

func (p *parser) needName() (string, error) {
	if p.peek().kind != tokName {
		return "", p.fail("expected a name, found %v", p.peek())
	}
	return p.take().text, nil
}

func (p *parser) need(kind tokenKind) error {
	if p.peek().kind != kind {
		return p.fail("expected %v, found %v", token{kind: kind}, p.peek())
	}
	p.pos++
	return nil
}

// deeper guards the recursion; call the result when the level is done.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxNesting {
		return p.fail("nested deeper than %d levels", maxNesting)
	}
	return nil
}

// statements reads until a tag that begins with one of ends, which it leaves open behind its first word; without ends, until the end.
func (p *parser) statements(ends ...string) (body []stmt, err error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	for {
		t := p.take()
		at := line(t.line)
		switch t.kind {
		case tokEnd:
			if len(ends) > 0 {
				return nil, p.fail("%s is missing", ends[len(ends)-1])
			}
			return body, nil
		case tokData:
			body = append(body, &text{at, t.text})
		case tokPrint:
			e, err := p.tuple(true, false)
			if err != nil {
				return nil, err
			}
			if err := p.need(tokShut); err != nil {
				return nil, err
			}
			body = append(body, &output{at, e})
		case tokOpen:
			if p.peek().kind == tokName && slices.Contains(ends, p.peek().text) {
				return body, nil
			}
			s, err := p.statement(at)
			if err != nil {
				return nil, err
			}
			body = append(body, s)
		default:
			return nil, p.fail("unexpected %v", t)
		}
	}
}

// block reads the rest of a tag, statements until end, and the end tag.
func (p *parser) block(end string) ([]stmt, error) {
	if err := p.need(tokClose); err != nil {
		return nil, err
	}
	body, err := p.statements(end)
	if err != nil {
		return nil, err
	}
	p.pos++
	return body, p.need(tokClose)
}

func (p *parser) statement(at line) (stmt, error) {
	word, err := p.needName()
	if err != nil {
		return nil, err
	}
	switch word {
	case "if":
		return p.branch(at)
	case "for":
		p.loops++
		defer func() { p.loops-- }()
		return p.loop(at)
	case "set":
		return p.set(at)
	case "macro":
		return p.macro(at)
	case "call":
		return p.callBlock(at)
	case "filter":
		chain, err := p.filterChain(nil, true)
		if err != nil {
			return nil, err
		}
		body, err := p.block("endfilter")
		return &filterBlock{line: at, filters: chain, body: body}, err
	case "with":
		return p.with(at)
	case "generation":
		loops := p.loops
		p.loops = 0
		body, err := p.block("endgeneration")
		p.loops = loops
		return &scoped{line: at, body: body}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.fail("%s outside of a loop", word)
		}
		return &jump{at, map[string]flow{"break": breakLoop, "continue": continueLoop}[word]}, p.need(tokClose)
	case "include", "import", "from", "extends", "block", "autoescape", "print", "do", "trans":
		return nil, p.fail("the tag %s is not supported", word)
	}
	return nil, p.fail("unknown tag %s", word)
}

func (p *parser) branch(at line) (stmt, error) {
	b := &branch{line: at}
	for {
		test, err := p.tuple(false, false)
		if err != nil {
			return nil, err
		}
		if err := p.need(tokClose); err != nil {
			return nil, err
		}
		body, err := p.statements("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		b.tests, b.bodies = append(b.tests, test), append(b.bodies, body)
		switch p.take().text {
		case "elif":
			continue
		case "else":
			b.orElse, err = p.block("endif")
			return b, err
		}
		return b, p.need(tokClose)
	}
}

func (p *parser) loop(at line) (stmt, error) {
	l := &loop{line: at}
	var err error
	if l.to, err = p.target(false); err != nil {
		return nil, err
	}
	if !p.skipName("in") {
		return nil, p.fail("expected in, found %v", p.peek())
	}
	if l.over, err = p.tuple(false, false, "recursive"); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if l.where, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if p.isName("recursive") {
		return nil, p.fail("recursive loops are not supported")
	}
	if err := p.need(tokClose); err != nil {
		return nil, err
	}
	if l.body, err = p.statements("endfor", "else"); err != nil {
		return nil, err
	}
	if p.take().text == "else" {
		p.loops-- // break there leaves the loop around this one
		l.orElse, err = p.block("endfor")
		p.loops++
		return l, err
	}
	return l, p.need(tokClose)
}

func (p *parser) set(at line) (stmt, error) {
	to, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		e, err := p.tuple(true, false)
		if err != nil {
			return nil, err
		}
		return &assign{at, to, e}, p.need(tokClose)
	}
	var chain expr
	if p.isOp("|") {
		if chain, err = p.filterChain(nil, false); err != nil {
			return nil, err
		}
	}
	body, err := p.block("endset")
	return &assignBlock{line: at, to: to, filters: chain, body: body}, err
}

// target reads what is assigned to; attributes tells whether a namespace's attribute may be.
func (p *parser) target(attributes bool) (target, error) {
	var parts []target
	for tuple := false; ; tuple = true {
		if tuple && p.peek().kind != tokName && !p.isOp("(") { // a trailing comma
			return target{parts: parts, tuple: true}, nil
		}
		one, err := p.oneTarget(attributes)
		if err != nil {
			return target{}, err
		}
		parts = append(parts, one)
		if !p.skipOp(",") {
			if tuple {
				return target{parts: parts, tuple: true}, nil
			}
			return one, nil
		}
	}
}

func (p *parser) oneTarget(attributes bool) (target, error) {
	if p.skipOp("(") {
		if err := p.deeper(); err != nil {
			return target{}, err
		}
		defer func() { p.depth-- }()
		t, err := p.target(attributes)
		if err != nil {
			return target{}, err
		}
		return t, p.needOp(")")
	}
	n, err := p.needName()
	if err != nil {
		return target{}, err
	}
	if slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, n) {
		return target{}, p.fail("can't assign to %s", n)
	}
	if attributes && p.skipOp(".") {
		attr, err := p.needName()
		return target{name: n, attr: attr}, err
	}
	return target{name: n}, nil
}

func (p *parser) with(at line) (stmt, error) {
	w := &with{line: at}
	for p.peek().kind != tokClose {
		if len(w.to) > 0 {
			if err := p.needOp(","); err != nil {
				return nil, err
			}
		}
		to, err := p.oneTarget(false)
		if err != nil {
			return nil, err
		}
		if err := p.needOp("="); err != nil {
			return nil, err
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		w.to, w.of = append(w.to, to), append(w.of, e)
	}
	var err error
	w.body, err = p.block("endwith")
	return w, err
}

// macroBody reads a macro's parameters, if there are any, and calls body for the rest.
func (p *parser) macroBody(m *macro, params bool, rest func() error) error {
	names, loops := p.names, p.loops
	p.names, p.loops = map[string]bool{}, 0
	defer func() {
		for n := range p.names {
			if names != nil {
				names[n] = true
			}
		}
		p.names, p.loops = names, loops
	}()
	if params {
		if err := p.needOp("("); err != nil {
			return err
		}
		for !p.isOp(")") {
			if len(m.params) > 0 {
				if err := p.needOp(","); err != nil {
					return err
				}
			}
			n, err := p.needName()
			if err != nil {
				return err
			}
			m.params = append(m.params, n)
			if p.skipOp("=") {
				e, err := p.expression()
				if err != nil {
					return err
				}
				m.defaults = append(m.defaults, e)
			} else if len(m.defaults) > 0 {
				return p.fail("the parameter %s has no default, one before it has", n)
			}
		}
		p.pos++
	}
	if err := rest(); err != nil {
		return err
	}
	has := func(n string) bool { return p.names[n] && !slices.Contains(m.params, n) }
	m.caller, m.varargs, m.kwargs = has("caller"), has("varargs"), has("kwargs")
	return nil
}

func (p *parser) macro(at line) (stmt, error) {
	n, err := p.needName()
	if err != nil {
		return nil, err
	}
	m := &macro{line: at, name: n}
	return m, p.macroBody(m, true, func() (err error) {
		m.body, err = p.block("endmacro")
		return err
	})
}

func (p *parser) callBlock(at line) (stmt, error) {
	b := &callBlock{line: at, caller: &macro{line: at, name: "caller"}}
	return b, p.macroBody(b.caller, p.isOp("("), func() error {
		e, err := p.expression()
		if err != nil {
			return err
		}
		c, ok := e.(*call)
		if !ok {
			return p.fail("expected a call")
		}
		b.of = c
		b.caller.body, err = p.block("endcall")
		return err
	})
}
