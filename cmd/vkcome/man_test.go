package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManPages has man and mandoc read every page: neither warns, and what they show is what the verb's help says.
func TestManPages(t *testing.T) {
	needs(t, "man", "mandoc")
	dir := t.TempDir()
	pages := manPages("2026-11-30")
	if len(pages) != 1+len(allVerbs()) {
		t.Errorf("%d pages of %d verbs", len(pages), len(allVerbs()))
	}
	for _, p := range pages {
		path := filepath.Join(dir, p.name+".1")
		if err := os.WriteFile(path, []byte(p.text), 0o644); err != nil {
			t.Fatal(err)
		}
		shown := page(t, "man", "--warnings", "-E", "UTF-8", "-l", path)
		if !strings.Contains(shown, p.name) || !strings.Contains(shown, "2026-11-30") {
			t.Errorf("%s: %s", p.name, shown)
		}
		page(t, "mandoc", "-T", "lint", "-W", "warning", path)
		if home, err := os.UserHomeDir(); err == nil && strings.Contains(p.text, home+"/") {
			t.Errorf("%s names a folder of this machine", p.name)
		}
	}
	prune := page(t, "man", "-E", "UTF-8", "-l", filepath.Join(dir, "vkcome-prune.1"))
	for _, part := range []string{"vkcome prune MODEL [OUT] [FLAG]...", "--target-layers int\n", "-m, --method string\n", "--no-repeat\n", "~/models/Llama-2-7b-hf Llama-2-7b-come22 --target-layers 22"} {
		if !strings.Contains(prune, part) {
			t.Errorf("there is no %q in\n%s", part, prune)
		}
	}
}

// needs skips a test where a program that it runs is missing. CI has them all.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
			t.Skip("no " + name + " here: .ci/setup.sh test installs it")
		}
	}
}

// page runs what shows or checks a page, and fails if it says anything on stderr.
func page(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "MANWIDTH=200", "MANPAGER=cat", "GROFF_NO_SGR=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%s %s: %v: %s%s", name, strings.Join(args, " "), err, stderr.String(), stdout.String())
	}
	return stdout.String()
}

func TestManVerb(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "share", "man1")
	vkcome(t, "man", dir)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1+len(allVerbs()) {
		t.Errorf("%v, %v", files, err)
	}
	refuse(t, 1, "not a directory", "man", filepath.Join(dir, "vkcome.1", "deeper"))
	refuse(t, 2, "expected 1 arguments", "man")
}

func TestEscapeRoff(t *testing.T) {
	for text, want := range map[string]string{".TH": `\&.TH`, `a\b`: `a\eb`, "'quoted'": `\(aqquoted\(aq`, "--flag": `\-\-flag`, "two\nlines": "two lines"} {
		if got := escapeRoff(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
