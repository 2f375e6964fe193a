package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is Python's format % values, for the conversions s, r, d, i, f, e, x, X and %.
func (m *machine) percent(format string, values any) (any, error) {
	args, isTuple := []any{values}, false
	if t, ok := values.(*tuple); ok {
		args, isTuple = t.items, true
	}
	var b strings.Builder
	used := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		end := i + 1
		for end < len(format) && strings.IndexByte("0123456789.-+ #", format[end]) >= 0 {
			end++
		}
		if end == len(format) {
			return nil, errors.New("%: an incomplete conversion")
		}
		spec, conv := format[i+1:end], format[end]
		i = end
		if conv == '%' && spec == "" {
			b.WriteByte('%')
			continue
		}
		if used == len(args) {
			return nil, errors.New("%: not enough values")
		}
		s, err := conversion(spec, conv, args[used])
		if err != nil {
			return nil, err
		}
		used++
		b.WriteString(s)
		if b.Len() > m.text {
			return nil, errTooMuch
		}
	}
	subscripted := false // Python takes such a value for a mapping, which may stay unused
	switch values.(type) {
	case *Dict, *list, *undefined:
		subscripted = true
	}
	if used < len(args) && (isTuple || !subscripted) {
		return nil, errors.New("%: more values than conversions")
	}
	return b.String(), m.made(b.Len())
}

// conversion formats one value; spec is flags, width and precision.
func conversion(spec string, conv byte, v any) (string, error) {
	flags := spec[:len(spec)-len(strings.TrimLeft(spec, "-+ #0"))]
	width, precision, _ := strings.Cut(spec[len(flags):], ".")
	for _, n := range []string{width, precision} {
		if len(n) > 3 || strings.Trim(n, "0123456789") != "" {
			return "", fmt.Errorf("%%: the format %q is not supported", spec)
		}
	}
	verb := "%" + spec
	i, f, isInt, isNumber := number(v)
	switch conv {
	case 's', 'r':
		s := str(v)
		if conv == 'r' {
			s = repr(v)
		}
		return fmt.Sprintf("%"+strings.ReplaceAll(spec, "0"+width, width)+"s", s), nil
	case 'd', 'i', 'x', 'X':
		if !isNumber || conv != 'd' && conv != 'i' && !isInt {
			return "", fmt.Errorf("%%%c: expected a number, found a %s", conv, typeName(v))
		}
		if !isInt {
			i = int64(f)
		}
		if conv == 'i' {
			conv = 'd'
		}
		return fmt.Sprintf(verb+string(conv), i), nil
	case 'f', 'e':
		if !isNumber {
			return "", fmt.Errorf("%%%c: expected a number, found a %s", conv, typeName(v))
		}
		return fmt.Sprintf(verb+string(conv), f), nil
	}
	return "", fmt.Errorf("%%%c is not supported", conv)
}

// formatMethod is Python's str.format for the fields {}, {0} and {name}.
func formatMethod(m *machine, s string, a callArgs) (any, error) {
	var b strings.Builder
	next := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(s) && s[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if c == '}' || end < 0 {
			return nil, errors.New("format: a brace alone")
		}
		field := s[i+1 : i+end]
		i += end
		v, err := formatField(field, &next, a)
		if err != nil {
			return nil, err
		}
		b.WriteString(str(v))
		if b.Len() > m.text {
			return nil, errTooMuch
		}
	}
	return b.String(), nil
}

func formatField(field string, next *int, a callArgs) (any, error) {
	if strings.ContainsAny(field, ".[:!") {
		return nil, fmt.Errorf("format: the field {%s} is not supported", field)
	}
	at := *next
	if field == "" {
		*next++
	} else if n, err := strconv.Atoi(field); err == nil {
		at = n
	} else if v, ok := a.take(field); ok {
		return v, nil
	} else {
		return nil, fmt.Errorf("format: no value for {%s}", field)
	}
	if at < 0 || at >= len(a.pos) {
		return nil, fmt.Errorf("format: no value %d", at)
	}
	return a.pos[at], nil
}

var escaper = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

func escape(s string) string { return escaper.Replace(s) }

// jsonStyle is how tojson writes.
type jsonStyle struct {
	m             *machine
	ascii, sorted bool
	indent        string // with a line for each entry; none where lines is false
	lines         bool
	comma, colon  string
}

// write is Python's json.dumps.
func (j *jsonStyle) write(b *strings.Builder, v any, depth, limit int) error {
	if depth > maxDepth || b.Len() > limit {
		return errTooMuch
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(jsonFloat(v))
	case string:
		j.quote(b, v)
	case markup:
		j.quote(b, string(v))
	case *list:
		return j.array(b, v.items, depth, limit)
	case *tuple:
		return j.array(b, v.items, depth, limit)
	case *Dict:
		return j.object(b, v, depth, limit)
	default:
		return fmt.Errorf("tojson: a %s has no JSON", typeName(v))
	}
	return nil
}

func jsonFloat(f float64) string {
	switch s := floatRepr(f); s {
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	case "nan":
		return "NaN"
	default:
		return s
	}
}

func (j *jsonStyle) newline(b *strings.Builder, depth int) {
	if j.lines {
		b.WriteString("\n" + strings.Repeat(j.indent, depth))
	}
}

func (j *jsonStyle) array(b *strings.Builder, items []any, depth, limit int) error {
	b.WriteByte('[')
	for i, v := range items {
		if i > 0 {
			b.WriteString(j.comma)
		}
		j.newline(b, depth+1)
		if err := j.write(b, v, depth+1, limit); err != nil {
			return err
		}
	}
	if len(items) > 0 {
		j.newline(b, depth)
	}
	b.WriteByte(']')
	return nil
}

func (j *jsonStyle) object(b *strings.Builder, d *Dict, depth, limit int) error {
	b.WriteByte('{')
	keys := d.keys
	if j.sorted {
		var err error
		if keys, err = j.m.sortedBy(keys, func(v any) (any, error) { return v, nil }, false); err != nil {
			return err
		}
	}
	for i, k := range keys {
		if i > 0 {
			b.WriteString(j.comma)
		}
		j.newline(b, depth+1)
		switch k := k.(type) {
		case nil:
			b.WriteString(`"null"`)
		case bool:
			b.WriteString(`"` + strconv.FormatBool(k) + `"`)
		case int64:
			b.WriteString(`"` + strconv.FormatInt(k, 10) + `"`)
		case float64:
			b.WriteString(`"` + jsonFloat(k) + `"`)
		case string:
			j.quote(b, k)
		case markup:
			j.quote(b, string(k))
		default:
			return fmt.Errorf("tojson: a %s can't be a key", typeName(k))
		}
		b.WriteString(j.colon)
		v, _ := d.get(k)
		if err := j.write(b, v, depth+1, limit); err != nil {
			return err
		}
	}
	if len(keys) > 0 {
		j.newline(b, depth)
	}
	b.WriteByte('}')
	return nil
}

func (j *jsonStyle) quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || j.ascii && (r >= 0x7f && r < 0x10000):
			fmt.Fprintf(b, `\u%04x`, r)
		case j.ascii && r >= utf8.RuneSelf:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
