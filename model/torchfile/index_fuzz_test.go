package torchfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/torchfile"
)

// FuzzIndex opens a folder with an index that anybody may have written, beside a good shard.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":12},"weight_map":{"a":"s.bin"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../s.bin"}}`))
	f.Add([]byte(`{"weight_map":{"a":"pytorch_model.bin.index.json","b":""}}`))
	f.Add([]byte(`{"weight_map":{"a":null,"\u001b[31m":"s.bin"}}`))
	shard := read(f, "views.bin")
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{"pytorch_model.bin.index.json": raw, "s.bin": shard} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := torchfile.Open(dir)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
