// Command dist makes the files of a release from the commit that is checked out: an archive for each system with the program, the library for
// C, licences, completions of shells and manual pages; a list of what is linked into it (CycloneDX); and the checksums of all these. The same commit, the
// same Go and the same C compilers give the same bytes, whoever builds them, where and when.
//
//	go run ./.ci/dist [-out FOLDER] [-targets linux/amd64,linux/arm64,windows/amd64]
//
// It needs Debian on x86-64 and what `.ci/setup.sh dist` installs.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "bin/dist", "folder for the files; those of an earlier run are replaced")
	names := flag.String("targets", strings.Join(targetNames(), ","), "what to build for")
	flag.Parse()
	if err := run(*out, strings.Split(*names, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// release is what all archives have in common.
type release struct {
	source  string    // a clone of the commit and nothing else
	scratch string    // for what is built
	out     string    // for what is made
	commit  string    // in full
	time    time.Time // of the commit: of every file, too
	env     []string  // of the commands that build
	version string
	tool    string // cyclonedx-gomod
}

func run(out string, names []string) (err error) {
	list, err := find(names)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "vkcome-dist-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	r := &release{scratch: scratch, source: filepath.Join(scratch, "source")}
	if r.out, err = fresh(out); err != nil {
		return err
	}
	if err := r.checkOut(); err != nil {
		return err
	}
	if r.env, err = environment(); err != nil {
		return err
	}
	binaries := map[string]built{}
	for _, t := range list {
		if binaries[t.name()], err = r.build(t); err != nil {
			return err
		}
	}
	if r.tool, err = r.billTool(); err != nil {
		return err
	}
	shared, err := r.texts(binaries[host.name()].program)
	if err != nil {
		return err
	}
	var made []string
	for _, t := range list {
		files, err := r.pack(t, binaries[t.name()], shared)
		if err != nil {
			return err
		}
		made = append(made, files...)
	}
	if err := sums(r.out, made); err != nil {
		return err
	}
	return r.report(out, made, binaries)
}

// fresh makes the folder, without what an earlier run left there.
func fresh(out string) (string, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(out, "vkcome-*"))
	if err != nil {
		return "", err
	}
	for _, path := range append(old, filepath.Join(out, sumsName)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return out, os.MkdirAll(out, 0o755)
}

// checkOut clones the commit. Building in a clone keeps out whatever else lies in the checkout, and tags, by which Go would name its version
// otherwise in a clone that lacks them. Go knows the commit of clones alone, not of git's linked worktrees.
func (r *release) checkOut() error {
	root, err := command(".", nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	changed, err := command(root, nil, "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		lines := strings.Split(changed, "\n")
		return fmt.Errorf("%d files differ from the commit, as %q: a release is a commit, so commit, stash or remove them", len(lines), strings.TrimSpace(lines[0]))
	}
	if r.commit, err = command(root, nil, "git", "rev-parse", "HEAD"); err != nil {
		return err
	}
	seconds, err := command(root, nil, "git", "show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the time of commit %s: %w", r.commit, err)
	}
	r.time = time.Unix(n, 0).UTC()
	if _, err := command(root, nil, "git", "clone", "--quiet", "--no-checkout", "--no-tags", root, r.source); err != nil {
		return err
	}
	_, err = command(r.source, nil, "git", "checkout", "--quiet", "--detach", r.commit)
	return err
}

const sumsName = "SHA256SUMS"

// sums writes the checksums of files of a folder, as sha256sum -c reads them.
func sums(dir string, names []string) error {
	var b strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", h.Sum(nil), name)
	}
	return os.WriteFile(filepath.Join(dir, sumsName), []byte(b.String()), 0o644)
}

// report says what was made, and of what: other compilers make other bytes.
func (r *release) report(out string, made []string, binaries map[string]built) error {
	for _, name := range append(slices.Clone(made), sumsName) {
		info, err := os.Stat(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Printf("%9d  %s\n", info.Size(), filepath.Join(out, name))
	}
	fmt.Printf("vkcome %s, commit %s of %s\n", r.version, r.commit, r.time.Format(time.RFC3339))
	version, err := command(r.source, r.env, "go", "version")
	if err != nil {
		return err
	}
	fmt.Println(version)
	for _, t := range targets {
		b, ok := binaries[t.name()]
		if !ok {
			continue
		}
		compiler, err := command(".", r.env, t.cc, "--version")
		if err != nil {
			return err
		}
		compiler, _, _ = strings.Cut(compiler, "\n")
		fmt.Printf("%s: %s", t.name(), compiler)
		for _, path := range []string{b.program, b.library} {
			needs, err := glibc(t, path)
			if err != nil {
				return err
			}
			fmt.Print(needs)
		}
		fmt.Println()
	}
	return nil
}

// command runs a command in a folder and returns what it prints, without the line end; env is nil for this process's.
func command(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, env
	var errs strings.Builder
	cmd.Stderr = &errs
	raw, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(string(raw)), nil
}
