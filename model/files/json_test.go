package files_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/files"
)

// TestJSON: an error says what stands where and what was expected, and names no type of Go.
func TestJSON(t *testing.T) {
	type inner struct {
		N uint8            `json:"n"`
		L []float32        `json:"l"`
		M map[string]int64 `json:"m"`
		B *bool            `json:"b"`
		S string           `json:"s"`
		F float64          `json:"f"`
	}
	type outer struct {
		Inner inner   `json:"inner"`
		Tuple [2]bool `json:"tuple"`
	}
	for raw, want := range map[string]string{
		`{"inner":{"n":300}}`:       "inner.n (byte 17): 300, expected a whole number from 0 to 255",
		`{"inner":{"n":"x"}}`:       "inner.n (byte 17): a text, expected a whole number from 0 to 255",
		`{"inner":{"n":-1}}`:        "inner.n (byte 16): -1, expected a whole number from 0 to 255",
		`{"inner":{"l":{}}}`:        ": an object, expected a list",
		`{"inner":{"l":[1,1e99]}}`:  ": 1e99, expected a number that fits 32 bits",
		`{"inner":{"m":{"k":1.5}}}`: ": 1.5, expected a whole number from -9223372036854775808 to 9223372036854775807",
		`{"inner":{"b":[]}}`:        ": a list, expected true or false",
		`{"inner":{"s":true}}`:      ": true or false, expected a text",
		`{"inner":{"f":"1"}}`:       ": a text, expected a number",
		`{"tuple":7}`:               "tuple (byte 10): a number, expected a list",
		`[]`:                        "byte 1: a list, expected an object",
		`{"inner":`:                 "byte 9: unexpected end",
		`{"inner":x}`:               "byte 10: invalid character 'x' looking for beginning of value",
		``:                          "byte 0: unexpected end",
	} {
		err := files.JSON([]byte(raw), &outer{})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", raw, err, want)
		}
		for _, word := range []string{"Go ", "json:", "unmarshal", "uint", "[]", "struct", "outer", "\n"} {
			if err != nil && strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v has %q", raw, err, word)
			}
		}
	}
	if err := files.JSON([]byte(`{"inner":{"n":3}}`), &outer{}); err != nil {
		t.Error(err)
	}
	d := json.NewDecoder(strings.NewReader(`{"` + strings.Repeat("x", 10_000) + `":1}`))
	d.DisallowUnknownFields()
	if err := files.Plain(d.Decode(&outer{})); err == nil || !strings.HasPrefix(err.Error(), `unknown key "xxx`) || len(err.Error()) > 120 {
		t.Errorf("%.200v", err)
	}
	own := errors.New("own")
	if err := files.Plain(own); err != own {
		t.Error(err)
	}
	wrong := (*json.UnmarshalTypeError)(nil)
	if err := files.JSON([]byte(`[]`), &outer{}); !errors.As(err, &wrong) {
		t.Errorf("%v does not wrap", err)
	}
}
