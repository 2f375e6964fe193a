// Package modeltest makes small random models of every supported architecture, for tests and by ./gen.
package modeltest

import (
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/model"
)

// Config is the model's config.json.
func (s Spec) Config(t testing.TB) []byte {
	t.Helper()
	raw, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Write is WriteTo for tests.
func (s Spec) Write(t testing.TB, dir string) {
	t.Helper()
	if err := s.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
}

// Open writes the model into a temporary folder and opens it.
func (s Spec) Open(t testing.TB) (*model.Model, string) {
	t.Helper()
	dir := t.TempDir()
	s.Write(t, dir)
	return Open(t, dir), dir
}

// Open opens a model, whatever holds it, until the test ends.
func Open(t testing.TB, path string) *model.Model {
	t.Helper()
	m, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Windows makes n windows of random tokens.
func Windows(vocab, n, window int) [][]uint32 {
	rng := rand.New(rand.NewPCG(uint64(vocab), uint64(n)))
	out := make([][]uint32, n)
	for i := range out {
		for range window {
			out[i] = append(out[i], uint32(rng.IntN(vocab)))
		}
	}
	return out
}

// Bytes is the data of a weight, or of a tensor of a file.
func Bytes(t testing.TB, x interface{ Bytes() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Floats is the values of a weight.
func Floats(t testing.TB, w model.Weight) []float32 {
	t.Helper()
	values, err := w.Floats()
	if err != nil {
		t.Fatal(err)
	}
	return values
}
