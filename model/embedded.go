package model

import (
	"io/fs"

	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/testdata"
)

// Embedded names the model inside the binary where a folder is asked for.
const Embedded = "embedded:tiny12"

// OpenEmbedded opens the 12-layer Llama inside the binary.
func OpenEmbedded() (*Model, error) {
	files, err := testdata.Tiny12()
	if err != nil {
		return nil, err
	}
	raw, err := fs.ReadFile(files, configFile)
	if err != nil {
		return nil, err
	}
	config, err := ParseConfig(Embedded+"/"+configFile, raw)
	if err != nil {
		return nil, err
	}
	if raw, err = fs.ReadFile(files, "model.safetensors"); err != nil {
		return nil, err
	}
	weights, err := safetensors.OpenBytes(Embedded, raw)
	if err != nil {
		return nil, err
	}
	return New(Embedded, config, weights, files)
}
