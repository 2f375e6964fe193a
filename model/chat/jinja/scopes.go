package jinja

// Jinja decides before it renders where each name of a scope comes from. A name that a scope sets before it reads it, and that no scope around it
// mentions, is the scope's own from its begin: a loop or a macro within sees it as undefined until it is set, even where a
// variable of that name was handed in. These are the hidden names of a scope.

// symbols are the names of one scope.
type symbols struct {
	parent *symbols
	known  map[string]bool // whether the name is hidden until it is set
	stores map[string]bool
}

func newSymbols(parent *symbols) *symbols {
	return &symbols{parent, map[string]bool{}, map[string]bool{}}
}

func (s *symbols) mentions(name string) bool {
	for ; s != nil; s = s.parent {
		if _, ok := s.known[name]; ok {
			return true
		}
	}
	return false
}

func (s *symbols) load(name string) {
	if !s.mentions(name) {
		s.known[name] = false
	}
}

func (s *symbols) store(name string) {
	s.stores[name] = true
	if _, ok := s.known[name]; !ok {
		s.known[name] = !s.parent.mentions(name)
	}
}

func (s *symbols) copy() *symbols {
	c := newSymbols(s.parent)
	for n, hidden := range s.known {
		c.known[n] = hidden
	}
	for n := range s.stores {
		c.stores[n] = true
	}
	return c
}

// join takes over what the branches of an "if" do: a name that not all of them set is not hidden.
func (s *symbols) join(branches ...*symbols) {
	count := map[string]int{}
	for _, b := range branches {
		for n := range b.stores {
			if !s.stores[n] {
				count[n]++
			}
		}
	}
	for _, b := range branches {
		for n, hidden := range b.known {
			s.known[n] = hidden
		}
		for n := range b.stores {
			s.stores[n] = true
		}
	}
	for n, c := range count {
		if c < len(branches) {
			s.known[n] = false
		}
	}
}

func (s *symbols) hidden() (names []string) {
	for n, hidden := range s.known {
		if hidden {
			names = append(names, n)
		}
	}
	return names
}

func (s *symbols) target(t target) {
	switch {
	case t.attr != "":
		s.load(t.name)
	case t.tuple:
		for _, p := range t.parts {
			s.target(p)
		}
	default:
		s.store(t.name)
	}
}

// param enters a name that the scope is given.
func (s *symbols) param(t target) {
	for _, p := range t.parts {
		s.param(p)
	}
	if !t.tuple {
		s.known[t.name], s.stores[t.name] = false, true
	}
}

func (s *symbols) read(exprs ...expr) {
	for _, e := range exprs {
		eachName(e, s.load)
	}
}

// statements mentions the names that statements use in this scope itself.
func (s *symbols) statements(body []stmt) {
	for _, st := range body {
		switch st := st.(type) {
		case *output:
			s.read(st.of)
		case *branch:
			s.branch(st)
		case *loop:
			s.read(st.over)
		case *assign:
			s.read(st.of)
			s.target(st.to)
		case *assignBlock:
			s.target(st.to)
		case *macro:
			s.store(st.name)
		case *callBlock:
			s.read(st.of)
		case *filterBlock:
			s.read(st.filters)
		case *with:
			s.read(st.of...)
		}
	}
}

func (s *symbols) branch(b *branch) {
	s.read(b.tests[0])
	yes, more, no := s.copy(), s.copy(), s.copy()
	yes.statements(b.bodies[0])
	if len(b.tests) > 1 {
		for i := range b.tests[1:] { // each elif is an "if" of its own
			more.branch(&branch{tests: b.tests[i+1 : i+2], bodies: b.bodies[i+1 : i+2]})
		}
	}
	no.statements(b.orElse)
	s.join(yes, more, no)
}

// within finds the hidden names of the scopes within body, whose own scope is s.
func (s *symbols) within(body []stmt) {
	inner := func(body []stmt, before func(*symbols)) []string {
		in := newSymbols(s)
		before(in)
		in.statements(body)
		in.within(body)
		return in.hidden()
	}
	nothing := func(*symbols) {}
	for _, st := range body {
		switch st := st.(type) {
		case *branch:
			for _, b := range st.bodies {
				s.within(b)
			}
			s.within(st.orElse)
		case *loop:
			st.hidden = inner(st.body, func(in *symbols) { in.param(target{name: "loop"}); in.param(st.to) })
			st.hiddenElse = inner(st.orElse, nothing)
		case *macro:
			st.hidden = inner(st.body, st.enter)
		case *callBlock:
			st.caller.hidden = inner(st.caller.body, st.caller.enter)
		case *assignBlock:
			st.hidden = inner(st.body, nothing)
		case *filterBlock:
			st.hidden = inner(st.body, nothing)
		case *scoped:
			st.hidden = inner(st.body, nothing)
		case *with:
			st.hidden = inner(st.body, func(in *symbols) {
				for _, t := range st.to {
					in.param(t)
				}
			})
		}
	}
}

// enter mentions a macro's parameters.
func (m *macro) enter(in *symbols) {
	for _, p := range append([]string{"caller", "varargs", "kwargs"}, m.params...) {
		in.param(target{name: p})
	}
	in.read(m.defaults...)
}

// eachName gives the names that an expression reads.
func eachName(e expr, f func(string)) {
	all := func(exprs ...expr) {
		for _, e := range exprs {
			if e != nil {
				eachName(e, f)
			}
		}
	}
	arguments := func(a arguments) {
		all(a.pos...)
		all(a.values...)
		all(a.star, a.stars)
	}
	switch e := e.(type) {
	case *name:
		f(e.name)
	case *attribute:
		all(e.of)
	case *item:
		all(e.of, e.key)
	case *slice:
		all(e.of, e.from, e.to, e.step)
	case *unary:
		all(e.of)
	case *binary:
		all(e.left, e.right)
	case *compare:
		all(e.first)
		all(e.rest...)
	case *conditional:
		all(e.test, e.yes, e.no)
	case *call:
		all(e.of)
		arguments(e.args)
	case *filter:
		all(e.of)
		arguments(e.args)
	case *test:
		all(e.of)
		arguments(e.args)
	case *sequence:
		all(e.items...)
	case *mapping:
		all(e.keys...)
		all(e.values...)
	}
}
