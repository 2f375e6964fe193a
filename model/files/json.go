package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// JSON reads a value as json.Unmarshal does. Its errors are of Plain.
func JSON(raw []byte, v any) error { return Plain(json.Unmarshal(raw, v)) }

// Plain says an error of encoding/json in the words of whoever wrote the file: what stands where, and what was expected there, without types of
// Go. Any other error, and none, stays as it is.
func Plain(err error) error {
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return &jsonError{fmt.Sprintf("byte %d: %s", syntax.Offset, strings.TrimSuffix(syntax.Error(), " of JSON input")), err}
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		at := fmt.Sprintf("byte %d", wrong.Offset)
		if wrong.Field != "" {
			at = clip(wrong.Field) + " (" + at + ")"
		}
		return &jsonError{fmt.Sprintf("%s: %s, expected %s", at, found(wrong.Value), expected(wrong.Type)), err}
	}
	if err != nil && strings.HasPrefix(err.Error(), "json: unknown field ") {
		return &jsonError{"unknown key " + clip(strings.TrimPrefix(err.Error(), "json: unknown field ")), err}
	}
	return err
}

// jsonError is an error of encoding/json in other words.
type jsonError struct {
	text string
	err  error
}

func (e *jsonError) Error() string { return e.text }
func (e *jsonError) Unwrap() error { return e.err }

const maxName = 80 // bytes of a stranger's name in a message

func clip(name string) string {
	if len(name) > maxName {
		return strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	return name
}

// found is what json calls a value, and for some numbers the number itself.
func found(value string) string {
	kind, number, _ := strings.Cut(value, " ")
	switch {
	case number != "":
		return clip(number)
	case kind == "string":
		return "a text"
	case kind == "bool":
		return "true or false"
	case kind == "array":
		return "a list"
	case kind == "object":
		return "an object"
	}
	return "a " + kind
}

// expected is what JSON writes for a type.
func expected(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		least := int64(-1) << (t.Bits() - 1)
		return fmt.Sprintf("a whole number from %d to %d", least, -(least + 1))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", ^uint64(0)>>(64-t.Bits()))
	case reflect.Float32:
		return "a number that fits 32 bits"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}
