package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// Reports come from strangers, and a folder may have many: these are bounds of what is read and compared.
const (
	maxReport  = 8 << 20  // bytes of a file: a report of a model and of every kernel has some 100 kB, and what is read takes ten times as much
	maxAll     = 32 << 20 // bytes of all files
	maxReports = 1000
	maxResults = 10_000  // of a report
	maxCells   = 1 << 20 // of a table
)

// Read reads reports from files, and from those files of folders whose names end in .json or .jsonl, by name, without folders in them and
// without hidden files. A file is one that Share or Format, as json, wrote, or one of llama-bench -o json or -o jsonl, which may give several
// reports: one for each device, backend and model. Errors name the file.
func Read(paths ...string) (list []*Report, err error) {
	var names []string
	for _, path := range paths {
		found, err := within(path)
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		names = append(names, found...)
	}
	left := int64(maxAll)
	for _, name := range names {
		raw, err := files.Read(name, maxReport)
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		if left -= int64(len(raw)); left < 0 {
			return nil, fmt.Errorf("bench: %s: the files before it and this one have more than %d MiB: compare fewer", name, maxAll>>20)
		}
		reports, err := Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range reports {
			r.Source = filepath.Base(name)
		}
		if list = append(list, reports...); len(list) > maxReports {
			return nil, fmt.Errorf("bench: %s: more than %d reports: compare fewer", name, maxReports)
		}
	}
	return list, nil
}

// within lists the files that a path means: itself, or those of a folder.
func within(path string) (names []string, err error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := files.NewFolder(path).ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if ext := strings.ToLower(filepath.Ext(name)); !e.IsDir() && !strings.HasPrefix(name, ".") && (ext == ".json" || ext == ".jsonl") {
			names = append(names, filepath.Join(path, name))
		}
	}
	switch {
	case len(names) == 0:
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("no file ends in .json or .jsonl")}
	case len(names) > maxReports:
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d files, expected at most %d", len(names), maxReports)}
	}
	return names, nil
}

// Parse reads the content of a file that Read reads.
func Parse(raw []byte) ([]*Report, error) {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\ufeff"))) // Windows' editors and shells begin a text with the mark
	if bytes.HasPrefix(raw, []byte("[")) {
		return parseLlamaBench(raw)
	}
	// What the first value has says whose file it is. Wrong types in it are told below, where more is known of what was meant.
	var first map[string]json.RawMessage
	_ = json.NewDecoder(bytes.NewReader(raw)).Decode(&first)
	if first["avg_ts"] != nil {
		return parseLlamaBench(raw)
	}
	var r *Report
	var err error
	if first["format"] != nil {
		r, err = parseShared(raw)
	} else {
		r = &Report{}
		err = files.JSON(raw, r)
	}
	if err != nil {
		return nil, fmt.Errorf("bench: not a report of vkcome bench or of llama-bench, as JSON: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("bench: a report of schema %d, this vkcome reads %d: run vkcome bench again", r.Schema, Schema)
	}
	if len(r.Results) > maxResults {
		return nil, fmt.Errorf("bench: %d results, expected at most %d", len(r.Results), maxResults)
	}
	return []*Report{r}, nil
}

// checkCells refuses a table that nobody could read and memory might not hold.
func checkCells(rows, columns int) error {
	if int64(rows)*int64(columns) > maxCells {
		return fmt.Errorf("bench: a table of %d rows and %d columns, expected at most %d cells: compare fewer reports", rows, columns, maxCells)
	}
	return nil
}
