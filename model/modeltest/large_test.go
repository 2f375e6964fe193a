package modeltest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
)

func TestWriteLarge(t *testing.T) {
	for _, d := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16} {
		spec := modeltest.Spec{Hidden: 64, Intermediate: 200, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 1001, Context: 32, DType: d, ShardBytes: 200_000}
		dirs := [2]string{t.TempDir(), t.TempDir()}
		for _, dir := range dirs {
			spec.WriteLarge(t, dir)
		}
		files, err := filepath.Glob(filepath.Join(dirs[0], "*.safetensors"))
		if err != nil || len(files) < 2 {
			t.Fatalf("shards %v, %v", files, err)
		}
		for _, file := range files {
			a, errA := os.ReadFile(file)
			b, errB := os.ReadFile(filepath.Join(dirs[1], filepath.Base(file)))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%v: %s differs from itself: %v, %v", d, filepath.Base(file), errA, errB)
			}
		}
		m, err := model.Open(dirs[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range map[string]model.Weight{"norm": m.Top[arch.FinalNorm], "up": m.Layers[1].Weights[arch.Up]} {
			values := modeltest.Floats(t, w)
			mean, square := 0.0, 0.0
			for _, v := range values {
				mean += float64(v) / float64(len(values))
				square += float64(v) * float64(v) / float64(len(values))
			}
			variance := square - mean*mean
			if want := map[string][2]float64{"norm": {1, 0.09}, "up": {0, 1.0 / 64}}[name]; mean < want[0]-0.2 || mean > want[0]+0.2 || variance < 0.6*want[1] || variance > 1.5*want[1] {
				t.Errorf("%v: %s has mean %v and variance %v, expected about %v", d, name, mean, variance, want)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
