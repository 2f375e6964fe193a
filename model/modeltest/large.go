package modeltest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/safetensors"
)

// WriteLarge is Write for models larger than memory: no tensor is held, and values come from a table of 65,536, uniform in an interval,
// which makes gigabytes in seconds. The same Spec gives the same bytes.
func (s Spec) WriteLarge(t testing.TB, dir string) {
	t.Helper()
	raw := s.Config(t)
	c, err := arch.ParseConfig("config.json", raw)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	shapes := c.TopTensors()
	for l := range c.Layers {
		shapes = append(shapes, c.LayerTensors(l)...)
	}
	var entries []safetensors.Entry
	for _, sh := range shapes {
		entries = append(entries, safetensors.Entry{Name: sh.Name, DType: s.DType.String(), Shape: sh.Shape})
	}
	w, err := safetensors.CreateSharded(dir, entries, s.ShardBytes)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(s.Hidden), uint64(s.Layers)))
	size := s.DType.Size()
	levels, table, piece := make([]float32, 1<<16), make([]byte, size<<16), make([]byte, 1<<20)
	for _, sh := range shapes {
		n, scale, mean := size, 0.3, 0.0
		for _, d := range sh.Shape {
			n *= d
		}
		if len(sh.Shape) == 2 {
			scale = 1 / math.Sqrt(float64(sh.Shape[1]))
		}
		if strings.Contains(sh.Name, "norm") {
			mean = 1
		}
		for i := range levels { // a standard deviation of scale
			levels[i] = float32(mean + scale*math.Sqrt(3)*(float64(i)/(1<<15)-1))
		}
		s.DType.Encode(table, levels)
		out, err := w.Tensor(sh.Name)
		for ; n > 0 && err == nil; n -= len(piece) {
			fill(piece, table, size, rng)
			_, err = out.Write(piece[:min(n, len(piece))])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// fill takes entries of a table, of 2 or 4 bytes each, at random.
func fill(piece, table []byte, size int, rng *rand.Rand) {
	for at := 0; at < len(piece); at += 4 * size {
		for word, i := rng.Uint64(), 0; i < 4; word, i = word>>16, i+1 {
			if k := int(word & 0xffff); size == 2 {
				binary.LittleEndian.PutUint16(piece[at+2*i:], binary.LittleEndian.Uint16(table[2*k:]))
			} else {
				binary.LittleEndian.PutUint32(piece[at+4*i:], binary.LittleEndian.Uint32(table[4*k:]))
			}
		}
	}
}
