package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Values are Python's: nil, bool, int64, float64, string, and the types below.
type (
	list  struct{ items []any }
	tuple struct{ items []any }
	// markup is a string that the filter safe went over: joined to a plain string, it escapes that one.
	markup string
	// undefined is what is not there: it prints as nothing and is false, and most other uses of it are errors.
	undefined struct{ why string }
	namespace struct{ vars *Dict }
	// iterator gives its items once.
	iterator struct {
		kind string
		next func() (any, bool, error)
	}
	view struct { // a dict's keys, values or items
		of   *Dict
		kind string
	}
	interval struct{ start, stop, step int64 } // range(…)
	function struct {
		name string
		call func(m *machine, a callArgs) (any, error)
	}
)

// Dict is a mapping in the order of insertion.
type Dict struct {
	keys, values []any
	index        map[any]int
}

// NewDict makes a mapping of keys and values in turn.
func NewDict(pairs ...any) *Dict {
	d := &Dict{index: map[any]int{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Set enters a value.
func (d *Dict) Set(key string, v any) { d.put(key, v) }

// Get finds a value.
func (d *Dict) Get(key string) (any, bool) { return d.get(key) }

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Each gives the entries in their order until f returns false.
func (d *Dict) Each(f func(key string, v any) bool) {
	for i, k := range d.keys {
		if s, ok := k.(string); ok && !f(s, d.values[i]) {
			return
		}
	}
}

// hashKey is one form for keys that Python finds equal (1, 1.0 and True).
func hashKey(key any) any {
	switch k := key.(type) {
	case bool:
		if k {
			return int64(1)
		}
		return int64(0)
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<62 {
			return int64(k)
		}
	case markup:
		return string(k)
	}
	return key
}

// hashable tells whether a value may be a key. Python allows tuples too.
func hashable(v any) bool {
	switch v.(type) {
	case nil, bool, int64, float64, string, markup:
		return true
	}
	return false
}

func (d *Dict) put(key, v any) {
	h := hashKey(key)
	if i, ok := d.index[h]; ok {
		d.values[i] = v
		return
	}
	d.index[h] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, v)
}

func (d *Dict) get(key any) (any, bool) {
	if i, ok := d.index[hashKey(key)]; ok {
		return d.values[i], true
	}
	return nil, false
}

// ParseJSON reads one JSON value with the keys of objects in their order.
func ParseJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := readJSON(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func readJSON(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if !strings.ContainsAny(string(t), ".eE") {
			return strconv.ParseInt(string(t), 10, 64)
		}
		return strconv.ParseFloat(string(t), 64)
	case json.Delim:
		if t == '[' {
			items := []any{}
			for dec.More() {
				v, err := readJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				items = append(items, v)
			}
			_, err := dec.Token()
			return items, err
		}
		d := NewDict()
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := readJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.put(k, v)
		}
		_, err := dec.Token()
		return d, err
	}
	return t, nil
}

// fromGo makes a value of what a caller hands in, and counts the bytes of its text. Dicts and slices are copied, so that a template changes
// nothing of its caller.
func fromGo(v any, depth int) (_ any, size int, err error) {
	if depth > maxDepth {
		return nil, 0, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64:
		return v, 8, nil
	case int:
		return int64(v), 8, nil
	case string:
		return v, len(v), nil
	case []any:
		items := make([]any, len(v))
		for i := range v {
			n := 0
			if items[i], n, err = fromGo(v[i], depth+1); err != nil {
				return nil, 0, err
			}
			size += n
		}
		return &list{items}, size + 8, nil
	case *Dict:
		d := NewDict()
		for i, k := range v.keys {
			one, n, err := fromGo(v.values[i], depth+1)
			if err != nil {
				return nil, 0, err
			}
			d.put(k, one)
			size += n + 8
		}
		return d, size + 8, nil
	}
	return nil, 0, fmt.Errorf("a value of type %T", v)
}

func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string, markup:
		return "string"
	case *list:
		return "list"
	case *tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *undefined:
		return "undefined"
	case *namespace:
		return "namespace"
	case *iterator:
		return v.kind
	case *view:
		return "dict " + v.kind
	case *interval:
		return "range"
	case *loopState:
		return "loop"
	}
	return "function"
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case *undefined:
		return false
	case *loopState:
		return true
	}
	n, ok := length(v)
	return !ok || n != 0
}

// length is Python's len; false if the value has none.
func length(v any) (int, bool) {
	switch v := v.(type) {
	case string:
		return len([]rune(v)), true
	case markup:
		return len([]rune(v)), true
	case *list:
		return len(v.items), true
	case *tuple:
		return len(v.items), true
	case *Dict:
		return len(v.keys), true
	case *view:
		return len(v.of.keys), true
	case *interval:
		return v.len(), true
	case *undefined:
		return 0, true
	case *loopState:
		return len(v.items), true
	}
	return 0, false
}

func (r *interval) len() int {
	if r.step > 0 && r.start < r.stop {
		return int((r.stop - r.start + r.step - 1) / r.step)
	} else if r.step < 0 && r.start > r.stop {
		return int((r.start - r.stop - r.step - 1) / -r.step)
	}
	return 0
}

// isString gives the text of a string.
func isString(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// number gives a number; Python's bool is one.
func number(v any) (i int64, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// equal is Python's ==. Each comparison is a step.
func (m *machine) equal(a, b any) bool {
	if err := m.step(); err != nil {
		panic(stop{err})
	}
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if aInt && bInt {
			return ok && ai == bi
		}
		return ok && af == bf
	}
	if s, ok := isString(a); ok {
		t, ok := isString(b)
		return ok && s == t
	}
	m.depth++
	defer func() { m.depth-- }()
	if m.depth > maxDepth {
		panic(stop{errDeep})
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case *list:
		b, ok := b.(*list)
		return ok && slices.EqualFunc(a.items, b.items, m.equal)
	case *tuple:
		b, ok := b.(*tuple)
		return ok && slices.EqualFunc(a.items, b.items, m.equal)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for i, k := range a.keys {
			if v, ok := b.get(k); !ok || !m.equal(a.values[i], v) {
				return false
			}
		}
		return true
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *interval:
		b, ok := b.(*interval)
		return ok && *a == *b
	}
	return a == b
}

// less is Python's <; an error for values without an order between them.
func (m *machine) less(a, b any) (bool, error) {
	if ai, af, aInt, ok := number(a); ok {
		if bi, bf, bInt, ok := number(b); ok {
			if aInt && bInt {
				return ai < bi, nil
			}
			return af < bf, nil
		}
	}
	if s, ok := isString(a); ok {
		if t, ok := isString(b); ok {
			return s < t, nil // UTF-8 sorts as its characters do
		}
	}
	x, y := itemsOf[*list](a, b)
	if x == nil {
		x, y = itemsOf[*tuple](a, b)
	}
	if x == nil {
		return false, fmt.Errorf("%s and %s have no order", typeName(a), typeName(b))
	}
	for i := range min(len(x), len(y)) {
		if !m.equal(x[i], y[i]) {
			m.depth++
			defer func() { m.depth-- }()
			if m.depth > maxDepth {
				return false, errDeep
			}
			return m.less(x[i], y[i])
		}
	}
	return len(x) < len(y), nil
}

// itemsOf are the items of two values of one type; nil where they are not of it.
func itemsOf[T interface{ all() []any }](a, b any) (x, y []any) {
	l, ok := a.(T)
	k, both := b.(T)
	if !ok || !both {
		return nil, nil
	}
	return append([]any{}, l.all()...), append([]any{}, k.all()...)
}

func (l *list) all() []any  { return l.items }
func (t *tuple) all() []any { return t.items }

var errDeep = fmt.Errorf("a value nested deeper than %d levels", maxDepth)

// stop ends a rendering from within a value that is too deep or too long; Render recovers it.
type stop struct{ err error }

// str is Python's str.
func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr.
func repr(v any) string {
	var b strings.Builder
	writeRepr(&b, v, 0)
	return b.String()
}

func writeRepr(b *strings.Builder, v any, depth int) {
	if depth > maxDepth {
		panic(stop{errDeep})
	}
	if b.Len() > maxText {
		panic(stop{errTooMuch})
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		b.WriteString(quote(v))
	case markup:
		b.WriteString("Markup(" + quote(string(v)) + ")")
	case *list:
		writeReprs(b, "[", v.items, "]", depth)
	case *tuple:
		if len(v.items) == 1 {
			writeReprs(b, "(", v.items, ",)", depth)
		} else {
			writeReprs(b, "(", v.items, ")", depth)
		}
	case *Dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, k, depth+1)
			b.WriteString(": ")
			writeRepr(b, v.values[i], depth+1)
		}
		b.WriteByte('}')
	case *undefined:
		b.WriteString("Undefined")
	case *namespace:
		b.WriteString("<Namespace ")
		writeRepr(b, v.vars, depth+1)
		b.WriteByte('>')
	case *view:
		items, _ := v.list()
		writeReprs(b, "dict_"+v.kind+"([", items, "])", depth)
	case *interval:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	default: // Python prints an address, or a loop's state
		panic(stop{fmt.Errorf("a %s can't be printed", typeName(v))})
	}
}

func writeReprs(b *strings.Builder, open string, items []any, end string, depth int) {
	b.WriteString(open)
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		writeRepr(b, v, depth+1)
	}
	b.WriteString(end)
}

func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	if s = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b := []byte{q}
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = append(b, string(r)...)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, q))
}

// list gives the entries of a view.
func (v *view) list() ([]any, error) {
	switch v.kind {
	case "keys":
		return v.of.keys, nil
	case "values":
		return v.of.values, nil
	}
	items := make([]any, len(v.of.keys))
	for i, k := range v.of.keys {
		items[i] = &tuple{[]any{k, v.of.values[i]}}
	}
	return items, nil
}
