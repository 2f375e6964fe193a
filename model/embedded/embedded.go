// Package embedded holds the model that vkcome demonstrates and tests itself with: a 12-layer Llama of 2.9 M parameters, trained for this
// project. It is a package of its own so that a program that embeds vkcome does not carry its 4.5 MB.
package embedded

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/safetensors"
)

// Name stands for the model where a folder is asked for.
const Name = "embedded:tiny12"

//go:embed tiny12
var files embed.FS

// Text is a short story, written for this project, that the demonstration calibrates and evaluates on.
//
//go:embed demo.txt
var Text string

const weightsFile = "model.safetensors"

// Files is the model's Hugging Face folder, its weights decompressed.
func Files() (fs.FS, error) {
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
		if name == weightsFile+".zst" {
			d, err := zstd.NewReader(bytes.NewReader(raw))
			if err != nil {
				return nil, err
			}
			raw, err = io.ReadAll(d)
			d.Close()
			if err != nil {
				return nil, fmt.Errorf("embedded: %s: %w", name, err)
			}
			name = weightsFile
		}
		out[name] = &fstest.MapFile{Data: raw, Mode: 0o444}
	}
	return out, nil
}

// Open opens the model.
func Open() (*model.Model, error) {
	files, err := Files()
	if err != nil {
		return nil, err
	}
	raw, err := fs.ReadFile(files, arch.ConfigFile)
	if err != nil {
		return nil, err
	}
	config, err := arch.ParseConfig(Name+"/"+arch.ConfigFile, raw)
	if err != nil {
		return nil, err
	}
	if raw, err = fs.ReadFile(files, weightsFile); err != nil {
		return nil, err
	}
	weights, err := safetensors.OpenBytes(Name, raw)
	if err != nil {
		return nil, err
	}
	return model.New(Name, config, model.Safetensors{Checkpoint: weights}, files)
}
