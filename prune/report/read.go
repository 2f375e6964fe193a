package report

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
)

// Bounds of what is read, beside those of lineages, results and reports of devices.
const (
	maxPaths      = 100
	maxComparison = 32 << 20 // bytes
	maxLossBytes  = 64 << 20 // of a file of losses: a line has some 150 bytes
	maxLossLine   = 1 << 16
	maxEntries    = 10_000 // files of a folder
)

// Read makes a page of what paths hold: folders and GGUF files that vkcome wrote, lineages, comparisons, results of tasks, and reports of devices,
// the last four as JSON. Which it is, the content says. Results of tasks stand side by side, and so do reports of devices.
func Read(ctx context.Context, paths []string) (*Page, error) {
	if len(paths) > maxPaths {
		return nil, fmt.Errorf("report: %d names, expected at most %d", len(paths), maxPaths)
	}
	p := &Page{}
	var results []*eval.Results
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := p.read(path)
		if err != nil {
			return nil, err
		}
		if r != nil {
			results = append(results, r)
		}
	}
	if len(results) > 0 {
		side, err := eval.NewSide(ctx, results)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		p.Accuracy = append(p.Accuracy, Accuracy{results, side})
	}
	return p, nil
}

// read adds what a path holds, or gives the results that it holds.
func (p *Page) read(path string) (*eval.Results, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if info.IsDir() {
		o, err := ReadOutput(path)
		if err == nil {
			p.Outputs = append(p.Outputs, *o)
		}
		return nil, err
	}
	begin, err := head(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if bytes.HasPrefix(begin, []byte("GGUF")) {
		o, err := ReadOutput(path)
		if err == nil {
			p.Outputs = append(p.Outputs, *o)
		}
		return nil, err
	}
	switch what, err := contentOf(path); {
	case err != nil:
		return nil, err
	case what == ofLineage:
		l, err := prune.ReadLineage(path)
		if err == nil {
			p.Outputs = append(p.Outputs, Output{Name: path, Lineage: l})
		}
		return nil, err
	case what == ofComparison:
		var c prune.Comparison
		raw, err := files.Read(path, maxComparison)
		if err == nil {
			err = files.JSON(raw, &c)
		}
		if err != nil {
			return nil, fmt.Errorf("report: %s: %w", path, err)
		}
		p.Comparisons = append(p.Comparisons, &c)
		return nil, nil
	case what == ofDevice:
		list, err := bench.Read(path)
		p.Benches = append(p.Benches, list...)
		return nil, err
	}
	return eval.ReadResults(path)
}

// head is the begin of a file.
func head(path string) ([]byte, error) {
	f, err := files.Open(path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	begin := make([]byte, 4)
	n, err := f.Read(begin)
	if n == 0 && err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return begin[:n], nil
}

// What a file of JSON may be.
const (
	ofLineage    = "a lineage"
	ofComparison = "a comparison"
	ofDevice     = "a report of a device"
	ofTasks      = "results of tasks"
)

const maxJSON = 256 << 20 // bytes: of the largest of these, a lineage

// contentOf says what a file of JSON is, by the keys of its object.
func contentOf(path string) (string, error) {
	raw, err := files.Read(path, maxJSON)
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	var keys struct {
		Steps, Tree, Dense, Rows, Schema, Results json.RawMessage
	}
	if err := files.JSON(raw, &keys); err != nil {
		return "", fmt.Errorf("report: %s: neither a folder or GGUF file that vkcome wrote nor JSON: %w", path, err)
	}
	list := bytes.HasPrefix(bytes.TrimSpace(keys.Results), []byte("["))
	switch {
	case keys.Steps != nil && keys.Tree != nil:
		return ofLineage, nil
	case keys.Dense != nil && keys.Rows != nil:
		return ofComparison, nil
	case keys.Schema != nil && list:
		return ofDevice, nil
	case keys.Results != nil && !list:
		return ofTasks, nil
	}
	return "", fmt.Errorf("report: %s: JSON of another kind; expected a lineage (vkcome.json), what vkcome compare and vkcome bench print as JSON, or results of vkcome eval tasks", path)
}

// ReadOutput reads what a page shows of a model that vkcome wrote: a folder, or a GGUF file.
func ReadOutput(path string) (*Output, error) {
	o := &Output{Name: filepath.Base(filepath.Clean(path))}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var losses []byte
	if info.IsDir() {
		if o.Lineage, err = prune.ReadLineage(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("report: %s has no %s: expected a folder that vkcome wrote", path, model.Lineage)
		} else if err != nil {
			return nil, err
		}
		if o.Files, err = weights(path); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		losses, err = files.Read(filepath.Join(path, model.Losses), maxLossBytes)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		o.Files = []WeightFile{{o.Name, info.Size()}}
		o.Lineage, losses, err = readGGUF(path)
	}
	if err == nil {
		o.Losses, err = parseLosses(losses)
	}
	if err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return o, nil
}

// weights lists the files of weights in a folder.
func weights(dir string) (list []WeightFile, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%s has %d files, expected at most %d", dir, len(entries), maxEntries)
	}
	for _, e := range entries {
		if !slices.Contains([]string{".safetensors", ".bin", ".gguf"}, filepath.Ext(e.Name())) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, WeightFile{e.Name(), info.Size()})
	}
	return list, nil
}

// readGGUF reads the lineage and the losses in a file's metadata.
func readGGUF(path string) (l *prune.Lineage, losses []byte, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text := func(key string) string {
		v, _ := f.Value(key)
		s, _ := v.(string)
		return s
	}
	lineage := text(gguf.LineageKey)
	if lineage == "" {
		return nil, nil, fmt.Errorf("it has no lineage (%s): expected a file that vkcome pruned", gguf.LineageKey)
	}
	l, err = prune.ParseLineage([]byte(lineage))
	return l, []byte(text(gguf.LossesKey)), err
}

// parseLosses reads a line of JSON for each step of training.
func parseLosses(raw []byte) (list []distill.Record, err error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxLossLine)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var r distill.Record
		if err := files.JSON(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("losses, line %d: %w", len(list)+1, err)
		}
		list = append(list, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("losses, line %d: %w", len(list)+1, err)
	}
	return list, nil
}
