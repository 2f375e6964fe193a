package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// completions are the files of shells, by the shell's name, under the names that the shells look for.
var completions = map[string]string{"bash": "vkcome", "zsh": "_vkcome", "fish": "vkcome.fish", "powershell": "vkcome.ps1"}

// notices is the file with the licences of all that is linked.
const notices = "THIRD-PARTY.txt"

// texts are the files that all archives share: they are what the program that was built prints of itself.
func (r *release) texts(program string) (list []entry, err error) {
	add := func(name string, args ...string) {
		var text string
		if err == nil {
			text, err = command(r.scratch, r.env, program, args...)
			list = append(list, entry{name: name, data: []byte(text + "\n")})
		}
	}
	for shell, name := range completions {
		add("completions/"+shell+"/"+name, "completion", shell)
	}
	add(notices, "version", "--licenses")
	if err != nil {
		return nil, err
	}
	version, err := command(r.scratch, r.env, program, "--version")
	if err != nil {
		return nil, err
	}
	first, rest, _ := strings.Cut(version, "\n")
	if !strings.HasPrefix(rest, "commit "+r.commit+" of ") || strings.Contains(rest, "modified") {
		return nil, fmt.Errorf("the program says %q, expected commit %s", version, r.commit)
	}
	r.version = strings.TrimPrefix(first, "vkcome ")
	pages := filepath.Join(r.scratch, "man1")
	if _, err := command(r.scratch, r.env, program, "man", pages); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(pages)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := addFile(&list, "man/man1/"+f.Name(), filepath.Join(pages, f.Name())); err != nil {
			return nil, err
		}
	}
	for name, path := range map[string]string{"LICENSE": "LICENSE", "INSTALL.txt": ".ci/dist/INSTALL.txt", "include/vkcome.h": "cmd/libvkcome/vkcome.h"} {
		if err := addFile(&list, name, filepath.Join(r.source, path)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func addFile(list *[]entry, name, path string) error {
	raw, err := os.ReadFile(path)
	*list = append(*list, entry{name: name, data: raw})
	return err
}

// pack writes a target's archive and the list of what is linked into its program, and returns their names.
func (r *release) pack(t target, b built, shared []entry) ([]string, error) {
	entries := slices.Clone(shared)
	if err := addFile(&entries, t.program(), b.program); err != nil {
		return nil, err
	}
	entries[len(entries)-1].program = true
	if err := addFile(&entries, "lib/"+t.libraryName(), b.library); err != nil {
		return nil, err
	}
	if t.os == "linux" { // the name that -lvkcome finds
		entries = append(entries, entry{name: "lib/libvkcome.so", link: t.libraryName()})
	}
	name := fmt.Sprintf("vkcome-%s-%s-%s", r.version, t.os, t.arch)
	archive, write := name+".tar.gz", tarball
	if t.os == "windows" {
		archive, write = name+".zip", zipped
	}
	raw, err := write(name, entries, r.time)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.out, archive), raw, 0o644); err != nil {
		return nil, err
	}
	bill := name + ".cdx.json"
	return []string{archive, bill}, r.bill(t, filepath.Join(r.out, bill), shared)
}
