package score

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/safetensors"
)

// Stats are what a Scorer needs to know of a model on a corpus, or a part of it, in place of running it: for each layer the block
// influence of every token and the sums of its channels' activities in every window, for each boundary the state of every window's last
// token. Window by window, so that the stats of the parts of a corpus join to those of the whole, bit by bit.
type Stats struct {
	Model      string     // hash of the model
	Corpus     string     // corpus.Hash of the whole corpus
	Total      int        // windows of the whole corpus
	Begin      int        // of the first window here
	Windows    [][]uint32 // the token ids
	Computed   []string   // the devices, drivers and tiers that computed them, for the record
	Seed       uint64     // that the corpus was sampled with, for the record
	Source     string     // of the corpus, for the record
	influence  [][]byte   // by layer: [windows, window] f32
	activities [][2][]byte
	last       [][]byte // by boundary: [windows, hidden] f32; that of the last one normed
}

// statsFormat is what the metadata of a file of stats calls its format, statsBefore what it was called when files had no checksum.
const (
	statsFormat = "vkcome figures 2"
	statsBefore = "vkcome figures 1"
)

// sumKey is the key of the checksum in the metadata of a file of stats.
const sumKey = "sha256"

// maxStats bounds a file of stats: that of 4096 windows of a model of 400B parameters has 120 GB.
const maxStats = 1 << 38

// Layers is the number of layers that the stats are of.
func (s *Stats) Layers() int { return len(s.influence) }

// Whole says whether the stats are of a whole corpus.
func (s *Stats) Whole() bool { return s.Begin == 0 && len(s.Windows) == s.Total }

// Shard is part i of n of the windows of a corpus, from 0 on, and where it begins. Parts differ by a window at most.
func Shard(windows [][]uint32, i, n int) (part [][]uint32, begin int, err error) {
	if n < 1 || i < 0 || i >= n {
		return nil, 0, fmt.Errorf("score: shard %d of %d: expected 0 to %d", i, n, max(0, n-1))
	}
	if n > len(windows) {
		return nil, 0, fmt.Errorf("score: %d shards of a corpus of %d windows: expected as many windows at least", n, len(windows))
	}
	begin, end := shard(len(windows), i, n)
	return windows[begin:end], begin, nil
}

// Stats are those of all layers, each of which must have run for all tokens: see All. The caller fills in what the Scorer cannot know:
// Model, the whole corpus where this is a part, and the record.
func (s *Scorer) Stats() (*Stats, error) {
	if s.m == nil {
		return nil, errNoUpdate
	}
	stats := &Stats{Corpus: corpus.Hash(s.windows), Total: len(s.windows), Windows: s.windows, last: s.last}
	for _, p := range s.parts {
		if name := fmt.Sprintf("%s, %s %s, %s", p.d.Info.Name, p.d.Info.Driver, p.d.Info.DriverVersion, p.d.Tier); !slices.Contains(stats.Computed, name) {
			stats.Computed = append(stats.Computed, name)
		}
	}
	for l, seen := range s.seen {
		if slices.Contains(seen.ran, false) {
			return nil, fmt.Errorf("score: layer %d did not run for all tokens", l)
		}
		stats.influence, stats.activities = append(stats.influence, seen.influence), append(stats.activities, [2][]byte{seen.heads, seen.neurons})
	}
	return stats, nil
}

// Load takes stats of the whole corpus for those that running the model would give, right after its Update. Hidden states are not
// among them: layers run where these are needed.
func (s *Scorer) Load(stats *Stats) error {
	if s.m == nil || len(s.seen) != len(s.m.Layers) {
		return errNoUpdate
	}
	c := s.m.Config
	switch {
	case !stats.Whole():
		return fmt.Errorf("score: figures of windows %d to %d of %d: merge them with those of the others", stats.Begin, stats.Begin+len(stats.Windows)-1, stats.Total)
	case corpus.Hash(stats.Windows) != corpus.Hash(s.windows):
		return errors.New("score: figures of another corpus")
	case stats.Layers() != len(s.m.Layers) || len(stats.last[0]) != 4*len(stats.Windows)*c.HiddenSize || len(stats.activities[0][0]) != 4*len(stats.Windows)*c.Heads*c.HeadDim ||
		len(stats.activities[0][1]) != 4*len(stats.Windows)*c.MostUnits():
		return fmt.Errorf("score: figures of a model of %d layers and other shapes than %s", stats.Layers(), s.m.Name)
	}
	s.last = slices.Clone(stats.last)
	s.seen, s.there, s.search.known = nil, nil, nil
	for l := range stats.influence {
		s.seen = append(s.seen, layerScores{slices.Repeat([]bool{true}, len(s.batches)), stats.influence[l], stats.activities[l][0], stats.activities[l][1]})
	}
	for range stats.last {
		s.there = append(s.there, slices.Repeat([]bool{true}, len(s.batches)))
	}
	s.search.known = slices.Repeat([]int{stats.Layers()}, len(s.batches))
	s.span = 0
	return nil
}

// Merge joins the stats of all parts of a corpus, in any order. The result is that of the whole corpus on the same kind of device, to
// the bit.
func Merge(parts []*Stats) (*Stats, error) {
	if len(parts) == 0 {
		return nil, errors.New("score: no figures to merge")
	}
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b *Stats) int { return a.Begin - b.Begin })
	first := parts[0]
	out := &Stats{Model: first.Model, Corpus: first.Corpus, Total: first.Total, Seed: first.Seed, Source: first.Source,
		influence: make([][]byte, first.Layers()), activities: make([][2][]byte, first.Layers()), last: make([][]byte, len(first.last))}
	for _, p := range parts {
		at := len(out.Windows)
		switch {
		case p.Model != first.Model || p.Layers() != first.Layers():
			return nil, errors.New("score: figures of different models cannot be merged")
		case p.Corpus != first.Corpus || p.Total != first.Total || p.Seed != first.Seed || p.Source != first.Source || len(p.Windows[0]) != len(first.Windows[0]):
			return nil, errors.New("score: figures of parts of different corpora cannot be merged: give every shard the same text, window, samples and seed")
		case p.Begin < at:
			return nil, fmt.Errorf("score: windows %d to %d are in two of the files", p.Begin, min(at, p.Begin+len(p.Windows))-1)
		case p.Begin > at:
			return nil, fmt.Errorf("score: windows %d to %d of %d are missing: a shard is not among the files", at, p.Begin-1, p.Total)
		}
		out.Windows = append(out.Windows, p.Windows...)
		for _, name := range p.Computed {
			if !slices.Contains(out.Computed, name) {
				out.Computed = append(out.Computed, name)
			}
		}
		for l := range out.influence {
			out.influence[l] = append(out.influence[l], p.influence[l]...)
			for k := range 2 {
				out.activities[l][k] = append(out.activities[l][k], p.activities[l][k]...)
			}
		}
		for b := range out.last {
			out.last[b] = append(out.last[b], p.last[b]...)
		}
	}
	if n := len(out.Windows); n != out.Total {
		return nil, fmt.Errorf("score: windows %d to %d of %d are missing: a shard is not among the files", n, out.Total-1, out.Total)
	}
	if corpus.Hash(out.Windows) != out.Corpus {
		return nil, errors.New("score: the windows of the files are not those of the corpus that they name")
	}
	return out, nil
}

// entry is a tensor of a file of stats.
type entry struct {
	safetensors.Entry
	data []byte
}

func (s *Stats) entries() []entry {
	n, window := len(s.Windows), len(s.Windows[0])
	tokens := make([]byte, 0, 4*n*window)
	for _, w := range s.Windows {
		for _, v := range w {
			tokens = binary.LittleEndian.AppendUint32(tokens, v)
		}
	}
	list := []entry{{safetensors.Entry{Name: "tokens", DType: "U32", Shape: []int{n, window}}, tokens}}
	add := func(name string, data []byte) {
		list = append(list, entry{safetensors.Entry{Name: name, DType: "F32", Shape: []int{n, len(data) / 4 / n}}, data})
	}
	for l := range s.influence {
		add(fmt.Sprintf("layers.%d.block_influence", l), s.influence[l])
		add(fmt.Sprintf("layers.%d.attention", l), s.activities[l][0])
		add(fmt.Sprintf("layers.%d.mlp", l), s.activities[l][1])
	}
	for b := range s.last {
		add(fmt.Sprintf("boundaries.%d.last_token", b), s.last[b])
	}
	return list
}

// checksum is the SHA-256 of metadata, but for the checksum itself, and of tensors with their names, dtypes, shapes and bytes, in their order.
func checksum(meta map[string]string, list []entry) string {
	h := sha256.New()
	text := func(parts ...string) { // each behind its length
		for _, part := range parts {
			fmt.Fprintf(h, "%d %s", len(part), part)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if key != sumKey {
			text(key, meta[key])
		}
	}
	for _, e := range list {
		text(e.Name, e.DType, fmt.Sprint(e.Shape))
		h.Write(e.data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// SaveOptions say how to save stats.
type SaveOptions struct {
	Force bool // replace a file of the name that Save wrote
}

// CheckStats refuses a path that Save would refuse to write to, before hours are spent: one where there is something, unless it may be replaced
// and is a file that Save wrote, as it wrote it.
func CheckStats(path string, o SaveOptions) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("score: %w", err)
	case !o.Force:
		return fmt.Errorf("score: %s exists already; choose another name, or score.SaveOptions.Force to replace it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("score: %s exists already and is a link, or no file: it will not be replaced", path)
	}
	file, err := openStats(path)
	if err == nil {
		if file.Metadata()["format"] != statsBefore {
			_, err = readStats(file)
		}
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("score: %s exists already and is no file that vkcome stats wrote: it will not be replaced: %w", path, err)
	}
	return nil
}

// Save writes the stats as a safetensors file under another name first, so that path is whole when it is there. That it is there already
// is an error unless it may be replaced.
func (s *Stats) Save(path string, o SaveOptions) (err error) {
	if err := CheckStats(path, o); err != nil {
		return err
	}
	dir, err := files.MkdirTemp(filepath.Dir(path), ".vkcome-stats-")
	if err != nil {
		return fmt.Errorf("score: %w", err)
	}
	tmp := filepath.Join(dir, "stats.safetensors")
	defer func() {
		if gone := os.Remove(tmp); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		err = errors.Join(err, os.Remove(dir))
	}()
	list := s.entries()
	var headers []safetensors.Entry
	for _, e := range list {
		headers = append(headers, e.Entry)
	}
	meta := map[string]string{
		"format": statsFormat, "model": s.Model, "corpus": s.Corpus, "total": strconv.Itoa(s.Total), "begin": strconv.Itoa(s.Begin),
		"layers": strconv.Itoa(s.Layers()), "computed": strings.Join(s.Computed, "; "), "seed": strconv.FormatUint(s.Seed, 10), "source": s.Source,
	}
	meta[sumKey] = checksum(meta, list)
	w, err := safetensors.Create(tmp, headers, meta)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := w.Write(e.Name, e.data); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return files.Rename(tmp, path)
}

func openStats(path string) (*safetensors.Checkpoint, error) {
	if err := files.Check(path, maxStats); err != nil {
		return nil, err
	}
	return safetensors.OpenFile(path)
}

// OpenStats reads what Save wrote.
func OpenStats(path string) (stats *Stats, err error) {
	file, err := openStats(path)
	if err != nil {
		return nil, fmt.Errorf("score: figures: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if stats, err = readStats(file); err != nil {
		return nil, fmt.Errorf("score: figures %s: %w", path, err)
	}
	return stats, nil
}

// maxStatsLayers bounds what a header may claim; no model has as many.
const maxStatsLayers = 1 << 14

func readStats(file *safetensors.Checkpoint) (*Stats, error) {
	meta := file.Metadata()
	switch meta["format"] {
	case statsFormat:
	case statsBefore:
		return nil, errors.New("it has no checksum, as those of an earlier vkcome: compute the figures anew, with vkcome stats")
	default:
		return nil, fmt.Errorf("its format is %.40q, expected %q: it is no file of vkcome stats, or of another version", meta["format"], statsFormat)
	}
	stats := &Stats{Model: meta["model"], Corpus: meta["corpus"], Computed: strings.Split(meta["computed"], "; "), Source: meta["source"]}
	var layers int
	for name, to := range map[string]*int{"total": &stats.Total, "begin": &stats.Begin, "layers": &layers} {
		n, err := strconv.Atoi(meta[name])
		if err != nil || n < 0 || name == "layers" && (n == 0 || n > maxStatsLayers) {
			return nil, fmt.Errorf("%s %.40q, expected a number", name, meta[name])
		}
		*to = n
	}
	var err error
	if stats.Seed, err = strconv.ParseUint(meta["seed"], 10, 64); err != nil {
		return nil, fmt.Errorf("seed %.40q, expected a number", meta["seed"])
	}
	var list []entry // for the checksum
	windows := 0
	read := func(name, dtype string, cols int) ([]byte, int, error) {
		t, ok := file.Lookup(name)
		if !ok || t.DType != dtype || len(t.Shape) != 2 || t.NumElements() == 0 || windows > 0 && t.Shape[0] != windows || cols > 0 && t.Shape[1] != cols {
			return nil, 0, fmt.Errorf("%s is %s %v, expected %s of %d windows", name, t.DType, t.Shape, dtype, windows)
		}
		raw, err := t.Bytes()
		if err != nil {
			return nil, 0, err
		}
		e := entry{safetensors.Entry{Name: name, DType: dtype, Shape: slices.Clone(t.Shape)}, raw}
		list = append(list, e)
		return e.data, t.Shape[1], nil
	}
	if t, ok := file.Lookup("tokens"); ok && len(t.Shape) == 2 {
		windows = t.Shape[0]
	}
	tokens, window, err := read("tokens", "U32", 0)
	if err != nil {
		return nil, err
	}
	for w := range windows {
		ids := make([]uint32, window)
		for i := range ids {
			ids[i] = binary.LittleEndian.Uint32(tokens[4*(w*window+i):])
		}
		stats.Windows = append(stats.Windows, ids)
	}
	if stats.Begin > stats.Total-windows {
		return nil, fmt.Errorf("windows %d to %d of %d", stats.Begin, stats.Begin+windows-1, stats.Total)
	}
	if stats.Whole() && corpus.Hash(stats.Windows) != stats.Corpus {
		return nil, errors.New("its windows are not those of the corpus that it names")
	}
	var channels, neurons, hidden int
	for l := range layers {
		var of [3][]byte
		for i, part := range []struct {
			name string
			cols *int
		}{{"block_influence", &window}, {"attention", &channels}, {"mlp", &neurons}} {
			if of[i], *part.cols, err = read(fmt.Sprintf("layers.%d.%s", l, part.name), "F32", *part.cols); err != nil {
				return nil, err
			}
		}
		stats.influence, stats.activities = append(stats.influence, of[0]), append(stats.activities, [2][]byte{of[1], of[2]})
	}
	for b := range layers + 1 {
		var raw []byte
		if raw, hidden, err = read(fmt.Sprintf("boundaries.%d.last_token", b), "F32", hidden); err != nil {
			return nil, err
		}
		stats.last = append(stats.last, raw)
	}
	if all := file.Names(); len(all) != len(list) {
		return nil, fmt.Errorf("it has %d tensors, expected %d", len(all), len(list))
	}
	if sum := checksum(meta, list); sum != meta[sumKey] {
		return nil, fmt.Errorf("it is not as it was written: its SHA-256 is %.12s, it says %.12q", sum, meta[sumKey])
	}
	return stats, stats.check()
}

// check refuses figures that no run gives: influences are 0 to 1, sums of absolute values are not negative, and all is finite.
func (s *Stats) check() error {
	within := func(what string, raw []byte, least, most float64) error {
		for _, v := range decode(raw) {
			if !(v >= least && v <= most) {
				return fmt.Errorf("%s: it holds figures that are not finite or out of range: %v, expected %v to %v", what, v, least, most)
			}
		}
		return nil
	}
	for l := range s.influence {
		if err := within(fmt.Sprintf("layer %d", l), s.influence[l], 0, 1); err != nil {
			return err
		}
		for _, sums := range s.activities[l] {
			if err := within(fmt.Sprintf("layer %d", l), sums, 0, math.MaxFloat32); err != nil {
				return err
			}
		}
	}
	for b, states := range s.last {
		if err := within(fmt.Sprintf("boundary %d", b), states, -math.MaxFloat32, math.MaxFloat32); err != nil {
			return err
		}
	}
	return nil
}

// leading is by batch how many of the first layers ran in full, at most so many.
func (s *Scorer) leading(most int) []int {
	known := make([]int, len(s.batches))
	for b := range known {
		for known[b] < min(most, len(s.seen)) && s.seen[known[b]].ran[b] {
			known[b]++
		}
	}
	return known
}
