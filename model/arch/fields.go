package arch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/vkcome/vkcome/model/dtype"
)

// Fields reads values of a config.json by their exact name and keeps the first error.
type Fields struct {
	values map[string]json.RawMessage
	read   map[string]bool // the keys that were asked for: see settle
	err    error
}

const required = 0 // the fallback of a size that must be there

func (f *Fields) has(key string) bool {
	v, ok := f.values[key]
	return ok && string(v) != "null"
}

// get decodes a value, leaving dst as it is when the key is missing or null.
func (f *Fields) get(key string, dst any) {
	if f.read == nil {
		f.read = map[string]bool{}
	}
	f.read[key] = true
	if f.err == nil && f.has(key) {
		if err := json.Unmarshal(f.values[key], dst); err != nil {
			f.fail("%s %s: %w", key, clip(string(f.values[key])), err)
		}
	}
}

func (f *Fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// unsupported is fail for what would be right and is not computed: the error is an ErrUnsupported.
func (f *Fields) unsupported(format string, args ...any) {
	if f.err == nil {
		f.err = Unsupported(format, args...)
	}
}

// clip makes a stranger's text fit for a message: short, of one line, without control characters.
func clip(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}

// size reads an integer of 1 to most.
func (f *Fields) size(key string, most, fallback int) int {
	n := fallback
	f.get(key, &n)
	if n < 1 || n > most {
		if !f.has(key) {
			f.fail("%s is missing", key)
		}
		f.fail("%s %d, expected 1 to %d", key, n, most)
	}
	return n
}

func (f *Fields) number(key string, fallback float64) float64 {
	f.get(key, &fallback)
	return fallback
}

// numbers reads an array of n numbers of more than 0; key is what holds it, for messages.
func (f *Fields) numbers(key, name string, n int) (list []float64) {
	f.get(name, &list)
	if len(list) != n {
		f.fail("%s: %s has %d numbers, expected %d", key, name, len(list), n)
	}
	for i, v := range list {
		if !(v > 0 && v <= 1e9) {
			f.fail("%s: %s: number %d is %v, expected more than 0", key, name, i, v)
		}
	}
	return list
}

func (f *Fields) text(key, fallback string) string {
	f.get(key, &fallback)
	return fallback
}

func (f *Fields) flag(key string, fallback bool) bool {
	f.get(key, &fallback)
	return fallback
}

// ids reads a token id or an array of them. A negative one stands for none.
func (f *Fields) ids(key string) []int {
	if !f.has(key) {
		return nil
	}
	var many []int
	if f.values[key][0] == '[' {
		f.get(key, &many)
	} else {
		many = []int{0}
		f.get(key, &many[0])
	}
	return slices.DeleteFunc(many, func(id int) bool { return id < 0 })
}

func (f *Fields) dtype(c *Config) {
	name := strings.TrimPrefix(f.text("dtype", f.text("torch_dtype", "float32")), "torch.")
	switch name {
	case "float32", "auto": // what the weights have counts: see model.New
		c.DType = dtype.F32
	case "float16":
		c.DType = dtype.F16
	case "bfloat16":
		c.DType = dtype.BF16
	default:
		f.unsupported("torch_dtype %q, supported are float32, float16, bfloat16", name)
	}
}
