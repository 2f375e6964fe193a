package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	if ids, err := ReadTokens(write("ids.json", "[1, 2, 3]")); err != nil || len(ids) != 3 {
		t.Errorf("ReadTokens = %v, %v", ids, err)
	}
	for _, bad := range []string{"[-1]", "{}", "[1.5]", "[99999999999]", ""} {
		if _, err := ReadTokens(write("bad.json", bad)); err == nil || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func ExampleCut() {
	windows, err := Cut([]uint32{1, 2, 3, 4, 5}, 2)
	fmt.Println(windows, err)
	// Output: [[1 2] [3 4]] <nil>
}
