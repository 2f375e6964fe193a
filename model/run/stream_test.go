package run_test

import (
	"errors"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// BenchmarkStreaming runs a corpus through a model whose weights do not fit on the device and tells how much of their uploads hides
// behind the computation: overlap-% of the time that uploads take is not waited for. With staging, uploads go through copies on a
// queue, as on discrete GPUs; without, they are copies in memory, which on a CPU driver take cores from the computation. "single" has
// room for one layer: nothing can overlap there.
func BenchmarkStreaming(b *testing.B) {
	spec := modeltest.Spec{Hidden: 512, Intermediate: 1408, Layers: 8, Heads: 8, KVHeads: 8, HeadDim: 64, Vocab: 256, Context: 256, DType: dtype.F32}
	m, _ := spec.Open(b)
	layer := m.Layers[0].Bytes()
	for _, c := range []struct {
		name    string
		limit   int64
		staging bool
		windows int
	}{
		{"kept", 0, false, 2}, {"streamed", 4 * layer, false, 2}, {"streamed/staging", 4 * layer, true, 2}, {"single", 9 * layer / 4, false, 2},
		{"streamed/few", 4 * layer, false, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := vktest.Open(b, vk.Options{MaxMemory: c.limit, Staging: c.staging})
			f, err := run.NewWith(d, m, modeltest.Windows(256, c.windows, 128), run.Options{KeepWeights: c.limit == 0})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := f.Close(); err != nil {
					b.Error(err)
				}
			}()
			if err := f.Run(b.Context(), m, nil); err != nil { // compiles, and checks the weights
				b.Fatal(err)
			}
			before := f.Stats()
			b.ResetTimer()
			for b.Loop() {
				if err := f.Run(b.Context(), m, nil); err != nil {
					b.Fatal(err)
				}
			}
			s, n := f.Stats(), float64(b.N)
			uploading, waited := s.Uploading-before.Uploading, s.Waited-before.Waited
			b.ReportMetric(float64(s.Uploaded-before.Uploaded)/n/1e6, "upload-MB/op")
			b.ReportMetric(float64(uploading)/float64(time.Millisecond)/n, "upload-ms/op")
			b.ReportMetric(float64(waited)/float64(time.Millisecond)/n, "wait-ms/op")
			if uploading > 0 {
				b.ReportMetric(100*(1-float64(waited)/float64(uploading)), "overlap-%")
			}
		})
	}
}

// BenchmarkFiniteCheck tells what part of a layer's time it takes to look for NaNs in queries, keys and states, with the batches that
// scoring takes on a CPU.
func BenchmarkFiniteCheck(b *testing.B) {
	m, err := embedded.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	d := vktest.Open(b, vk.Options{})
	f, err := run.NewWith(d, m, modeltest.Windows(2048, 16, 128), run.Options{BatchTokens: 256, KeepWeights: true})
	if err != nil {
		b.Fatal(err)
	}
	counts, err := d.NewBuffer("counts", 4, vk.OnDevice)
	defer func() {
		d.Free(counts)
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	}()
	c, slot := m.Config, op.Of(counts.All(), dtype.F32, 1, 1)
	check := func(s run.Step) error {
		for _, cols := range []int{(c.Heads + 2*c.KVHeads) * c.HeadDim, c.HiddenSize} { // of as many values
			op.NonFinite(f.Recorder(), slot, 0, op.Of(s.MLP.View, dtype.F32, s.MLP.Rows, cols))
		}
		return nil
	}
	if err := errors.Join(err, f.Embed(b.Context(), m)); err != nil {
		b.Fatal(err)
	}
	once, twice := time.Hour, time.Hour // the shortest: what else runs on the machine only adds
	for b.Loop() {
		begin := time.Now()
		if err := f.Layer(b.Context(), m, 0, nil); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		if err := f.Layer(b.Context(), m, 0, check); err != nil {
			b.Fatal(err)
		}
		once, twice = min(once, between.Sub(begin)), min(twice, time.Since(between))
	}
	b.ReportMetric(100*float64(twice-once)/float64(once), "check-%")
}
