package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// functions are the global names of transformers' templates.
var functions = map[string]*function{
	"range":           {"range", rangeFunction},
	"dict":            {"dict", dictFunction},
	"namespace":       {"namespace", namespaceFunction},
	"raise_exception": {"raise_exception", raiseFunction},
	"strftime_now":    {"strftime_now", strftimeFunction},
	"joiner":          {"joiner", joinerFunction},
}

func rangeFunction(_ *machine, a callArgs) (any, error) {
	if len(a.names) > 0 || len(a.pos) == 0 || len(a.pos) > 3 {
		return nil, errors.New("range takes one to three numbers")
	}
	var n [3]int
	for i, v := range a.pos {
		var err error
		if n[i], err = whole(v, "range"); err != nil {
			return nil, err
		}
	}
	r := &interval{0, int64(n[0]), 1}
	if len(a.pos) > 1 {
		r.start, r.stop = int64(n[0]), int64(n[1])
	}
	if len(a.pos) == 3 {
		r.step = int64(n[2])
	}
	if r.step == 0 {
		return nil, errors.New("range with step 0")
	}
	if r.len() > maxRange {
		return nil, fmt.Errorf("range of %d numbers, the limit is %d", r.len(), maxRange)
	}
	return r, nil
}

func dictFunction(m *machine, a callArgs) (any, error) {
	d := NewDict()
	if len(a.pos) > 1 {
		return nil, errors.New("dict takes one dict and named values")
	}
	if len(a.pos) == 1 {
		from, ok := a.pos[0].(*Dict)
		if !ok {
			items, err := m.items(a.pos[0])
			if err != nil {
				return nil, err
			}
			from = NewDict()
			for _, one := range items {
				kv, err := m.items(one)
				if err != nil {
					return nil, err
				}
				if len(kv) != 2 || !hashable(kv[0]) {
					return nil, errors.New("dict needs pairs of a key and a value")
				}
				from.put(kv[0], kv[1])
			}
		}
		for i, k := range from.keys {
			d.put(k, from.values[i])
		}
	}
	for i, k := range a.names {
		d.put(k, a.values[i])
	}
	return d, nil
}

func namespaceFunction(m *machine, a callArgs) (any, error) {
	d, err := dictFunction(m, a)
	if err != nil {
		return nil, err
	}
	for _, k := range d.(*Dict).keys {
		if s, ok := isString(k); ok && strings.HasPrefix(s, "_") {
			return nil, fmt.Errorf("attribute %s of a namespace: names with _ in front are not allowed", s)
		}
	}
	return &namespace{d.(*Dict)}, nil
}

func raiseFunction(_ *machine, a callArgs) (any, error) {
	v, _, err := a.bind("raise_exception", 1, "message")
	if err != nil {
		return nil, err
	}
	return nil, &Raised{str(v[0])}
}

func joinerFunction(_ *machine, a callArgs) (any, error) {
	v, given, err := a.bind("joiner", 0, "sep")
	if err != nil {
		return nil, err
	}
	if !given[0] {
		v[0] = ", "
	}
	used := false
	return &function{"joiner", func(*machine, callArgs) (any, error) {
		if used {
			return v[0], nil
		}
		used = true
		return "", nil
	}}, nil
}

func strftimeFunction(m *machine, a callArgs) (any, error) {
	v, _, err := a.bind("strftime_now", 1, "format")
	if err != nil {
		return nil, err
	}
	format, err := textArg("strftime_now", v[0])
	if err != nil {
		return nil, err
	}
	return strftime(m.now, format)
}

// layouts are C's conversions that Go's layouts have.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'e': "_2", 'D': "01/02/06", 'F': "2006-01-02",
	'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006",
}

// strftime is C's, in its own locale.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := i < len(format) && format[i] == '-' // glibc: without zeros in front
		if bare {
			i++
		}
		if i == len(format) {
			return "", errors.New("strftime_now: the format ends in %")
		}
		var part string
		switch c := format[i]; {
		case c == '%' && !bare:
			part = "%"
		case c == 'j':
			part = fmt.Sprintf("%03d", t.YearDay())
		case c == 'f' && !bare:
			part = fmt.Sprintf("%06d", t.Nanosecond()/1000)
		case c == 'w':
			part = strconv.Itoa(int(t.Weekday()))
		case c == 'u':
			part = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case (c == 'z' || c == 'Z') && !bare: // empty, as Python has it for a time without a zone
		case layouts[c] != "":
			part = t.Format(layouts[c])
		default:
			return "", fmt.Errorf("strftime_now: %%%c is not supported", c)
		}
		if bare {
			if part = strings.TrimLeft(part, "0 "); part == "" {
				part = "0"
			}
		}
		b.WriteString(part)
	}
	return b.String(), nil
}
