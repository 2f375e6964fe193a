package score

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/safetensors"
)

// someStats are figures of a model of two layers on two windows of three tokens.
func someStats() *Stats {
	floats := func(n int, scale float64) []byte {
		raw := []byte{}
		for i := range n {
			raw, _ = binary.Append(raw, binary.LittleEndian, float32(scale*float64(i%7)/7))
		}
		return raw
	}
	windows := [][]uint32{{1, 2, 3}, {4, 5, 6}}
	s := &Stats{Model: strings.Repeat("ab", 32), Corpus: corpus.Hash(windows), Total: 2, Windows: windows, Computed: []string{"a device"}, Seed: 7, Source: "text"}
	for range 2 {
		s.influence, s.activities = append(s.influence, floats(6, 1)), append(s.activities, [2][]byte{floats(8, 5), floats(10, 9)})
	}
	for range 3 {
		s.last = append(s.last, floats(4, -2))
	}
	return s
}

func saved(t testing.TB, s *Stats) (path string, raw []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "stats")
	if err := s.Save(path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, raw
}

// TestStatsFlips changes every bit of a file of stats: it is refused, or says the same.
func TestStatsFlips(t *testing.T) {
	path, raw := saved(t, someStats())
	want, err := OpenStats(path)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for bit := range 8 * len(raw) {
		bad := bytes.Clone(raw)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := OpenStats(path)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
				t.Fatalf("bit %d: %v", bit, err)
			}
			continue
		}
		if same++; !reflect.DeepEqual(got, want) {
			t.Fatalf("bit %d of %d, byte %q: other figures", bit, 8*len(raw), raw[bit/8])
		}
	}
	t.Logf("%d of %d flips say the same", same, 8*len(raw))
	for n := range raw {
		if err := os.WriteFile(path, raw[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStats(path); err == nil {
			t.Fatalf("read after %d bytes of %d", n, len(raw))
		}
	}
}

// TestStatsRange forges figures that no run gives, with the sum that belongs to them.
func TestStatsRange(t *testing.T) {
	for what, change := range map[string]func(s *Stats){
		"NaN":       func(s *Stats) { copy(s.last[1], "\xff\xff\xff\xff") },
		"infinite":  func(s *Stats) { copy(s.activities[0][1], "\x00\x00\x80\x7f") },
		"negative":  func(s *Stats) { copy(s.activities[1][0], "\x00\x00\x80\xbf") },
		"influence": func(s *Stats) { copy(s.influence[1], "\x00\x00\x00\x40") },
		"layers":    func(s *Stats) { s.last = s.last[:2] },
		"corpus":    func(s *Stats) { s.Windows[0][0]++ },
		"begin":     func(s *Stats) { s.Begin = 1 },
		"total":     func(s *Stats) { s.Total = -2 },
	} {
		s := someStats()
		change(s)
		path, _ := saved(t, s)
		if _, err := OpenStats(path); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestStatsForce has somebody's files in the place of stats, and what is no file.
func TestStatsForce(t *testing.T) {
	force := SaveOptions{Force: true}
	path, raw := saved(t, someStats())
	if err := someStats().Save(path, SaveOptions{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Error(err)
	}
	if err := someStats().Save(path, force); err != nil {
		t.Error(err)
	}
	before := bytes.Replace(bytes.Clone(raw), []byte(statsFormat), []byte(statsBefore), 1)
	if err := os.WriteFile(path, before, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStats(path); err == nil || !strings.Contains(err.Error(), "compute the figures anew, with vkcome stats") {
		t.Errorf("of an earlier vkcome: %v", err)
	}
	if err := someStats().Save(path, force); err != nil {
		t.Errorf("over that of an earlier vkcome: %v", err)
	}
	flipped := bytes.Clone(raw)
	flipped[len(raw)-1] ^= 1
	for _, mine := range [][]byte{[]byte("a letter"), {}, flipped} {
		if err := os.WriteFile(path, mine, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := someStats().Save(path, force); err == nil || !strings.Contains(err.Error(), "will not be replaced") {
			t.Errorf("%.20q: %v", mine, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, mine) {
			t.Errorf("%.20q became %.20q, %v", mine, now, err)
		}
	}
	dir := t.TempDir()
	link, pipe, sparse := filepath.Join(dir, "link"), filestest.Pipe(t, filepath.Join(dir, "pipe")), filepath.Join(dir, "sparse")
	if err := errors.Join(os.Symlink(path, link), os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 20<<30)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir, filestest.Device, sparse} {
		done := make(chan [2]error, 1)
		go func() {
			_, err := OpenStats(path)
			done <- [2]error{err, someStats().Save(path, force)}
		}()
		select {
		case errs := <-done:
			if errs[0] == nil || errs[1] == nil {
				t.Errorf("%s: %v", path, errs)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is still read", path)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// FuzzStats reads files of stats that somebody wrote: what is read can be joined, saved and read again.
func FuzzStats(f *testing.F) {
	_, raw := saved(f, someStats())
	f.Add(raw)
	f.Add(bytes.Replace(raw, []byte(statsFormat), []byte(statsBefore), 1))
	f.Add(bytes.Replace(raw, []byte(`"layers":"2"`), []byte(`"layers":"9"`), 1))
	f.Add(bytes.Replace(raw, []byte(`"total":"2"`), []byte(`"total":"1"`), 1))
	f.Add([]byte{})
	dir := f.TempDir()
	path, back := filepath.Join(dir, "stats"), filepath.Join(dir, "back")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := safetensors.OpenFile(path)
		if err != nil {
			return
		}
		defer file.Close()
		s, err := readStats(file)
		if err != nil {
			return
		}
		if merged, err := Merge([]*Stats{s}); err != nil && s.Whole() || err == nil && merged.Layers() != s.Layers() {
			t.Errorf("merged: %v", err)
		}
		if err := errors.Join(s.Save(back, SaveOptions{}), os.Remove(back)); err != nil {
			t.Error(err)
		}
	})
}
