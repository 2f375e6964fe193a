package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
)

// Every architecture is written as asked, twice the same, with a tokenizer that reads back what it wrote.
func TestRun(t *testing.T) {
	for _, name := range modeltest.Names() {
		var files [2][]byte
		for i := range files {
			dir := filepath.Join(t.TempDir(), "out")
			if err := run([]string{"-arch", name, "-dtype", "bf16", "-heads", "4", "-kv-heads", "2", "-head-dim", "8", "-vocab", "303", "-tied", "false", "-seed", "5", dir}); err != nil {
				t.Fatal(err)
			}
			m, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			c := m.Config
			if kv := map[bool]int{true: 4, false: 2}[name == "opt"]; c.Heads != 4 || c.KVHeads != kv || c.HeadDim != 8 || c.VocabSize != 303 || c.TieWordEmbeddings || m.Top[arch.Embed].DType != c.DType {
				t.Errorf("%s: %+v", name, c)
			}
			tok, err := m.Tokenizer()
			if err != nil {
				t.Fatal(err)
			}
			const text = "Größe: 3 µm\n"
			ids, err := tok.Encode(text)
			if got := tok.Decode(ids); err != nil || got != text {
				t.Errorf("%s: %q reads back as %q", name, text, got)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			if files[i], err = os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("%s: other weights the second time", name)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"-arch mamba x", `no architecture "mamba"`}, {"-dtype int8 x", `dtype "int8"`}, {"", "expected a folder"}, {"-tied maybe x", `-tied "maybe"`},
	} {
		if err := run(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}
