package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzIndex opens a folder with an index that anybody may have written, beside a good shard.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":12},"weight_map":{"a":"s.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../s.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"model.safetensors.index.json","b":""}}`))
	f.Add([]byte(`{"weight_map":{"a":null,"\u001b[31m":"s.safetensors"}}`))
	shard := file(`{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}}`, 12)
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{IndexFile: raw, "s.safetensors": shard} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(dir)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, name := range c.Names() {
			if _, ok := c.Lookup(name); !ok || name != "a" {
				t.Errorf("%s has a tensor %q", raw, name)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
