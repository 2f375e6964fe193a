package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/shaders/spirv"
)

// interfaceFile is the table of what each kernel takes, which package shaders embeds.
var interfaceFile = filepath.Join(spv, "interfaces.json")

// interfaces compares the table with what was compiled, or writes it. A shader that was not compiled keeps its line.
func interfaces(all []*job, check bool) error {
	table := map[string]*spirv.Interface{}
	for _, j := range all {
		if filepath.Dir(j.target) != spv {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(j.target), ".spv")
		table[name] = j.takes
		if j.takes == nil {
			table[name] = shaders.InterfaceOf(name)
		}
	}
	text, err := lines(table)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(interfaceFile)
	switch {
	case err == nil && bytes.Equal(old, text):
		return nil
	case check:
		return fmt.Errorf("%s is not what the shaders take: run make shaders and commit", interfaceFile)
	}
	return os.WriteFile(interfaceFile, text, 0o644)
}

// lines is the table as JSON with one kernel a line, so that a change shows as the kernel that it is of.
func lines(table map[string]*spirv.Interface) ([]byte, error) {
	var names []string
	for name, i := range table {
		if i != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := bytes.NewBufferString("{\n")
	for n, name := range names {
		raw, err := json.Marshal(table[name])
		if err != nil {
			return nil, err
		}
		end := ",\n"
		if n == len(names)-1 {
			end = "\n"
		}
		fmt.Fprintf(out, "%q: %s%s", name, raw, end)
	}
	out.WriteString("}\n")
	return out.Bytes(), nil
}
