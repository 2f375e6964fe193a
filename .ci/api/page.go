package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// changesTitle heads the part of the page that announces what was removed or changed, the latest first.
const changesTitle = "## Changes\n"

// announce adds a line for each name that embedding programs must do without.
func announce(text string, changes []change, because string, now time.Time) string {
	var list strings.Builder
	for _, c := range changes {
		what := "changed"
		if c.is == "" {
			what = "gone"
		}
		if c.breaks() {
			fmt.Fprintf(&list, "- %s, `%s` %s: %s\n", now.Format(time.DateOnly), c.name, what, because)
		}
	}
	before, after, ok := strings.Cut(text, changesTitle)
	if !ok {
		before, after = text+"\n", ""
	}
	return before + changesTitle + "\n" + list.String() + strings.TrimLeft(after, "\n")
}

var (
	spans = regexp.MustCompile("`[^`\n]+`")
	quals = regexp.MustCompile(`\b([a-z]\w*)\.([A-Z]\w*)`)
)

// checkPage holds the page against the record: it names every function, type and variable, as prune.NewPlan, names no other of these packages,
// and names every package of the module that can be imported.
func checkPage(text string, lines []string, surface []promise, all []string) (found []string) {
	listed, _, _ := strings.Cut(text, changesTitle)
	code := strings.Join(spans.FindAllString(listed, -1), "\n")
	have := map[string]bool{} // as prune.NewPlan
	for _, line := range lines {
		m := named.FindStringSubmatch(line)
		name := path.Base(m[1]) + "." + m[4]
		if m[3] != "" || m[5] != "" || have[name] {
			continue
		}
		have[name] = true
		if m[2] != "const" && !regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).MatchString(code) {
			found = append(found, fmt.Sprintf("%s: %s does not name it: it goes by a line there, as `%s`", page, m[1], name))
		}
	}
	for _, m := range quals.FindAllStringSubmatch(code, -1) {
		if slices.ContainsFunc(surface, func(p promise) bool { return path.Base(p.path) == m[1] }) && !have[m[1]+"."+m[2]] {
			found = append(found, fmt.Sprintf("%s: names %s.%s, which is not promised: take it out, or promise it in .ci/api/surface.go", page, m[1], m[2]))
		}
	}
	for _, p := range all {
		if !strings.Contains(code, "`"+p+"`") && !strings.Contains(text, "[`"+p+"`]") {
			found = append(found, fmt.Sprintf("%s: says nothing of package `%s`: it is promised, or one of those that are not", page, p))
		}
	}
	return found
}
