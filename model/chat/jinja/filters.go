package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

type filterFunc func(m *machine, v any, a callArgs) (any, error)

// filters are Jinja's by name. Filled by init: map, select and the like call filters and tests by name.
var filters map[string]filterFunc

func init() {
	filters = map[string]filterFunc{
		"abs":        absFilter,
		"attr":       attrFilter,
		"batch":      batchFilter,
		"capitalize": textFilter(capitalize),
		"count":      lengthFilter,
		"d":          defaultFilter,
		"default":    defaultFilter,
		"dictsort":   dictsortFilter,
		"e":          escapeFilter,
		"escape":     escapeFilter,
		"first":      firstFilter,
		"float":      floatFilter,
		"format":     formatFilter,
		"indent":     indentFilter,
		"int":        intFilter,
		"items":      itemsFilter,
		"join":       joinFilter,
		"last":       lastFilter,
		"length":     lengthFilter,
		"list":       listFilter,
		"lower":      textFilter(lower.String),
		"map":        mapFilter,
		"max":        extremeFilter(true),
		"min":        extremeFilter(false),
		"reject":     selector(false, false),
		"rejectattr": selector(true, false),
		"replace":    replaceFilter,
		"reverse":    reverseFilter,
		"round":      roundFilter,
		"safe":       safeFilter,
		"select":     selector(false, true),
		"selectattr": selector(true, true),
		"sort":       sortFilter,
		"string":     stringFilter,
		"sum":        sumFilter,
		"title":      textFilter(titleWords),
		"tojson":     tojsonFilter,
		"trim":       trimFilter,
		"unique":     uniqueFilter,
		"upper":      textFilter(upper.String),
		"wordcount":  wordcountFilter,
	}
}

// textFilter is a filter of a text without arguments.
func textFilter(f func(string) string) filterFunc {
	return func(_ *machine, v any, a callArgs) (any, error) {
		if _, _, err := a.bind("the filter", 0); err != nil {
			return nil, err
		}
		if _, ok := v.(markup); ok {
			return markup(f(str(v))), nil
		}
		return f(str(v)), nil
	}
}

func absFilter(_ *machine, v any, a callArgs) (any, error) {
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		return nil, badOperands("abs", v, nil)
	case !isInt:
		return math.Abs(f), nil
	case i == math.MinInt64:
		return nil, errInteger
	case i < 0:
		i = -i
	}
	return i, nil
}

func attrFilter(m *machine, v any, a callArgs) (any, error) {
	args, _, err := a.bind("attr", 1, "name")
	if err != nil {
		return nil, err
	}
	n, err := textArg("attr", args[0])
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*Dict); ok { // attr looks at attributes only
		if f, ok := method(v, n); ok {
			return f, nil
		}
		return &undefined{why: n + " is undefined in a dict"}, nil
	}
	return m.attribute(v, n)
}

func batchFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("batch", 1, "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	n, err := whole(args[0], "batch")
	if err != nil || n < 1 || given[1] {
		return nil, errors.Join(err, errors.New("batch: not supported with these arguments"))
	}
	items, err := m.items(v)
	var out []any
	for part := range slices.Chunk(items, n) {
		out = append(out, &list{part})
	}
	return iterate("generator", out), err
}

// iterate makes an iterator of items.
func iterate(kind string, items []any) *iterator {
	i := 0
	return &iterator{kind, func() (any, bool, error) {
		if i == len(items) {
			return nil, false, nil
		}
		i++
		return items[i-1], true, nil
	}}
}

func lengthFilter(_ *machine, v any, a callArgs) (any, error) {
	n, ok := length(v)
	if !ok {
		return nil, fmt.Errorf("a %s has no length", typeName(v))
	}
	return int64(n), nil
}

func defaultFilter(_ *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("default", 0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	if !given[0] {
		args[0] = ""
	}
	if _, ok := v.(*undefined); ok || truth(args[1]) && !truth(v) {
		return args[0], nil
	}
	return v, nil
}

// ignoreCase is a value as sort, min, max, unique and dictsort compare it.
func ignoreCase(v any) any {
	if s, ok := isString(v); ok {
		return lower.String(s)
	}
	return v
}

// sortedBy sorts stably by a key; with reverse, equal ones stay in their order as well.
func (m *machine) sortedBy(items []any, key func(any) (any, error), reverse bool) ([]any, error) {
	keys := make([]any, len(items))
	order := make([]int, len(items))
	var err error
	for i, v := range items {
		order[i] = i
		if keys[i], err = key(v); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if reverse {
			a, b = b, a
		}
		yes, e := m.less(keys[a], keys[b])
		if e != nil && err == nil {
			err = e
		}
		if yes {
			return -1
		}
		if yes, _ = m.less(keys[b], keys[a]); yes {
			return 1
		}
		return 0
	})
	out := make([]any, len(items))
	for i, at := range order {
		out[i] = items[at]
	}
	return out, err
}

func dictsortFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("dictsort", 0, "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("dictsort: expected a dict, found a %s", typeName(v))
	}
	at := 0
	if given[1] {
		if at = slices.Index([]string{"key", "value"}, str(args[1])); at < 0 {
			return nil, errors.New("dictsort: by key or by value")
		}
	}
	items, _ := (&view{d, "items"}).list()
	items, err = m.sortedBy(items, func(v any) (any, error) {
		k := v.(*tuple).items[at]
		if !truth(args[0]) {
			k = ignoreCase(k)
		}
		return k, nil
	}, truth(args[2]))
	return &list{items}, err
}

func escapeFilter(_ *machine, v any, a callArgs) (any, error) {
	if s, ok := v.(markup); ok {
		return s, nil
	}
	return markup(escape(str(v))), nil
}

func safeFilter(_ *machine, v any, a callArgs) (any, error) { return markup(str(v)), nil }

func stringFilter(_ *machine, v any, a callArgs) (any, error) {
	if s, ok := v.(markup); ok {
		return s, nil
	}
	return str(v), nil
}

func firstFilter(m *machine, v any, a callArgs) (any, error) {
	if it, ok := v.(*iterator); ok {
		one, ok, err := it.next()
		if !ok && err == nil {
			one = &undefined{why: "there is no first item"}
		}
		return one, err
	}
	items, err := m.items(v)
	if err != nil || len(items) == 0 {
		return &undefined{why: "there is no first item"}, err
	}
	return items[0], nil
}

func lastFilter(m *machine, v any, a callArgs) (any, error) {
	switch v.(type) {
	case *iterator, *undefined:
		return nil, fmt.Errorf("last: a %s has no end to begin from", typeName(v))
	}
	items, err := m.items(v)
	if err != nil || len(items) == 0 {
		return &undefined{why: "there is no last item"}, err
	}
	return items[len(items)-1], nil
}

func floatFilter(_ *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("float", 0, "default")
	if err != nil {
		return nil, err
	}
	if _, f, _, ok := number(v); ok {
		return f, nil
	}
	if u, ok := v.(*undefined); ok {
		return nil, u.error()
	}
	if s, ok := isString(v); ok {
		if f, err := parseFloat(s); err == nil {
			return f, nil
		}
	}
	if given[0] {
		return args[0], nil
	}
	return 0.0, nil
}

func parseFloat(s string) (float64, error) {
	s = strings.ToLower(strings.TrimFunc(s, isSpace))
	if strings.ContainsAny(s, "xp") { // Go's hexadecimal floats are not Python's
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

func intFilter(_ *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("int", 0, "default", "base")
	if err != nil {
		return nil, err
	}
	base := 10
	if given[1] {
		if base, err = whole(args[1], "int"); err != nil || base < 2 || base > 36 {
			return nil, errors.New("int: the base is not supported")
		}
	}
	if i, f, isInt, ok := number(v); ok {
		if isInt {
			return i, nil
		}
		if math.Abs(f) < 1<<62 {
			return int64(f), nil
		}
		return nil, errInteger
	}
	if u, ok := v.(*undefined); ok {
		return nil, u.error()
	}
	if s, ok := isString(v); ok {
		if i, err := strconv.ParseInt(strings.TrimFunc(s, isSpace), base, 64); err == nil {
			return i, nil
		}
		if f, err := parseFloat(s); err == nil && math.Abs(f) < 1<<62 {
			return int64(f), nil
		} else if err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return nil, errInteger
		}
	}
	if f, ok := v.(*function); ok {
		return nil, fmt.Errorf("int: expected a value, found the function %s", f.name)
	}
	if given[0] {
		return args[0], nil
	}
	return int64(0), nil
}

func formatFilter(m *machine, v any, a callArgs) (any, error) {
	if len(a.names) > 0 {
		return nil, errors.New("format with named values is not supported")
	}
	return m.percent(str(v), &tuple{a.pos})
}

func indentFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("indent", 0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	pad := "    "
	if s, ok := args[0].(string); ok {
		pad = s
	} else if given[0] {
		n, err := whole(args[0], "indent")
		if err != nil {
			return nil, err
		}
		if err := m.made(max(0, n)); err != nil {
			return nil, err
		}
		pad = strings.Repeat(" ", max(0, n))
	}
	s, err := textArg("indent", v)
	if err != nil {
		return nil, err
	}
	lines := pythonLines(s+"\n", false)
	if len(s)+len(lines)*len(pad) > m.text {
		return nil, errTooMuch
	}
	for i := range lines {
		if i > 0 && (lines[i] != "" || truth(args[2])) {
			lines[i] = pad + lines[i]
		}
	}
	out := strings.Join(lines, "\n")
	if truth(args[1]) {
		out = pad + out
	}
	return out, nil
}

func itemsFilter(_ *machine, v any, a callArgs) (any, error) {
	switch v := v.(type) {
	case *undefined:
		return iterate("generator", nil), nil
	case *Dict:
		items, err := (&view{v, "items"}).list()
		return iterate("generator", items), err
	}
	return nil, fmt.Errorf("items: expected a dict, found a %s", typeName(v))
}

// getter gives an item's attribute "a.b.0", or the item itself without one.
func (m *machine) getter(attribute any) (func(v any) (any, error), error) {
	var path []any
	switch at := attribute.(type) {
	case nil:
	case int64:
		path = []any{at}
	case string:
		for _, part := range strings.Split(at, ".") {
			if n, err := strconv.Atoi(part); err == nil && n >= 0 {
				path = append(path, int64(n))
			} else {
				path = append(path, part)
			}
		}
	default:
		return nil, fmt.Errorf("an attribute that is a %s", typeName(at))
	}
	return func(v any) (any, error) {
		var err error
		for _, part := range path {
			if v, err = m.item(v, part); err != nil {
				return nil, err
			}
		}
		return v, nil
	}, nil
}

func joinFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("join", 0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	if !given[0] {
		args[0] = ""
	}
	get, err := m.getter(args[1])
	if err != nil {
		return nil, err
	}
	items, err := m.items(v)
	if err != nil {
		return nil, err
	}
	values := make([]any, len(items))
	for i, one := range items {
		if values[i], err = get(one); err != nil {
			return nil, err
		}
	}
	return m.joined(values, str(args[0]))
}

func listFilter(m *machine, v any, a callArgs) (any, error) {
	items, err := m.items(v)
	return &list{slices.Clone(items)}, err
}

// source gives the items of v one by one, so that what comes behind decides how many are looked at.
func (m *machine) source(v any) (func() (any, bool, error), error) {
	if it, ok := v.(*iterator); ok {
		return it.next, nil
	}
	if !truth(v) { // none as well
		return iterate("", nil).next, nil
	}
	items, err := m.items(v)
	return iterate("", items).next, err
}

func mapFilter(m *machine, v any, a callArgs) (any, error) {
	next, err := m.source(v)
	if err != nil {
		return nil, err
	}
	var apply func(any) (any, error)
	if len(a.pos) == 0 {
		attribute, ok := a.take("attribute")
		if !ok {
			return nil, errors.New("map: a filter's name or attribute= is needed")
		}
		get, err := m.getter(attribute)
		if err != nil {
			return nil, err
		}
		otherwise, given := a.take("default")
		if len(a.names) > 0 {
			return nil, fmt.Errorf("map takes no argument %s", a.names[0])
		}
		apply = func(v any) (any, error) {
			v, err := get(v)
			if _, missing := v.(*undefined); missing && given && err == nil {
				v = otherwise
			}
			return v, err
		}
	} else {
		name, err := textArg("map", a.pos[0])
		if err != nil {
			return nil, err
		}
		rest := callArgs{a.pos[1:], a.names, a.values}
		apply = func(v any) (any, error) { return m.filter(name, v, rest) }
	}
	return &iterator{"generator", func() (any, bool, error) {
		v, ok, err := next()
		if err != nil || !ok {
			return nil, false, err
		}
		if err := m.step(); err != nil {
			return nil, false, err
		}
		v, err = apply(v)
		return v, err == nil, err
	}}, nil
}

// selector is select, reject, selectattr and rejectattr.
func selector(byAttribute, keep bool) filterFunc {
	return func(m *machine, v any, a callArgs) (any, error) {
		next, err := m.source(v)
		if err != nil {
			return nil, err
		}
		get := func(v any) (any, error) { return v, nil }
		if byAttribute {
			if len(a.pos) == 0 {
				return nil, errors.New("selectattr and rejectattr need an attribute")
			}
			if get, err = m.getter(a.pos[0]); err != nil {
				return nil, err
			}
			a.pos = a.pos[1:]
		}
		is := func(v any) (bool, error) { return truth(v), nil }
		if len(a.pos) > 0 {
			name, err := textArg("select", a.pos[0])
			if err != nil {
				return nil, err
			}
			rest := callArgs{a.pos[1:], a.names, a.values}
			is = func(v any) (bool, error) { return m.tested(name, v, rest) }
		}
		return &iterator{"generator", func() (any, bool, error) {
			for {
				v, ok, err := next()
				if err != nil || !ok {
					return nil, false, err
				}
				if err := m.step(); err != nil {
					return nil, false, err
				}
				got, err := get(v)
				if err != nil {
					return nil, false, err
				}
				yes, err := is(got)
				if err != nil {
					return nil, false, err
				}
				if yes == keep {
					return v, true, nil
				}
			}
		}}, nil
	}
}

// sortKey reads the options case_sensitive and attribute.
func (m *machine) sortKey(sensitive, attribute any) (func(v any) (any, error), error) {
	get, err := m.getter(attribute)
	return func(v any) (any, error) {
		v, err := get(v)
		if !truth(sensitive) {
			v = ignoreCase(v)
		}
		return v, err
	}, err
}

func sortFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("sort", 0, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	if _, _, isInt, _ := number(args[0]); given[0] && !isInt {
		return nil, fmt.Errorf("sort: reverse is a %s", typeName(args[0]))
	}
	attributes := []any{args[2]}
	if s, ok := args[2].(string); ok {
		attributes = stringsOf(strings.Split(s, ",")).items
	}
	keys := make([]func(v any) (any, error), len(attributes))
	for i := range keys {
		if keys[i], err = m.sortKey(args[1], attributes[i]); err != nil {
			return nil, err
		}
	}
	items, err := m.items(v)
	if err != nil {
		return nil, err
	}
	items, err = m.sortedBy(items, func(v any) (any, error) {
		all := &list{}
		for _, key := range keys {
			one, err := key(v)
			if err != nil {
				return nil, err
			}
			all.items = append(all.items, one)
		}
		return all, nil
	}, truth(args[0]))
	return &list{items}, err
}

// keyed is the items of a filter that has sortKey's options alone, and what they are compared by.
func (m *machine) keyed(filter string, v any, a callArgs) (items []any, key func(v any) (any, error), err error) {
	args, _, err := a.bind(filter, 0, "case_sensitive", "attribute")
	if err != nil {
		return nil, nil, err
	}
	if key, err = m.sortKey(args[0], args[1]); err != nil {
		return nil, nil, err
	}
	items, err = m.items(v)
	return items, key, err
}

func uniqueFilter(m *machine, v any, a callArgs) (any, error) {
	items, key, err := m.keyed("unique", v, a)
	if err != nil {
		return nil, err
	}
	seen := NewDict()
	var out []any
	for _, one := range items {
		k, err := key(one)
		if err != nil {
			return nil, err
		}
		if !hashable(k) {
			return nil, fmt.Errorf("unique: a %s can't be a key", typeName(k))
		}
		if _, ok := seen.get(k); !ok {
			seen.put(k, true)
			out = append(out, one)
		}
	}
	return iterate("generator", out), nil
}

func extremeFilter(most bool) filterFunc {
	return func(m *machine, v any, a callArgs) (any, error) {
		items, key, err := m.keyed("min and max", v, a)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return &undefined{why: "there is no item"}, nil
		}
		sorted, err := m.sortedBy(items, key, most)
		if err != nil {
			return nil, err
		}
		return sorted[0], nil
	}
}

func replaceFilter(m *machine, v any, a callArgs) (any, error) {
	args, _, err := a.bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	n := -1
	if args[2] != nil {
		if n, err = whole(args[2], "replace"); err != nil {
			return nil, err
		}
	}
	if _, ok := v.(markup); ok {
		return nil, errors.New("replace in a text marked as safe is not supported")
	}
	return m.replaced(str(v), str(args[0]), str(args[1]), n)
}

func reverseFilter(m *machine, v any, a callArgs) (any, error) {
	if s, ok := isString(v); ok {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes), nil
	}
	items, err := m.items(v)
	items = slices.Clone(items)
	slices.Reverse(items)
	return iterate("reversed list", items), err
}

func roundFilter(_ *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("round", 0, "precision", "method")
	if err != nil {
		return nil, err
	}
	places := 0
	if given[0] {
		if places, err = whole(args[0], "round"); err != nil || places < 0 || places > 15 {
			return nil, errors.New("round: the precision is not supported")
		}
	}
	i, f, isInt, ok := number(v)
	if !ok {
		return nil, badOperands("round", v, nil)
	}
	scale := math.Pow(10, float64(places))
	switch how := str(args[1]); {
	case !given[1] || how == "common":
		if isInt {
			return i, nil
		}
		return strconv.ParseFloat(strconv.FormatFloat(f, 'f', places, 64), 64)
	case how == "ceil":
		return math.Ceil(f*scale) / scale, nil
	case how == "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, errors.New("round: method must be common, ceil or floor")
}

func sumFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("sum", 0, "attribute", "start")
	if err != nil {
		return nil, err
	}
	get, err := m.getter(args[0])
	if err != nil {
		return nil, err
	}
	items, err := m.items(v)
	if err != nil {
		return nil, err
	}
	total := any(int64(0))
	if given[1] {
		total = args[1]
	}
	for _, one := range items {
		if one, err = get(one); err != nil {
			return nil, err
		}
		if total, err = m.arithmetic("+", total, one); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// titleWords is the filter title, which is not Python's method: a word begins behind white space and - ( { [ <.
func titleWords(s string) string {
	var b strings.Builder
	first := true
	for _, r := range s {
		switch {
		case isSpace(r) || strings.ContainsRune("-({[<", r):
			b.WriteRune(r)
			first = true
			continue
		case first:
			b.WriteString(upper.String(string(r)))
		default:
			b.WriteString(lower.String(string(r)))
		}
		first = false
	}
	return b.String()
}

func tojsonFilter(m *machine, v any, a callArgs) (any, error) {
	args, given, err := a.bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	style := jsonStyle{m: m, ascii: truth(args[0]), sorted: truth(args[3]), comma: ", ", colon: ": "}
	if args[1] != nil {
		style.lines, style.comma = true, ","
		if s, ok := args[1].(string); ok {
			style.indent = s
		} else {
			n, err := whole(args[1], "tojson")
			if err != nil || n > 100 {
				return nil, errors.New("tojson: the indent is not supported")
			}
			style.indent = strings.Repeat(" ", max(0, n))
		}
	}
	if given[2] && args[2] != nil {
		items, err := m.items(args[2])
		if err != nil || len(items) != 2 {
			return nil, errors.New("tojson: separators must be two strings")
		}
		style.comma, style.colon = str(items[0]), str(items[1])
	}
	var b strings.Builder
	err = style.write(&b, v, 0, m.text)
	return b.String(), err
}

func trimFilter(_ *machine, v any, a callArgs) (any, error) {
	args, _, err := a.bind("trim", 0, "chars")
	if err != nil {
		return nil, err
	}
	s, err := strip(str(v), args[0], true, true)
	if _, ok := v.(markup); ok {
		return markup(s), err
	}
	return s, err
}

func wordcountFilter(_ *machine, v any, a callArgs) (any, error) {
	n := int64(0)
	in := false
	for _, r := range str(v) {
		word := r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
		if word && !in {
			n++
		}
		in = word
	}
	return n, nil
}

// testFunc is one of Jinja's tests, with so many arguments: none or one.
type testFunc struct {
	args int
	is   func(m *machine, v, other any) (bool, error)
}

func kind(f func(v any) bool) testFunc {
	return testFunc{0, func(_ *machine, v, _ any) (bool, error) { return f(v), nil }}
}

// compareTest is a test that is an operator.
func compareTest(op string) testFunc {
	return testFunc{1, func(m *machine, v, other any) (bool, error) { return m.compared(op, v, other) }}
}

// leaves is a test that v divided by a number leaves a remainder; by is nil where the number is the test's argument.
func leaves(by any, remainder int64) func(m *machine, v, other any) (bool, error) {
	return func(m *machine, v, other any) (bool, error) {
		if _, ok := isString(v); ok {
			return false, errors.New("expected a number, found a string")
		}
		if by != nil {
			other = by
		}
		r, err := m.arithmetic("%", v, other)
		return err == nil && m.equal(r, remainder), err
	}
}

var tests = map[string]testFunc{
	"boolean":   kind(func(v any) bool { _, ok := v.(bool); return ok }),
	"callable":  kind(func(v any) bool { _, f := v.(*function); _, u := v.(*undefined); return f || u }),
	"defined":   kind(func(v any) bool { _, ok := v.(*undefined); return !ok }),
	"undefined": kind(func(v any) bool { _, ok := v.(*undefined); return ok }),
	"escaped":   kind(func(v any) bool { _, ok := v.(markup); return ok }),
	"false":     kind(func(v any) bool { return v == false }),
	"true":      kind(func(v any) bool { return v == true }),
	"none":      kind(func(v any) bool { return v == nil }),
	"float":     kind(func(v any) bool { _, ok := v.(float64); return ok }),
	"integer":   kind(func(v any) bool { _, ok := v.(int64); return ok }),
	"number":    kind(func(v any) bool { _, _, _, ok := number(v); return ok }),
	"string":    kind(func(v any) bool { _, ok := isString(v); return ok }),
	"mapping":   kind(func(v any) bool { _, ok := v.(*Dict); return ok }),
	"iterable": kind(func(v any) bool {
		switch v.(type) {
		case nil, bool, int64, float64, *function, *namespace:
			return false
		}
		return true
	}),
	"sequence": kind(func(v any) bool {
		switch v.(type) {
		case string, markup, *list, *tuple, *Dict, *interval, *undefined:
			return true
		}
		return false
	}),
	"filter": {0, func(_ *machine, v, _ any) (bool, error) {
		if !hashable(v) {
			return false, fmt.Errorf("a %s can't be a filter's name", typeName(v))
		}
		n, ok := isString(v)
		return ok && filters[n] != nil, nil
	}},
	"lower":       kind(func(v any) bool { return cased(str(v), unicode.IsUpper, unicode.IsLower) }),
	"upper":       kind(func(v any) bool { return cased(str(v), unicode.IsLower, unicode.IsUpper) }),
	"divisibleby": {1, leaves(nil, 0)},
	"even":        {0, leaves(int64(2), 0)},
	"odd":         {0, leaves(int64(2), 1)},
	"sameas": {1, func(m *machine, v, other any) (bool, error) {
		return typeName(v) == typeName(other) && m.same(v, other), nil
	}},
	"in": compareTest("in"),
	"eq": compareTest("=="), "equalto": compareTest("=="), "==": compareTest("=="),
	"ne": compareTest("!="), "!=": compareTest("!="),
	"gt": compareTest(">"), "greaterthan": compareTest(">"), ">": compareTest(">"),
	"ge": compareTest(">="), ">=": compareTest(">="),
	"lt": compareTest("<"), "lessthan": compareTest("<"), "<": compareTest("<"),
	"le": compareTest("<="), "<=": compareTest("<="),
}

// same is Python's "is", for values of one type.
func (m *machine) same(a, b any) bool {
	switch a.(type) {
	case string, int64, float64:
		return m.equal(a, b)
	}
	return a == b
}
