package model_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/model/modeltest"
)

// TestTruncated cuts files of weights short, in each format: an error that tells so from others, whatever is cut off.
func TestTruncated(t *testing.T) {
	spec, err := modeltest.Named("llama")
	if err != nil {
		t.Fatal(err)
	}
	m, folder := spec.Open(t)
	file := filepath.Join(t.TempDir(), "model.gguf")
	if _, err := convert.To(t.Context(), m, file, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	torch := t.TempDir()
	for _, name := range []string{"config.json", "pytorch_model.bin"} {
		raw, err := os.ReadFile(filepath.Join("torchfile/testdata/model", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(torch, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ format, folder, file string }{
		{"safetensors", folder, "model.safetensors"},
		{"gguf", filepath.Dir(file), "model.gguf"},
		{"torch", torch, "pytorch_model.bin"},
	} {
		t.Run(c.format, func(t *testing.T) {
			whole, err := os.ReadFile(filepath.Join(c.folder, c.file))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{20, 100, len(whole) / 4, len(whole) / 2, len(whole) - 1} {
				dir := filepath.Join(t.TempDir(), "cut")
				if err := os.CopyFS(dir, os.DirFS(c.folder)); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(filepath.Join(dir, c.file), int64(n)); err != nil {
					t.Fatal(err)
				}
				if m, err := model.Open(dir); err == nil {
					m.Close()
					t.Errorf("%d of %d bytes: opened", n, len(whole))
				} else if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d of %d bytes: %v: does not match io.ErrUnexpectedEOF", n, len(whole), err)
				}
			}
		})
	}
}
