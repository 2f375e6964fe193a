package corpus

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadTokens cuts a list of 100 ids by all that says how.
func TestLoadTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.json")
	if err := os.WriteFile(path, []byte("[1"+strings.Repeat(",2", 99)+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o               Options
		windows, window int
	}{
		{Options{}, 1, 100},
		{Options{Context: 30}, 3, 30},
		{Options{Window: 10}, 10, 10},
		{Options{Window: 10, Tokens: 45}, 4, 10},
		{Options{Window: 10, Tokens: 45, Windows: 7}, 7, 10},
		{Options{Window: 10, Tokens: 5}, 1, 10},
	} {
		got, err := LoadTokens(context.Background(), path, 3, c.o)
		if err != nil || len(got.Windows) != c.windows || len(got.Windows[0]) != c.window || got.Source != "ids.json" || got.Tokens != 100 {
			t.Errorf("%+v: %+v, %v", c.o, got, err)
		}
	}
	if _, err := LoadTokens(context.Background(), path, 3, Options{Window: 200}); err == nil || !strings.Contains(err.Error(), "ids.json: the corpus has 100 tokens") {
		t.Errorf("too short: %v", err)
	}
}
