package jinja

import "slices"

func (p *parser) expression() (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	for err == nil && p.isName("if") {
		at := line(p.take().line)
		c := &conditional{line: at, yes: e}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			if c.no, err = p.expression(); err != nil {
				return nil, err
			}
		}
		e = c
	}
	return e, err
}

// tuple reads one expression, or several with commas between. conditionals tells whether "a if b" may stand outside of
// parentheses, empty whether there may be none.
func (p *parser) tuple(conditionals, empty bool, ends ...string) (expr, error) {
	at := line(p.peek().line)
	one := p.or
	if conditionals {
		one = p.expression
	}
	var items []expr
	isTuple := false
	for !p.tupleEnds(ends) {
		e, err := one()
		if err != nil {
			return nil, err
		}
		items = append(items, e)
		if !p.skipOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) > 0 {
			return items[0], nil
		}
		if !empty {
			return nil, p.fail("expected an expression, found %v", p.peek())
		}
	}
	return &sequence{at, items, true}, nil
}

func (p *parser) tupleEnds(ends []string) bool {
	k := p.peek().kind
	return k == tokShut || k == tokClose || p.isOp(")") || len(ends) > 0 && p.isName(ends...)
}

// leftward reads operands with operators of one rank between them, grouped from the left.
func (p *parser) leftward(operand func() (expr, error), ops ...string) (expr, error) {
	left, err := operand()
	for err == nil && p.peek().kind == tokOp && slices.Contains(ops, p.peek().text) {
		t := p.take()
		var right expr
		if right, err = operand(); err == nil {
			left = &binary{line(t.line), t.text, left, right}
		}
	}
	return left, err
}

func (p *parser) logical(word string, operand func() (expr, error)) (expr, error) {
	left, err := operand()
	for err == nil && p.isName(word) {
		t := p.take()
		var right expr
		if right, err = operand(); err == nil {
			left = &binary{line(t.line), word, left, right}
		}
	}
	return left, err
}

func (p *parser) or() (expr, error)     { return p.logical("or", p.and) }
func (p *parser) and() (expr, error)    { return p.logical("and", p.not) }
func (p *parser) sum() (expr, error)    { return p.leftward(p.concat, "+", "-") }
func (p *parser) concat() (expr, error) { return p.leftward(p.product, "~") }
func (p *parser) power() (expr, error) {
	return p.leftward(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) product() (expr, error) { return p.leftward(p.power, "*", "/", "//", "%") }

func (p *parser) not() (expr, error) {
	if !p.isName("not") {
		return p.compare()
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	at := line(p.take().line)
	e, err := p.not()
	return &unary{at, "not", e}, err
}

var comparisons = []string{"==", "!=", "<", "<=", ">", ">="}

func (p *parser) compare() (expr, error) {
	c := &compare{line: line(p.peek().line)}
	var err error
	if c.first, err = p.sum(); err != nil {
		return nil, err
	}
	for {
		next := p.tokens[min(p.pos+1, len(p.tokens)-1)]
		var op string
		switch {
		case p.peek().kind == tokOp && slices.Contains(comparisons, p.peek().text):
			op = p.take().text
		case p.isName("in"):
			op = p.take().text
		case p.isName("not") && next.kind == tokName && next.text == "in":
			p.pos += 2
			op = "not in"
		default:
			if len(c.ops) == 0 {
				return c.first, nil
			}
			return c, nil
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, right)
	}
}

func (p *parser) unary(filters bool) (e expr, err error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if t := p.peek(); p.isOp("-") || p.isOp("+") {
		p.pos++
		if e, err = p.unary(false); err == nil {
			e = &unary{line(t.line), t.text, e}
		}
	} else {
		e, err = p.primary()
	}
	if err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err != nil || !filters {
		return e, err
	}
	for err == nil {
		switch {
		case p.isOp("|"):
			e, err = p.filterChain(e, false)
		case p.isName("is"):
			e, err = p.test(e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.take()
	at := line(t.line)
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constant{at, true}, nil
		case "false", "False":
			return &constant{at, false}, nil
		case "none", "None":
			return &constant{at, nil}, nil
		}
		if p.names != nil {
			p.names[t.text] = true
		}
		return &name{at, t.text}, nil
	case tokString:
		s := t.text
		for p.peek().kind == tokString {
			s += p.take().text
		}
		return &constant{at, s}, nil
	case tokInt, tokFloat:
		return &constant{at, t.num}, nil
	case tokOp:
		switch t.text {
		case "(":
			e, err := p.tuple(true, true)
			if err != nil {
				return nil, err
			}
			return e, p.needOp(")")
		case "[":
			items, err := p.list("]")
			return &sequence{at, items, false}, err
		case "{":
			return p.dict(at)
		}
	}
	p.pos--
	return nil, p.fail("unexpected %v", t)
}

// list reads expressions with commas between up to end, which it passes.
func (p *parser) list(end string) (items []expr, err error) {
	for !p.skipOp(end) {
		if len(items) > 0 {
			if err := p.needOp(","); err != nil {
				return nil, err
			}
			if p.skipOp(end) {
				break
			}
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return items, nil
}

func (p *parser) dict(at line) (expr, error) {
	d := &mapping{line: at}
	for !p.skipOp("}") {
		if len(d.keys) > 0 {
			if err := p.needOp(","); err != nil {
				return nil, err
			}
			if p.skipOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.needOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, k), append(d.values, v)
	}
	return d, nil
}

func (p *parser) postfix(e expr) (expr, error) {
	for {
		at := line(p.peek().line)
		var err error
		switch {
		case p.skipOp("."):
			switch t := p.take(); t.kind {
			case tokName:
				e = &attribute{at, e, t.text}
			case tokInt:
				e = &item{at, e, &constant{at, t.num}}
			default:
				return nil, p.fail("expected a name or a number, found %v", t)
			}
		case p.skipOp("["):
			e, err = p.subscript(at, e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) subscript(at line, of expr) (expr, error) {
	s := &slice{line: at, of: of}
	colons := 0
	for _, part := range []*expr{&s.from, &s.to, &s.step} {
		if !p.isOp(":") && !p.isOp("]") {
			e, err := p.expression()
			if err != nil {
				return nil, err
			}
			*part = e
		}
		if part == &s.step || !p.skipOp(":") {
			break
		}
		colons++
	}
	if p.isOp(",") {
		return nil, p.fail("several subscripts are not supported")
	}
	if colons == 0 {
		if s.from == nil {
			return nil, p.fail("expected a subscript")
		}
		return &item{at, of, s.from}, p.needOp("]")
	}
	return s, p.needOp("]")
}

func (p *parser) call(of expr) (expr, error) {
	at := line(p.peek().line)
	args, err := p.arguments()
	return &call{at, of, args}, err
}

// arguments reads (…), if it is there.
func (p *parser) arguments() (a arguments, err error) {
	if !p.skipOp("(") {
		return a, nil
	}
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			if err := p.needOp(","); err != nil {
				return a, err
			}
			if p.skipOp(")") {
				break
			}
		}
		if err := p.argument(&a); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (p *parser) argument(a *arguments) (err error) {
	next := p.tokens[min(p.pos+1, len(p.tokens)-1)]
	switch {
	case p.isOp("*") && a.star == nil && a.stars == nil:
		p.pos++
		a.star, err = p.expression()
	case p.isOp("**") && a.stars == nil:
		p.pos++
		a.stars, err = p.expression()
	case p.peek().kind == tokName && next.kind == tokOp && next.text == "=" && a.stars == nil:
		n := p.take().text
		p.pos++
		var e expr
		if e, err = p.expression(); err == nil {
			if slices.Contains(a.names, n) {
				return p.fail("argument %s twice", n)
			}
			a.names, a.values = append(a.names, n), append(a.values, e)
		}
	case a.star == nil && a.stars == nil && len(a.names) == 0:
		var e expr
		if e, err = p.expression(); err == nil {
			a.pos = append(a.pos, e)
		}
	default:
		return p.fail("an argument out of order")
	}
	return err
}

// filterChain reads | name(args) as often as it comes; bare: the first one without its bar.
func (p *parser) filterChain(e expr, bare bool) (expr, error) {
	for bare || p.skipOp("|") {
		bare = false
		at := line(p.peek().line)
		n, err := p.dotted()
		if err != nil {
			return nil, err
		}
		args, err := p.arguments()
		if err != nil {
			return nil, err
		}
		e = &filter{at, e, n, args}
	}
	return e, nil
}

func (p *parser) dotted() (string, error) {
	n, err := p.needName()
	for err == nil && p.skipOp(".") {
		var more string
		more, err = p.needName()
		n += "." + more
	}
	return n, err
}

func (p *parser) test(of expr) (expr, error) {
	at := line(p.take().line)
	negated := p.skipName("not")
	n, err := p.dotted()
	if err != nil {
		return nil, err
	}
	var args arguments
	switch t := p.peek(); {
	case p.isOp("("):
		args, err = p.arguments()
	case t.kind == tokName && !p.isName("else", "or", "and"), t.kind == tokString, t.kind == tokInt, t.kind == tokFloat, p.isOp("["), p.isOp("{"):
		if p.isName("is") {
			return nil, p.fail("two tests in a row")
		}
		var e expr
		if e, err = p.primary(); err == nil {
			if e, err = p.postfix(e); err == nil {
				args.pos = []expr{e}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	e := expr(&test{at, of, n, args})
	if negated {
		e = &unary{at, "not", e}
	}
	return e, nil
}
