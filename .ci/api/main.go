// Command api holds what embedding programs are promised: the names that surface.go lists, each with its type, as v0.txt records them. It
// exits with 1 where the code differs from the record, or the page prune/API.md from either, and says of each name what to do.
//
//	go run ./.ci/api                      check
//	go run ./.ci/api -write               record what was added
//	go run ./.ci/api -write -because WHY  record what was removed or changed too, and announce it in the page
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	module = "github.com/vkcome/vkcome"
	record = ".ci/api/v0.txt"
	page   = "prune/API.md"
)

func main() {
	write := flag.Bool("write", false, "record the surface as it is")
	because := flag.String("because", "", "why something promised goes or changes, and what to use instead: a line of the page for each name")
	flag.Parse()
	found, err := run(*write, *because)
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(2)
	}
	if len(found) > 0 {
		fmt.Println(strings.Join(found, "\n"))
		os.Exit(1)
	}
}

// run gives what is wrong, a line each.
func run(write bool, because string) (found []string, err error) {
	was, err := os.ReadFile(record)
	if err != nil && !write {
		return nil, err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	packages, all, err := load(".", module, paths(surface))
	if err != nil {
		return nil, err
	}
	is, wrong := lines(packages, module, surface)
	changes := compare(strings.Split(string(was), "\n"), is)
	breaks := 0
	for _, c := range changes {
		if c.breaks() {
			breaks++
		}
	}
	switch {
	case len(wrong) > 0:
		return wrong, nil
	case !write:
		for _, c := range changes {
			found = append(found, c.String())
		}
		return append(found, checkPage(string(text), is, surface, all)...), nil
	case breaks > 0 && because == "":
		for _, c := range changes {
			if c.breaks() {
				found = append(found, c.String())
			}
		}
		return found, nil
	}
	if breaks > 0 {
		if err := os.WriteFile(page, []byte(announce(string(text), changes, because, time.Now())), 0o644); err != nil {
			return nil, err
		}
	}
	return nil, os.WriteFile(record, []byte(strings.Join(is, "\n")+"\n"), 0o644)
}
