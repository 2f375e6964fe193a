package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// The names of Python's public methods: a.name finds them before a key of that name. Those that are not in the tables below are errors when
// they are called; those that change a list or a dict are errors in Jinja's sandbox as well.
var (
	stringNames = strings.Fields("capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill")
	listNames   = strings.Fields("append clear copy count extend index insert pop remove reverse sort")
	numberNames = strings.Fields("as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer numerator real to_bytes")
	dictNames   = strings.Fields("clear copy fromkeys get items keys pop popitem setdefault update values")
)

// method is the bound method of a value; false if Python has none of that name.
func method(of any, name string) (any, bool) {
	bound := func(call func(m *machine, a callArgs) (any, error)) (any, bool) {
		if call == nil {
			call = func(*machine, callArgs) (any, error) {
				return nil, fmt.Errorf("the method %s of a %s is not supported or not allowed", name, typeName(of))
			}
		}
		return &function{name, call}, true
	}
	switch o := of.(type) {
	case string, markup:
		if !slices.Contains(stringNames, name) {
			return nil, false
		}
		s, plain := o.(string)
		f := stringMethods[name]
		if f == nil || !plain {
			return bound(nil)
		}
		return bound(func(m *machine, a callArgs) (any, error) { return f(m, s, a) })
	case *list:
		switch {
		case name == "count":
			return bound(countOf(o.items))
		case name == "index":
			return bound(indexOf(o.items))
		case name == "copy":
			return bound(func(*machine, callArgs) (any, error) { return &list{slices.Clone(o.items)}, nil })
		case slices.Contains(listNames, name):
			return bound(nil)
		}
	case *tuple:
		switch name {
		case "count":
			return bound(countOf(o.items))
		case "index":
			return bound(indexOf(o.items))
		}
	case bool, int64, float64:
		if slices.Contains(numberNames, name) {
			return bound(nil)
		}
	case *Dict:
		if !slices.Contains(dictNames, name) {
			return nil, false
		}
		return bound(o.method(name))
	}
	return nil, false
}

func countOf(items []any) func(m *machine, a callArgs) (any, error) {
	return func(m *machine, a callArgs) (any, error) {
		v, _, err := a.bind("count", 1, "value")
		if err != nil {
			return nil, err
		}
		n := int64(0)
		for _, one := range items {
			if m.equal(one, v[0]) {
				n++
			}
		}
		return n, nil
	}
}

func indexOf(items []any) func(m *machine, a callArgs) (any, error) {
	return func(m *machine, a callArgs) (any, error) {
		v, _, err := a.bind("index", 1, "value")
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(items, func(one any) bool { return m.equal(one, v[0]) })
		if i < 0 {
			return nil, errors.New("index: not in the list")
		}
		return int64(i), nil
	}
}

func (d *Dict) method(name string) func(m *machine, a callArgs) (any, error) {
	switch name {
	case "get":
		return func(_ *machine, a callArgs) (any, error) {
			v, _, err := a.bind("get", 1, "key", "default")
			if err != nil {
				return nil, err
			}
			if !hashable(v[0]) {
				return nil, fmt.Errorf("a %s can't be a key", typeName(v[0]))
			}
			if found, ok := d.get(v[0]); ok {
				return found, nil
			}
			return v[1], nil
		}
	case "items", "keys", "values":
		return func(_ *machine, a callArgs) (any, error) {
			_, _, err := a.bind(name, 0)
			return &view{d, name}, err
		}
	case "copy":
		return func(*machine, callArgs) (any, error) {
			c := NewDict()
			for i, k := range d.keys {
				c.put(k, d.values[i])
			}
			return c, nil
		}
	}
	return nil
}

var (
	upper = cases.Upper(language.Und)
	lower = cases.Lower(language.Und)
)

type stringMethod func(m *machine, s string, a callArgs) (any, error)

// stringMethods are those of Python's str.
var stringMethods = map[string]stringMethod{
	"strip":        stripper(true, true),
	"lstrip":       stripper(true, false),
	"rstrip":       stripper(false, true),
	"split":        splitter(false),
	"rsplit":       splitter(true),
	"splitlines":   func(_ *machine, s string, a callArgs) (any, error) { return splitLines(s, a) },
	"startswith":   affix("startswith", strings.HasPrefix),
	"endswith":     affix("endswith", strings.HasSuffix),
	"upper":        simple("upper", func(s string) any { return upper.String(s) }),
	"lower":        simple("lower", func(s string) any { return lower.String(s) }),
	"casefold":     simple("casefold", func(s string) any { return cases.Fold().String(s) }),
	"capitalize":   simple("capitalize", func(s string) any { return capitalize(s) }),
	"title":        simple("title", func(s string) any { return title(s) }),
	"isspace":      simple("isspace", every(isSpace)),
	"isdigit":      simple("isdigit", every(unicode.IsDigit)),
	"isdecimal":    simple("isdecimal", every(unicode.IsDigit)),
	"isnumeric":    simple("isnumeric", every(unicode.IsNumber)),
	"isalpha":      simple("isalpha", every(unicode.IsLetter)),
	"isalnum":      simple("isalnum", every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })),
	"isupper":      simple("isupper", func(s string) any { return cased(s, unicode.IsLower, unicode.IsUpper) }),
	"islower":      simple("islower", func(s string) any { return cased(s, unicode.IsUpper, unicode.IsLower) }),
	"replace":      replaceMethod,
	"join":         joinMethod,
	"find":         finder("find", strings.Index),
	"rfind":        finder("rfind", strings.LastIndex),
	"index":        finder("index", strings.Index),
	"rindex":       finder("rindex", strings.LastIndex),
	"count":        countMethod,
	"removeprefix": pair("removeprefix", func(s, t string) any { return strings.TrimPrefix(s, t) }),
	"removesuffix": pair("removesuffix", func(s, t string) any { return strings.TrimSuffix(s, t) }),
	"partition":    pair("partition", func(s, t string) any { return partition(s, t, false) }),
	"rpartition":   pair("rpartition", func(s, t string) any { return partition(s, t, true) }),
	"ljust":        justify("ljust"),
	"rjust":        justify("rjust"),
	"zfill":        justify("zfill"),
	"format":       formatMethod,
}

func simple(name string, f func(s string) any) stringMethod {
	return func(_ *machine, s string, a callArgs) (any, error) {
		_, _, err := a.bind(name, 0)
		return f(s), err
	}
}

func pair(name string, f func(s, t string) any) stringMethod {
	return func(_ *machine, s string, a callArgs) (any, error) {
		v, _, err := a.bind(name, 1, "argument")
		if err != nil {
			return nil, err
		}
		t, err := textArg(name, v[0])
		if err != nil {
			return nil, err
		}
		if t == "" && strings.HasSuffix(name, "partition") {
			return nil, errors.New("an empty separator")
		}
		return f(s, t), nil
	}
}

func textArg(what string, v any) (string, error) {
	s, ok := isString(v)
	if !ok {
		return "", fmt.Errorf("%s: expected a string, found a %s", what, typeName(v))
	}
	return s, nil
}

func every(f func(rune) bool) func(string) any {
	return func(s string) any {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !f(r) })
	}
}

func cased(s string, never, some func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return never(r) || unicode.IsTitle(r) }) && strings.ContainsFunc(s, some)
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return titleCase(s[:n]) + lower.String(s[n:])
}

// titleCase is a character in title case: two letters may come of one.
func titleCase(char string) string {
	if r, _ := utf8.DecodeRuneInString(char); unicode.ToTitle(r) != r {
		return string(unicode.ToTitle(r))
	}
	if u := upper.String(char); utf8.RuneCountInString(u) > 1 { // ß becomes Ss
		_, n := utf8.DecodeRuneInString(u)
		return u[:n] + lower.String(u[n:])
	}
	return char
}

// title is Python's str.title: each letter behind something that is no letter becomes a capital.
func title(s string) string {
	var b strings.Builder
	letter := false
	for _, r := range s {
		if letter {
			b.WriteString(lower.String(string(r)))
		} else {
			b.WriteString(titleCase(string(r)))
		}
		letter = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return b.String()
}

func strip(s string, set any, left, right bool) (string, error) {
	cut := isSpace
	if set != nil {
		chars, err := textArg("strip", set)
		if err != nil {
			return "", err
		}
		cut = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, cut)
	}
	if right {
		s = strings.TrimRightFunc(s, cut)
	}
	return s, nil
}

func stripper(left, right bool) stringMethod {
	return func(_ *machine, s string, a callArgs) (any, error) {
		v, _, err := a.bind("strip", 0, "chars")
		if err != nil {
			return nil, err
		}
		return strip(s, v[0], left, right)
	}
}

func stringsOf(parts []string) *list {
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return &list{items}
}

func splitter(fromRight bool) stringMethod {
	return func(m *machine, s string, a callArgs) (any, error) {
		v, given, err := a.bind("split", 0, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most := -1
		if given[1] {
			if most, err = whole(v[1], "split"); err != nil {
				return nil, err
			}
		}
		if err := m.made(len(s) + 16); err != nil {
			return nil, err
		}
		if v[0] == nil {
			return stringsOf(fields(s, most, fromRight)), nil
		}
		sep, err := textArg("split", v[0])
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("split: an empty separator")
		}
		if most < 0 {
			return stringsOf(strings.Split(s, sep)), nil
		}
		if !fromRight {
			return stringsOf(strings.SplitN(s, sep, most+1)), nil
		}
		var parts []string
		for ; most > 0; most-- {
			at := strings.LastIndex(s, sep)
			if at < 0 {
				break
			}
			parts = append(parts, s[at+len(sep):])
			s = s[:at]
		}
		parts = append(parts, s)
		slices.Reverse(parts)
		return stringsOf(parts), nil
	}
}

// fields are the words between white space, after most cuts the rest.
func fields(s string, most int, fromRight bool) []string {
	if most < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var parts []string
	for {
		if fromRight {
			s = strings.TrimRightFunc(s, isSpace)
		} else {
			s = strings.TrimLeftFunc(s, isSpace)
		}
		if s == "" {
			break
		}
		at := strings.IndexFunc(s, isSpace)
		if fromRight {
			at = strings.LastIndexFunc(s, isSpace)
		}
		if len(parts) == most || at < 0 {
			parts = append(parts, s)
			break
		}
		if fromRight {
			_, n := utf8.DecodeRuneInString(s[at:])
			parts = append(parts, s[at+n:])
			s = s[:at]
		} else {
			parts = append(parts, s[:at])
			s = s[at:]
		}
	}
	if fromRight {
		slices.Reverse(parts)
	}
	return parts
}

func splitLines(s string, a callArgs) (any, error) {
	v, _, err := a.bind("splitlines", 0, "keepends")
	if err != nil {
		return nil, err
	}
	return stringsOf(pythonLines(s, truth(v[0]))), nil
}

// pythonLines cuts where Python's splitlines does.
func pythonLines(s string, keep bool) (lines []string) {
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !strings.ContainsRune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", r) || r == utf8.RuneError {
			i += n
			continue
		}
		end := i
		if i += n; r == '\r' && strings.HasPrefix(s[i:], "\n") {
			i++
		}
		if keep {
			end = i
		}
		lines = append(lines, s[start:end])
		start = i
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

func affix(name string, has func(s, t string) bool) stringMethod {
	return func(_ *machine, s string, a callArgs) (any, error) {
		v, given, err := a.bind(name, 1, "affix", "start", "end")
		if err != nil {
			return nil, err
		}
		if given[1] {
			return nil, fmt.Errorf("%s with a place to begin is not supported", name)
		}
		options := []any{v[0]}
		if t, ok := v[0].(*tuple); ok {
			options = t.items
		}
		for _, o := range options {
			t, err := textArg(name, o)
			if err != nil {
				return nil, err
			}
			if has(s, t) {
				return true, nil
			}
		}
		return false, nil
	}
}

func replaceMethod(m *machine, s string, a callArgs) (any, error) {
	v, given, err := a.bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	n := -1
	if given[2] {
		if n, err = whole(v[2], "replace"); err != nil {
			return nil, err
		}
	}
	return m.replaced(s, v[0], v[1], n)
}

// replaced bounds the text before it makes it.
func (m *machine) replaced(s string, from, to any, n int) (any, error) {
	old, err := textArg("replace", from)
	if err != nil {
		return nil, err
	}
	with, err := textArg("replace", to)
	if err != nil {
		return nil, err
	}
	if grow := strings.Count(s, old) * max(0, len(with)-len(old)); len(s)+grow > m.text {
		return nil, errTooMuch
	}
	return strings.Replace(s, old, with, n), nil
}

func joinMethod(m *machine, s string, a callArgs) (any, error) {
	v, _, err := a.bind("join", 1, "items")
	if err != nil {
		return nil, err
	}
	items, err := m.items(v[0])
	if err != nil {
		return nil, err
	}
	for _, one := range items {
		if _, err := textArg("join", one); err != nil {
			return nil, err
		}
	}
	return m.joined(items, s)
}

// joined bounds the text before it makes it.
func (m *machine) joined(items []any, sep string) (any, error) {
	parts := make([]string, len(items))
	size := len(sep) * len(items)
	for i, one := range items {
		parts[i] = str(one)
		if size += len(parts[i]); size > m.text {
			return nil, errTooMuch
		}
	}
	return strings.Join(parts, sep), nil
}

func finder(name string, find func(s, t string) int) stringMethod {
	return func(_ *machine, s string, a callArgs) (any, error) {
		v, given, err := a.bind(name, 1, "sub", "start", "end")
		if err != nil {
			return nil, err
		}
		t, err := textArg(name, v[0])
		if err != nil {
			return nil, err
		}
		if given[1] {
			return nil, fmt.Errorf("%s with a place to begin is not supported", name)
		}
		at := find(s, t)
		if at < 0 {
			if strings.HasSuffix(name, "index") {
				return nil, fmt.Errorf("%s: not in the string", name)
			}
			return int64(-1), nil
		}
		return int64(utf8.RuneCountInString(s[:at])), nil
	}
}

func countMethod(_ *machine, s string, a callArgs) (any, error) {
	v, _, err := a.bind("count", 1, "sub")
	if err != nil {
		return nil, err
	}
	t, err := textArg("count", v[0])
	return int64(strings.Count(s, t)), err
}

func partition(s, sep string, last bool) any {
	at := strings.Index(s, sep)
	if last {
		at = strings.LastIndex(s, sep)
	}
	switch {
	case at >= 0:
		return &tuple{[]any{s[:at], sep, s[at+len(sep):]}}
	case last:
		return &tuple{[]any{"", "", s}}
	}
	return &tuple{[]any{s, "", ""}}
}

func justify(name string) stringMethod {
	return func(m *machine, s string, a callArgs) (any, error) {
		v, given, err := a.bind(name, 1, "width", "fillchar")
		if err != nil {
			return nil, err
		}
		width, err := whole(v[0], name)
		if err != nil {
			return nil, err
		}
		fill := map[string]string{"ljust": " ", "rjust": " ", "zfill": "0"}[name]
		if given[1] {
			if fill, err = textArg(name, v[1]); err != nil || utf8.RuneCountInString(fill) != 1 || name == "zfill" {
				return nil, fmt.Errorf("%s: bad fill character", name)
			}
		}
		n := max(0, width-utf8.RuneCountInString(s))
		if err := m.made(n); err != nil {
			return nil, err
		}
		pad := strings.Repeat(fill, n)
		switch {
		case name == "ljust":
			return s + pad, nil
		case name == "zfill" && s != "" && (s[0] == '-' || s[0] == '+'):
			return s[:1] + pad + s[1:], nil
		}
		return pad + s, nil
	}
}
