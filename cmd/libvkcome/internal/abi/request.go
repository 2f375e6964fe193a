package abi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/files"
)

// decode reads a request or options: an object of JSON whose fields are all known, and nothing behind it. "" is {}.
func decode(text string, v any) error {
	if text == "" {
		text = "{}"
	}
	if !utf8.ValidString(text) {
		return fail(Argument, errors.New("the request is not UTF-8"))
	}
	if begin := strings.TrimLeft(text, " \t\r\n"); !strings.HasPrefix(begin, "{") {
		return fail(Argument, errors.New("the request: expected an object of JSON"))
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the JSON ends too soon")
		}
		return fail(Argument, fmt.Errorf("the request: %w", files.Plain(err)))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(Argument, errors.New("the request: something stands behind its object"))
	}
	return nil
}

// name checks a text that is no JSON.
func name(what, text string) error {
	switch {
	case text == "":
		return fail(Argument, fmt.Errorf("%s is empty", what))
	case !utf8.ValidString(text):
		return fail(Argument, fmt.Errorf("%s is not UTF-8", what))
	}
	return nil
}

// optionName finds Go names of options as words of a text, which parts of paths are not.
var optionName = regexp.MustCompile(`(^|[\s("])([a-z]+(?:\.[A-Z][A-Za-z]*)+(?:=true)?)($|[\s)",:;])`)

// fields are the options whose fields in requests are not their names in the manner of JSON.
var fields = map[string]string{
	"method.CoMe.LayersPerMerge":       "merge_item",
	"method.LaCo.LayersPerMerge":       "merge_item",
	"method.CoMe.RatioPower":           "psu",
	"method.CoMe.RatioFloor":           "min_max",
	"method.CoMe.Repeat=true":          "repeat",
	"refit.Options.End":                "refit.end",
	"distill.Options.Budget":           "budget_ns",
	"prune.DistillationOptions.Groups": "map",
	"prune.Options.Replay":             "vkcome prune --plan",
	"prune.Options.Stats":              "vkcome prune --stats",
	"corpus.ReadTokens":                "token_file",
	"corpus.Options.Dir":               "spill_dir",
	"task.Source.Dir":                  "data",
	"op.SelfTest":                      "vkcome devices --self-test",
}

// spell puts fields of requests where a text of the library names options.
func spell(text string) string {
	for {
		changed := optionName.ReplaceAllStringFunc(text, func(match string) string {
			part := optionName.FindStringSubmatch(match)
			field, ok := fields[part[2]]
			if !ok {
				field = snake(part[2][strings.LastIndex(part[2], ".")+1:])
			}
			return part[1] + field + part[3]
		})
		if changed == text { // two names with one space between them take two rounds
			return text
		}
		text = changed
	}
}

// snake is a Go name in the manner of JSON: max_memory, lr.
func snake(name string) string {
	var out strings.Builder
	was := true // an upper-case letter, or the beginning
	for _, r := range name {
		upper := unicode.IsUpper(r)
		if upper && !was {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
		was = upper
	}
	return out.String()
}
