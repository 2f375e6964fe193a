//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keys are what is typed, and the words that the command line then has. The folder holds "my model/", "folder/", "folfile" and "ids.json".
var keys = []struct{ typed, want string }{
	{"pru\t", "prune"},
	{"eval kl\t", "eval|kld"},
	{"prune --selector sl\t", "prune|--selector|sleb"},
	{"prune --selector=sl\t", "prune|--selector=sleb"},
	{"prune -m lac\t", "prune|-m|laco"},
	{"prune --protec\t", "prune|--protect"},
	{"prune emb\t", "prune|embedded:tiny12"},
	{"prune embedded:t\t", "prune|embedded:tiny12"},
	{"compare --methods come,lac\t", "compare|--methods|come,laco"},
	{`inspect my\ mo` + "\t", "inspect|my model/"},
	{"prune --spill-dir fol\t", "prune|--spill-dir|folder/"},
	{"prune --tokens id\t", "prune|--tokens|ids.json"},
	{"prune --tokens=id\t", "prune|--tokens=ids.json"},
	{"prune --target-layers id\t", "prune|--target-layers|id"}, // a number is no file
}

// TestShells types into bash, zsh and fish, with the tabulator where a word ends, and looks at what the shell then runs.
func TestShells(t *testing.T) {
	for name, start := range map[string][]string{
		"bash": {"bash", "--noprofile", "--rcfile", "rc", "-i"},
		"zsh":  {"zsh", "-f", "-i"},
		"fish": {"fish", "--no-config", "-i", "-C", "source rc"},
	} {
		t.Run(name, func(t *testing.T) {
			needs(t, start[0])
			t.Parallel()
			s := startShell(t, name, start)
			for _, k := range keys {
				got := s.run(t, "vkcome "+k.typed+"\r")
				if name == "zsh" { // it takes the slash of a folder away again when the line ends
					k.want = strings.TrimSuffix(k.want, "/")
				}
				if got != k.want {
					t.Errorf("%q became %q, want %q; the terminal has %.2000q", k.typed, got, k.want, s.shown())
				}
			}
		})
	}
}

// rc is what each shell reads when it starts: a prompt that can be waited for, and the completions.
var rc = map[string]string{
	"bash": "PS1='READY> '; source <(vkcome completion bash)\n",
	"zsh":  "PS1='READY> '; autoload -U compinit; compinit -D -u; source <(vkcome completion zsh)\n",
	"fish": "function fish_prompt; echo -n 'READY> '; end; vkcome completion fish | source\n",
}

// stand stands for vkcome in a shell: what completes goes on to the program, and of anything else the words are kept.
const stand = `#!/bin/sh
case $1 in __complete | completion) exec %q "$@" ;; esac
(IFS='|'; printf '%%s' "$*" >"$WORDS.part"; mv "$WORDS.part" "$WORDS")
`

type shell struct {
	terminal *os.File
	words    string // the file with the words of the last command line
	mu       sync.Mutex
	out      strings.Builder
}

func startShell(t *testing.T, name string, start []string) *shell {
	dir, bin := t.TempDir(), t.TempDir()
	s := &shell{words: filepath.Join(bin, "words")}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "my model"), 0o755), os.Mkdir(filepath.Join(dir, "folder"), 0o755), os.WriteFile(filepath.Join(dir, "folfile"), nil, 0o644), os.WriteFile(filepath.Join(dir, "ids.json"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "rc"), []byte(rc[name]), 0o644), os.WriteFile(filepath.Join(dir, ".zshrc"), []byte(rc[name]), 0o644), os.WriteFile(filepath.Join(bin, "vkcome"), fmt.Appendf(nil, stand, program), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	terminal, end := openTerminal(t)
	s.terminal = terminal
	cmd := exec.CommandContext(t.Context(), start[0], start[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, end, end, end
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + dir, "ZDOTDIR=" + dir, "TERM=xterm", "LC_ALL=C.UTF-8", "WORDS=" + s.words}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			s.mu.Lock()
			s.out.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		terminal.Close()
	})
	if name == "zsh" { // -f keeps out the files of the system, and with them the shell's own
		if _, err := terminal.WriteString("source ./rc\r"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s, func() bool { return strings.Contains(s.shown(), "READY> ") })
	return s
}

// openTerminal gives the two ends of a terminal: ours, and the shell's.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(ours.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func (s *shell) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// run types a line, and gives the words that vkcome was called with.
func (s *shell) run(t *testing.T, typed string) string {
	_ = os.Remove(s.words)
	if _, err := s.terminal.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	var words []byte
	await(t, s, func() bool {
		var err error
		words, err = os.ReadFile(s.words)
		return err == nil
	})
	return string(words)
}

func await(t *testing.T, s *shell, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing came within a minute; the terminal has %.4000q", s.shown())
		}
	}
}
