package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzTokens holds the reading of token ids against encoding/json, which takes null and numbers like 1.0 that are none.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"[]", "[1,2,3]", "[1,2,99999]", "[1,2,3,null]", " [ 4294967295 ]\n", "[4294967296]", "[1.0]", "[1e3]", "[01]", "[-0]", "[1,]", "[1", "[[1]]", "{}", "", "[1]x", "[18446744073709551617]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tokens, err := readTokens(bufio.NewReader(bytes.NewReader(raw)), 1<<32-1)
		var want []uint32
		wrong := json.Unmarshal(raw, &want)
		if err == nil && (wrong != nil || !slices.Equal(tokens, want)) {
			t.Errorf("%q: %v, json gives %v, %v", raw, tokens, want, wrong)
		}
		if err != nil && wrong == nil && !strings.Contains(string(raw), "null") && !strings.Contains(string(raw), "-0") {
			t.Errorf("%q: %v, json gives %v", raw, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 300) {
			t.Errorf("%q", err)
		}
	})
}
