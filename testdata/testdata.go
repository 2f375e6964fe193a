// Package testdata embeds the model that vkcome demonstrates and tests itself with: a 12-layer Llama of 2.9 M parameters, trained
// for this project.
package testdata

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

//go:embed tiny12
var files embed.FS

// DemoText is a short story, written for this project, that the demonstration calibrates and evaluates on.
//
//go:embed demo.txt
var DemoText string

// Tiny12 gives the model's Hugging Face folder, its weights decompressed.
func Tiny12() (fs.FS, error) {
	out := fstest.MapFS{}
	entries, err := files.ReadDir("tiny12")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		raw, err := files.ReadFile("tiny12/" + e.Name())
		if err != nil {
			return nil, err
		}
		name := e.Name()
		if name == "model.safetensors.zst" {
			d, err := zstd.NewReader(bytes.NewReader(raw))
			if err != nil {
				return nil, err
			}
			raw, err = io.ReadAll(d)
			d.Close()
			if err != nil {
				return nil, fmt.Errorf("testdata: %s: %w", name, err)
			}
			name = "model.safetensors"
		}
		out[name] = &fstest.MapFile{Data: raw, Mode: 0o444}
	}
	return out, nil
}
