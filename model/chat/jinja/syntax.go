package jinja

// The syntax tree. Each expression and statement carries its line for messages.

type expr interface{ at() int }

type line int

func (l line) at() int { return int(l) }

type (
	constant struct {
		line
		value any
	}
	name struct {
		line
		name string
	}
	attribute struct { // of.name
		line
		of   expr
		name string
	}
	item struct { // of[key]
		line
		of, key expr
	}
	slice struct { // of[from:to:step]; nil where absent
		line
		of, from, to, step expr
	}
	unary struct { // + - not
		line
		op string
		of expr
	}
	binary struct { // + - * / // % ** ~ and or
		line
		op          string
		left, right expr
	}
	compare struct { // a < b <= c
		line
		first expr
		ops   []string
		rest  []expr
	}
	conditional struct { // yes if test else no; no may be nil
		line
		test, yes, no expr
	}
	call struct {
		line
		of   expr
		args arguments
	}
	filter struct { // of is nil in a filter block
		line
		of   expr
		name string
		args arguments
	}
	test struct {
		line
		of   expr
		name string
		args arguments
	}
	sequence struct { // a list or a tuple
		line
		items []expr
		tuple bool
	}
	mapping struct {
		line
		keys, values []expr
	}
)

// arguments of a call: star and stars are those after * and **, or nil.
type arguments struct {
	pos    []expr
	names  []string
	values []expr
	star   expr
	stars  expr
}

// target is what an assignment fills: a name, an attribute of a namespace, or several targets.
type target struct {
	name, attr string
	parts      []target // of a tuple
	tuple      bool
}

type stmt interface{ at() int }

type (
	text struct {
		line
		text string
	}
	output struct {
		line
		of expr
	}
	branch struct {
		line
		tests  []expr
		bodies [][]stmt
		orElse []stmt
	}
	loop struct {
		line
		to           target
		over         expr
		where        expr // or nil
		body, orElse []stmt

		hidden, hiddenElse []string
	}
	assign struct {
		line
		to target
		of expr
	}
	assignBlock struct {
		line
		to      target
		filters expr // a chain whose innermost filter has no input, or nil
		body    []stmt
		hidden  []string
	}
	macro struct {
		line
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []stmt
		hidden   []string
		// caller, varargs and kwargs: whether the body names caller, varargs and kwargs, which Jinja passes only then.
		caller, varargs, kwargs bool
	}
	callBlock struct {
		line
		of     *call
		caller *macro
	}
	filterBlock struct {
		line
		filters expr
		body    []stmt
		hidden  []string
	}
	with struct {
		line
		to     []target
		of     []expr
		body   []stmt
		hidden []string
	}
	scoped struct { // the generation tag: its body in a scope of its own
		line
		body   []stmt
		hidden []string
	}
	jump struct { // break or continue
		line
		flow flow
	}
)

type flow uint8

const (
	goOn flow = iota
	breakLoop
	continueLoop
)
