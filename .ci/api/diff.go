package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// change is a name whose line in the record and in the code differ.
type change struct {
	name    string // as prune.Options.Windows
	was, is string // lines; "" where there is none
}

func (c change) breaks() bool { return c.was != "" }

func (c change) String() string {
	const decide = "programs that embed vkcome stop compiling: put it back, or decide, then go run ./.ci/api -write -because WHY, which announces it in " + page
	switch {
	case c.was == "":
		return fmt.Sprintf("%s: not recorded yet: %s: go run ./.ci/api -write records it", c.name, c.is)
	case c.is == "":
		return fmt.Sprintf("%s: gone: %s: %s", c.name, c.was, decide)
	default:
		return fmt.Sprintf("%s: changed from %s to %s: %s", c.name, c.was, c.is, decide)
	}
}

// named takes a line of the record apart: package, kind, receiver, name, field.
var named = regexp.MustCompile(`^(\S+), (const|var|func|type|method) (?:\(\*?(\w+)\) )?(\w+)(?: struct, (\w+))?`)

// nameOf is what a line of the record is about.
func nameOf(line string) string {
	m := named.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	name := m[1]
	for _, part := range []string{m[3], m[4], m[5]} {
		if part != "" {
			name += "." + part
		}
	}
	return name
}

// compare lists what differs, by name.
func compare(was, is []string) (list []change) {
	all := map[string]change{}
	for _, line := range was {
		if name := nameOf(line); name != "" {
			all[name] = change{name: name, was: line}
		}
	}
	for _, line := range is {
		name := nameOf(line)
		all[name] = change{name, all[name].was, line}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if c := all[name]; c.was != c.is {
			list = append(list, c)
		}
	}
	return list
}
