package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

func (m *machine) truth(e expr, s *scope) (bool, error) {
	v, err := m.eval(e, s)
	return truth(v), err
}

func (m *machine) eval(e expr, s *scope) (any, error) {
	if err := m.step(); err != nil {
		return nil, placed(e.at(), err)
	}
	v, err := m.value(e, s)
	return v, placed(e.at(), err)
}

func (m *machine) value(e expr, s *scope) (any, error) {
	switch e := e.(type) {
	case *constant:
		return e.value, nil
	case *name:
		if v, ok := s.find(e.name); ok {
			return v, nil
		}
		return &undefined{why: e.name + " is undefined"}, nil
	case *attribute:
		of, err := m.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		return m.attribute(of, e.name)
	case *item:
		of, err := m.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		key, err := m.eval(e.key, s)
		if err != nil {
			return nil, err
		}
		return m.item(of, key)
	case *slice:
		return m.slice(e, s)
	case *unary:
		return m.unary(e, s)
	case *binary:
		return m.binary(e, s)
	case *compare:
		return m.compare(e, s)
	case *conditional:
		yes, err := m.truth(e.test, s)
		if err != nil {
			return nil, err
		}
		if yes {
			return m.eval(e.yes, s)
		}
		if e.no == nil {
			return &undefined{why: "an if without else that is false"}, nil
		}
		return m.eval(e.no, s)
	case *call:
		f, err := m.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		args, err := m.arguments(e.args, s)
		if err != nil {
			return nil, err
		}
		return m.call(f, args)
	case *filter:
		of, err := m.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		return m.filtered(e, of, s)
	case *test:
		of, err := m.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		args, err := m.arguments(e.args, s)
		if err != nil {
			return nil, err
		}
		return m.tested(e.name, of, args)
	}
	return m.collection(e, s)
}

// collection makes lists, tuples and dicts.
func (m *machine) collection(e expr, s *scope) (any, error) {
	switch e := e.(type) {
	case *sequence:
		items := make([]any, len(e.items))
		for i := range items {
			v, err := m.eval(e.items[i], s)
			if err != nil {
				return nil, err
			}
			items[i] = v
		}
		if e.tuple {
			return &tuple{items}, nil
		}
		return &list{items}, nil
	case *mapping:
		d := NewDict()
		for i := range e.keys {
			k, err := m.eval(e.keys[i], s)
			if err != nil {
				return nil, err
			}
			v, err := m.eval(e.values[i], s)
			if err != nil {
				return nil, err
			}
			if !hashable(k) {
				return nil, fmt.Errorf("a %s can't be a key", typeName(k))
			}
			d.put(k, v)
		}
		return d, nil
	}
	return nil, fmt.Errorf("expression %T", e) // unreachable: the parser makes no other
}

// chain passes v through filters whose innermost has no input.
func (m *machine) chain(e expr, v any, s *scope) (any, error) {
	if e == nil {
		return v, nil
	}
	f := e.(*filter)
	v, err := m.chain(f.of, v, s)
	if err != nil {
		return nil, err
	}
	return m.filtered(f, v, s)
}

func (m *machine) filtered(f *filter, of any, s *scope) (any, error) {
	args, err := m.arguments(f.args, s)
	if err != nil {
		return nil, err
	}
	return m.filter(f.name, of, args)
}

func (m *machine) filter(name string, of any, args callArgs) (any, error) {
	f, ok := filters[name]
	if !ok {
		return nil, fmt.Errorf("the filter %s is unknown or not supported", name)
	}
	v, err := f(m, of, args)
	if err != nil {
		return nil, err
	}
	if s, ok := isString(v); ok {
		err = m.made(len(s))
	}
	return v, err
}

func (m *machine) tested(name string, of any, args callArgs) (bool, error) {
	t, ok := tests[name]
	if !ok {
		return false, fmt.Errorf("the test %s is unknown or not supported", name)
	}
	params, _, err := args.bind("the test "+name, t.args, []string{"other"}[:t.args]...)
	if err != nil {
		return false, err
	}
	return t.is(m, of, append(params, nil)[0])
}

// attribute is of.name: what Python's getattr finds, else the item of that key, else undefined.
func (m *machine) attribute(of any, name string) (any, error) {
	switch o := of.(type) {
	case *undefined:
		return nil, o.error()
	case *namespace:
		if v, ok := o.vars.get(name); ok {
			return v, nil
		}
	case *loopState:
		if v, ok := o.attribute(name); ok {
			return v, nil
		}
	}
	if v, ok := method(of, name); ok {
		return v, nil
	}
	if strings.HasPrefix(name, "__") {
		return &undefined{why: "attribute " + name + " is not allowed"}, nil
	}
	if d, ok := of.(*Dict); ok {
		if v, ok := d.get(name); ok {
			return v, nil
		}
	}
	return &undefined{why: fmt.Sprintf("%s is undefined in a %s", name, typeName(of))}, nil
}

// item is of[key]: the item, else the attribute if the key is a string, else undefined.
func (m *machine) item(of, key any) (any, error) {
	if u, ok := of.(*undefined); ok {
		return nil, u.error()
	}
	if d, ok := of.(*Dict); ok && hashable(key) {
		if v, ok := d.get(key); ok {
			return v, nil
		}
	}
	if i, _, isInt, ok := number(key); ok && isInt {
		if v, ok, err := m.index(of, i); ok || err != nil {
			return v, err
		}
	}
	if s, ok := isString(key); ok {
		switch o := of.(type) {
		case *namespace:
			if v, ok := o.vars.get(s); ok {
				return v, nil
			}
		case *loopState:
			if v, ok := o.attribute(s); ok {
				return v, nil
			}
		}
		if v, ok := method(of, s); ok {
			return v, nil
		}
		return &undefined{why: fmt.Sprintf("%s is undefined in a %s", s, typeName(of))}, nil
	}
	return &undefined{why: fmt.Sprintf("a %s has no item %s", typeName(of), repr(key))}, nil
}

func (m *machine) index(of any, i int64) (any, bool, error) {
	n, ok := length(of)
	if i < 0 {
		i += int64(n)
	}
	if !ok || i < 0 || i >= int64(n) {
		return nil, false, nil
	}
	switch of := of.(type) {
	case *list:
		return of.items[i], true, nil
	case *tuple:
		return of.items[i], true, nil
	case *interval:
		return of.start + i*of.step, true, nil
	}
	if s, ok := isString(of); ok {
		return string([]rune(s)[i]), true, m.made(len(s))
	}
	return nil, false, nil
}

func (m *machine) slice(e *slice, s *scope) (any, error) {
	of, err := m.eval(e.of, s)
	if err != nil {
		return nil, err
	}
	var at [3]*int
	for i, part := range []expr{e.from, e.to, e.step} {
		if part == nil {
			continue
		}
		v, err := m.eval(part, s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, err := whole(v, "a slice")
		if err != nil {
			return nil, err
		}
		at[i] = &n
	}
	if at[2] != nil && *at[2] == 0 {
		return nil, errors.New("a slice with step 0")
	}
	switch of := of.(type) {
	case *list:
		return &list{sliced(of.items, at)}, nil
	case *tuple:
		return &tuple{sliced(of.items, at)}, nil
	case *undefined:
		return nil, of.error()
	}
	text, ok := isString(of)
	if !ok {
		return nil, fmt.Errorf("a %s can't be sliced", typeName(of))
	}
	if err := m.made(len(text)); err != nil {
		return nil, err
	}
	return string(sliced([]rune(text), at)), nil
}

// sliced is Python's items[from:to:step].
func sliced[T any](items []T, at [3]*int) []T {
	n := len(items)
	step := 1
	if at[2] != nil {
		step = *at[2]
	}
	from, to := 0, n
	low, high := 0, n
	if step < 0 {
		from, to = n-1, -1
		low, high = -1, n-1
	}
	clamp := func(p *int, otherwise int) int {
		if p == nil {
			return otherwise
		}
		v := *p
		if v < 0 {
			v += n
		}
		return min(max(v, low), high)
	}
	from, to = clamp(at[0], from), clamp(at[1], to)
	out := []T{}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, items[i])
	}
	return out
}

func (m *machine) unary(e *unary, s *scope) (any, error) {
	if e.op == "not" {
		yes, err := m.truth(e.of, s)
		return !yes, err
	}
	v, err := m.eval(e.of, s)
	if err != nil {
		return nil, err
	}
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		return nil, badOperands(e.op, v, nil)
	case isInt && e.op == "-":
		if i == math.MinInt64 {
			return nil, errInteger
		}
		return -i, nil
	case isInt:
		return i, nil
	case e.op == "-":
		return -f, nil
	}
	return f, nil
}

func badOperands(op string, a, b any) error {
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			return u.error()
		}
	}
	return fmt.Errorf("%s between a %s and a %s", op, typeName(a), typeName(b))
}

func (m *machine) binary(e *binary, s *scope) (any, error) {
	left, err := m.eval(e.left, s)
	if err != nil {
		return nil, err
	}
	if e.op == "and" || e.op == "or" {
		if truth(left) == (e.op == "or") {
			return left, nil
		}
		return m.eval(e.right, s)
	}
	right, err := m.eval(e.right, s)
	if err != nil {
		return nil, err
	}
	if e.op == "~" {
		a, err := m.print(left)
		if err != nil {
			return nil, err
		}
		b, err := m.print(right)
		if err != nil {
			return nil, err
		}
		return a + b, m.made(len(a) + len(b))
	}
	return m.arithmetic(e.op, left, right)
}

func (m *machine) compare(e *compare, s *scope) (any, error) {
	left, err := m.eval(e.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		right, err := m.eval(e.rest[i], s)
		if err != nil {
			return nil, err
		}
		yes, err := m.compared(op, left, right)
		if err != nil || !yes {
			return false, err
		}
		left = right
	}
	return true, nil
}

func (m *machine) compared(op string, a, b any) (yes bool, err error) {
	switch op {
	case "==":
		return m.equal(a, b), nil
	case "!=":
		return !m.equal(a, b), nil
	case "in":
		return m.contains(b, a)
	case "not in":
		yes, err = m.contains(b, a)
		return !yes, err
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			return false, u.error()
		}
	}
	if _, af, _, ok := number(a); ok {
		if _, bf, _, ok := number(b); ok && (math.IsNaN(af) || math.IsNaN(bf)) {
			return false, nil
		}
	}
	switch op {
	case "<":
		return m.less(a, b)
	case ">":
		return m.less(b, a)
	case "<=":
		yes, err = m.less(b, a)
	default:
		yes, err = m.less(a, b)
	}
	return !yes && err == nil, err
}

// contains is "v in of".
func (m *machine) contains(of, v any) (bool, error) {
	switch o := of.(type) {
	case *Dict:
		if !hashable(v) {
			return false, fmt.Errorf("a %s can't be a key", typeName(v))
		}
		_, ok := o.get(v)
		return ok, nil
	case string, markup:
		s, _ := isString(o)
		t, ok := isString(v)
		if !ok {
			return false, fmt.Errorf("only a string can be in a string, not a %s", typeName(v))
		}
		return strings.Contains(s, t), nil
	}
	items, err := m.items(of)
	if err != nil {
		return false, err
	}
	for _, one := range items {
		if err := m.step(); err != nil {
			return false, err
		}
		if m.equal(one, v) {
			return true, nil
		}
	}
	return false, nil
}

var errInteger = errors.New("an integer beyond 64 bits")

func (m *machine) arithmetic(op string, a, b any) (any, error) {
	ai, af, aInt, aNum := number(a)
	bi, bf, bInt, bNum := number(b)
	if aNum && bNum {
		if aInt && bInt {
			return integers(op, ai, bi)
		}
		return floats(op, af, bf)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok && !(op == "%" && !aNum) {
			return nil, u.error()
		}
	}
	switch op {
	case "+":
		return m.add(a, b)
	case "*":
		if aInt && aNum {
			a, b = b, a
			bi, bInt, bNum = ai, true, true
		}
		if bInt && bNum {
			return m.repeat(a, max(bi, 0))
		}
	case "%":
		if format, ok := a.(string); ok {
			return m.percent(format, b)
		}
	}
	return nil, badOperands(op, a, b)
}

func (m *machine) add(a, b any) (any, error) {
	switch x := a.(type) {
	case string, markup:
		s, _ := isString(a)
		t, ok := isString(b)
		if !ok {
			return nil, badOperands("+", a, b)
		}
		_, am := a.(markup)
		_, bm := b.(markup)
		if !am && !bm {
			return s + t, m.made(len(s) + len(t))
		}
		if !am {
			s = escape(s)
		}
		if !bm {
			t = escape(t)
		}
		return markup(s + t), m.made(len(s) + len(t))
	case *list:
		if y, ok := b.(*list); ok {
			return &list{append(append([]any{}, x.items...), y.items...)}, m.made(16 * (len(x.items) + len(y.items)))
		}
	case *tuple:
		if y, ok := b.(*tuple); ok {
			return &tuple{append(append([]any{}, x.items...), y.items...)}, m.made(16 * (len(x.items) + len(y.items)))
		}
	}
	return nil, badOperands("+", a, b)
}

func (m *machine) repeat(v any, n int64) (any, error) {
	repeatItems := func(items []any) ([]any, error) {
		if len(items) == 0 || n == 0 {
			return nil, nil
		}
		if n > int64(maxText) || m.made(16*len(items)*int(n)) != nil {
			return nil, errTooMuch
		}
		var out []any
		for range n {
			out = append(out, items...)
		}
		return out, nil
	}
	switch v := v.(type) {
	case string:
		if v == "" || n == 0 {
			return "", nil
		}
		if n > int64(maxText) || m.made(len(v)*int(n)) != nil {
			return nil, errTooMuch
		}
		return strings.Repeat(v, int(n)), nil
	case *list:
		items, err := repeatItems(v.items)
		return &list{items}, err
	case *tuple:
		items, err := repeatItems(v.items)
		return &tuple{items}, err
	}
	return nil, badOperands("*", v, n)
}

var errZero = errors.New("division by zero")

func integers(op string, a, b int64) (any, error) {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
		return nil, errInteger
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
		return nil, errInteger
	case "*":
		if a == 0 || b == 0 {
			return int64(0), nil
		}
		if c := a * b; c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return c, nil
		}
		return nil, errInteger
	case "**":
		if b < 0 {
			return floats(op, float64(a), float64(b))
		}
		r := int64(1)
		for range min(b, 64) {
			v, err := integers("*", r, a)
			if err != nil {
				return nil, err
			}
			r = v.(int64)
		}
		if b > 64 && a != 0 && a != 1 {
			return nil, errInteger
		}
		return r, nil
	}
	if b == 0 {
		return nil, errZero
	}
	if b == -1 && a == math.MinInt64 {
		return nil, errInteger
	}
	switch op {
	case "/":
		return float64(a) / float64(b), nil
	case "//":
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	}
	r := a % b
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r, nil
}

func floats(op string, a, b float64) (any, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**":
		r := math.Pow(a, b)
		if math.IsInf(r, 0) || math.IsNaN(r) {
			return nil, errors.New("** out of range")
		}
		return r, nil
	}
	if b == 0 {
		return nil, errZero
	}
	if op == "/" {
		return a / b, nil
	}
	r := math.Mod(a, b)
	if r == 0 {
		r = math.Copysign(0, b)
	} else if (r < 0) != (b < 0) {
		r += b
	}
	if op == "%" {
		return r, nil
	}
	return math.Round((a - r) / b), nil
}
