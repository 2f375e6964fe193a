package run_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A program that embeds vkcome lives on when the file of a model is cut short under it, before a run or between two whose weights stream: it
// gets one error that names the file, and runs other models as if nothing had been.
func TestTruncatedModel(t *testing.T) {
	spec := modeltest.Spec{Hidden: 64, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 101, Context: 64}
	windows := modeltest.Windows(101, 2, 24)
	d := vktest.Open(t, vk.Options{})
	forward := func(m *model.Model, between func()) error {
		f, err := run.New(d, m, windows)
		if err != nil {
			return err
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		if between != nil {
			if err := f.Run(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
			between()
		}
		if err := f.Run(t.Context(), m, nil); err != nil {
			return err
		}
		_, err = f.Loss(t.Context(), m)
		return err
	}
	for _, late := range []bool{false, true} {
		for _, part := range []int64{0, 1, 2} {
			m, dir := spec.Open(t)
			path := filepath.Join(dir, "model.safetensors")
			cut := func() {
				if err := os.Truncate(path, part*m.Bytes()/3); err != nil {
					t.Fatal(err)
				}
			}
			var between func()
			if between = cut; !late {
				cut()
				between = nil
			}
			err := forward(m, between)
			if !errors.Is(err, files.ErrChanged) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("cut to %d thirds, late %v: %v, expected one line that says that %s changed", part, late, err, path)
			}
		}
	}
	m, _ := spec.Open(t)
	if err := forward(m, nil); err != nil {
		t.Errorf("another model: %v", err)
	}
}
