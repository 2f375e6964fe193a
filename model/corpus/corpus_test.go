package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/files/filestest"
)

func TestCut(t *testing.T) {
	tokens := make([]uint32, 10)
	for i := range tokens {
		tokens[i] = uint32(i)
	}
	windows, err := Cut(tokens, 4)
	if err != nil || fmt.Sprint(windows) != "[[0 1 2 3] [4 5 6 7]]" {
		t.Errorf("Cut = %v, %v", windows, err)
	}
	if windows, err = Cut(tokens, 5); err != nil || len(windows) != 2 {
		t.Errorf("Cut = %v, %v", windows, err)
	}
	for _, c := range []struct {
		tokens []uint32
		window int
		want   string
	}{{nil, 4, "empty"}, {tokens[:3], 4, "3 tokens"}, {tokens, 1, "window of 1"}} {
		if _, err := Cut(c.tokens, c.window); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Cut(%d tokens, %d): %v, want %q", len(c.tokens), c.window, err, c.want)
		}
	}
}

func TestSample(t *testing.T) {
	var windows [][]uint32
	for i := range 100 {
		windows = append(windows, []uint32{uint32(i)})
	}
	a, b, c := Sample(windows, 10, 1), Sample(windows, 10, 1), Sample(windows, 10, 2)
	if Hash(a) != Hash(b) || Hash(a) == Hash(c) || len(a) != 10 {
		t.Errorf("seed 1: %v and %v, seed 2: %v", a, b, c)
	}
	for i := range a[1:] {
		if a[i][0] >= a[i+1][0] {
			t.Errorf("not in order: %v", a)
		}
	}
	if len(Sample(windows, 0, 1)) != 100 || len(Sample(windows, 101, 1)) != 100 {
		t.Error("0 and more than all must keep all")
	}
}

func TestReadTokens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if ids, err := ReadTokens(t.Context(), write("ids.json", "[1, 2, 3]"), 0); err != nil || len(ids) != 3 {
		t.Errorf("ReadTokens = %v, %v", ids, err)
	}
	for text, want := range map[string]string{
		"[]": "[]", " [ ] \n": "[]", "[0]": "[0]", "[7,8 , 9\n]": "[7 8 9]", "\t[1,\r\n2]\n\n": "[1 2]", "[4294967295]": "[4294967295]",
	} {
		if ids, err := ReadTokens(t.Context(), write("ids.json", text), 0); err != nil || fmt.Sprint(ids) != want {
			t.Errorf("%q: %v, %v", text, ids, err)
		}
	}
	for _, c := range []struct {
		text  string
		vocab int
		want  string
	}{
		{"[1,2,99999]", 100, `index 2: token 99999, expected one from 0 to 99`},
		{"[1,2,3,null]", 0, `index 3: "null", expected a token: a whole number from 0 to 4294967295`},
		{"[100]", 100, "index 0: "},
		{"[-1]", 0, "index 0: "},
		{"{}", 0, "expected a list of token ids in JSON"},
		{"null", 0, "expected a list of token ids in JSON"},
		{"[1.5]", 0, `index 0: "1.5"`},
		{"[1e0]", 0, `index 0: "1e0"`},
		{"[01]", 0, `index 0: "01"`},
		{"[4294967296]", 0, "index 0: "},
		{"[18446744073709551617]", 0, "index 0: "},
		{"[" + strings.Repeat("9", 5000) + "]", 0, "index 0: "},
		{`[1,"2"]`, 0, "index 1: "},
		{"[1,true]", 0, "index 1: "},
		{"[1,[2]]", 0, "index 1: "},
		{"[1,{}]", 0, "index 1: "},
		{"[1,]", 0, "index 1: nothing, expected a token id"},
		{"[,1]", 0, "index 0: "},
		{"[1 2]", 0, "index 0: "},
		{"[1\u00a02]", 0, "index 0: "},
		{"[1", 0, "index 0: the list of tokens has no end: unexpected EOF"},
		{"[1,", 0, "index 1: the list of tokens has no end: unexpected EOF"},
		{"[", 0, "index 0: the list of tokens has no end: unexpected EOF"},
		{"[1] 2", 0, "there is more behind the list"},
		{"[1][2]", 0, "there is more behind the list"},
		{"\ufeff[1]", 0, "expected a list of token ids in JSON"},
		{"", 0, "expected a list of token ids in JSON"},
	} {
		path := write("bad.json", c.text)
		_, err := ReadTokens(t.Context(), path, c.vocab)
		if err == nil || !strings.HasPrefix(err.Error(), path+": "+c.want) || len(err.Error()) > len(path)+150 || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.want)
		}
	}
	// Numbers of every kind beside a reader of whole numbers that is known.
	rnd := rand.New(rand.NewPCG(12, 0))
	for range 2000 {
		var b strings.Builder
		for range 1 + rnd.IntN(6) {
			b.WriteString([]string{"0", "1", "9", "00", "42949", "67295", "-", ".", "e", "null", `"1"`, " ", ",", "[", "]", "\n"}[rnd.IntN(16)])
		}
		text := "[" + b.String() + "]"
		var want []*uint32
		ok := json.Unmarshal([]byte(text), &want) == nil && !slices.Contains(want, nil)
		ids, err := ReadTokens(t.Context(), write("any.json", text), 0)
		if ok != (err == nil) || ok && len(ids) != len(want) {
			t.Fatalf("%q: %v, %v", text, ids, err)
		}
		for i := range ids {
			if ids[i] != *want[i] {
				t.Fatalf("%q: %v", text, ids)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadTokens(ctx, write("ids.json", "[1]"), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, path := range []string{filestest.Pipe(t, filepath.Join(dir, "pipe")), filestest.Device, dir} {
		if _, err := ReadTokens(t.Context(), path, 0); !errors.Is(err, fs.ErrInvalid) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := Load(t.Context(), tiny12(t), Options{Sources: []string{path}}); err == nil {
			t.Errorf("%s is read", path)
		}
	}
}

func ExampleCut() {
	windows, err := Cut([]uint32{1, 2, 3, 4, 5}, 2)
	fmt.Println(windows, err)
	// Output: [[1 2] [3 4]] <nil>
}

// must gives what cannot fail here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
