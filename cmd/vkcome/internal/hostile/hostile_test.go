//go:build unix

package hostile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// What every run keeps to.
const (
	mostTime   = 20 * time.Second // see patience
	mostMemory = 1 << 30          // bytes that are resident, the driver's included
	mostLine   = 4096             // bytes of an error
	mostOutput = 64 << 20
	soon       = time.Second // after a signal
)

// kinds makes the cases of each kind.
var kinds = map[string]func() []hostile{}

// most is how many cases of a kind are run, of those with much to combine; of others it is 70.
var most = map[string]int{"safetensors": 150, "config": 130, "tokenizer": 110, "own": 110, "commandline": 100, "keep": 100}

// issue finds the cases that somebody met, which are run whatever the seed chooses.
var issue = []*regexp.Regexp{
	regexp.MustCompile(`^tokenizer/(26|64) ByteLevel beside`), regexp.MustCompile(`^tokenizer/ByteLevel (26|64) deep`), regexp.MustCompile(`^tokenizer/"" replaced by 4090 `), regexp.MustCompile(`^tokenizer/(split|replace) by 0 `),
	regexp.MustCompile(`^tokenizer/2000000 empty added tokens`), regexp.MustCompile(`^sentencepiece/20000000 empty`), regexp.MustCompile(`^safetensors/a name of 10 MB`), regexp.MustCompile(`^safetensors/prune: NaN is the (last|middle) of model.embed`),
	regexp.MustCompile(`^tokens/.*: (99999|null) last`), regexp.MustCompile(`^own/plan 0 `), regexp.MustCompile(`^own/lineage [01] `), regexp.MustCompile(`^own/report: escapes`), regexp.MustCompile(`^own/stats: bit`), regexp.MustCompile(`^work/sealed run.json `),
	regexp.MustCompile(`^keep/.*(layer-cake|thesis|owner)`), regexp.MustCompile(`^config/a rope_scaling`), regexp.MustCompile(`^interrupt/`),
}

func known(c hostile) bool {
	return slices.ContainsFunc(issue, func(r *regexp.Regexp) bool { return r.MatchString(c.kind + "/" + c.name) })
}

// shuffled gives the cases of a kind: those that somebody met first, the others as the seed has them.
func shuffled(kind string) []hostile {
	list := kinds[kind]()
	for i := range list {
		list[i].kind = kind
	}
	slices.SortFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	random("order of "+kind).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b hostile) int { return boolInt(known(b)) - boolInt(known(a)) })
	return list
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// all gives the cases in their order, most of each kind; every is that without a bound. What two ways of making hostile things of a valid one
// come to both is there once.
func all(every bool) (list []hostile) {
	seen := map[[32]byte]bool{}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		n := 0
		for _, c := range shuffled(kind) {
			if limit := cmp.Or(most[kind], 70); n == limit && !every {
				break
			}
			if sum := c.sum(); !seen[sum] {
				seen[sum] = true
				list = append(list, c)
				n++
			}
		}
	}
	return list
}

// sample takes some of each kind, one that somebody met and others.
func sample(each int) (some []hostile) {
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		of := shuffled(kind)
		some = append(some, of[0])
		some = append(some, of[len(of)-min(each, len(of))+1:]...)
	}
	return some
}

var program, home string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hostile-")
	if err != nil {
		panic(err)
	}
	program, home = filepath.Join(dir, "vkcome"), filepath.Join(dir, "home")
	out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput()
	if err == nil {
		err = os.MkdirAll(filepath.Join(home, ".cache"), 0o755)
	}
	code := 1
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestDistinct counts the inputs: each is there once, there are more than a thousand, and those that somebody met are among them.
func TestDistinct(t *testing.T) {
	count, titles := map[string]int{}, map[string]bool{}
	list := all(false)
	for _, c := range list {
		title := c.kind + "/" + c.name
		if titles[title] {
			t.Errorf("two cases are called %s", title)
		}
		titles[title] = true
		count[c.kind]++
	}
	for _, r := range issue {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(titles)), r.MatchString) {
			t.Errorf("no case is called %s", r)
		}
	}
	if len(list) < 1000 {
		t.Errorf("%d inputs, there should be a thousand", len(list))
	}
	t.Logf("%d inputs of %d kinds: %v", len(list), len(count), count)
}

// TestHostile runs the program on hostile inputs: a sample of them, with VKCOME_HOSTILE=all more than a thousand, and with VKCOME_HOSTILE=every
// all that there are.
func TestHostile(t *testing.T) {
	var list []hostile
	switch which := os.Getenv("VKCOME_HOSTILE"); which {
	case "":
		list = sample(3)
	case "all", "every":
		list = all(which == "every")
	default:
		t.Fatalf("VKCOME_HOSTILE=%s, expected all, every, or nothing for a sample", which)
	}
	var worst struct {
		sync.Mutex
		time, memory map[string]int64
	}
	worst.time, worst.memory = map[string]int64{}, map[string]int64{}
	t.Run("inputs", func(t *testing.T) {
		for _, c := range list {
			t.Run(c.kind+"/"+clip(c.name), func(t *testing.T) {
				t.Parallel()
				took, peak := c.test(t)
				worst.Lock()
				worst.time[c.kind], worst.memory[c.kind] = max(worst.time[c.kind], took.Milliseconds()), max(worst.memory[c.kind], peak>>20)
				worst.Unlock()
			})
		}
	})
	t.Logf("%d inputs; at most ms %v, MiB %v", len(list), worst.time, worst.memory)
}

// test runs the commands of a case on its input.
func (c hostile) test(t *testing.T) (took time.Duration, peak int64) {
	dir := t.TempDir()
	if err := c.make().write(dir); err != nil {
		t.Fatal(err)
	}
	before := list(t, dir)
	for i, args := range c.runs {
		o := c.run(t, dir, args)
		took, peak = max(took, o.took), max(peak, o.peak)
		title := fmt.Sprintf("vkcome %.200q: exit %d after %v, %d MiB: %.500q", args, o.code, o.took.Round(time.Millisecond), o.peak>>20, o.stderr)
		fault := o.fault(args, c.interrupt)
		if fault == "" {
			fault = changed(before, list(t, dir), args, o.code)
		}
		switch {
		case fault != "":
			t.Errorf("%s: %s", title, fault)
			return took, peak
		case o.code != 0 && !strings.Contains(o.stderr, c.want):
			t.Errorf("%s: expected %q", title, c.want)
		case o.code == 0 && c.ok == never && i == len(c.runs)-1:
			t.Errorf("%s: expected an error; it gives %.300s", title, o.stdout)
		case o.code == 0:
			c.compare(t, dir, args, o, title)
		}
		if o.code != 0 {
			return took, peak
		}
	}
	return took, peak
}

// compare says whether a success is a correct one.
func (c hostile) compare(t *testing.T, dir string, args []string, o outcome, title string) {
	var p struct{ Perplexity float64 }
	if args[0] == "eval" && args[1] == "ppl" && slices.Contains(args, "--json") {
		if err := json.Unmarshal(o.stdout, &p); err != nil || !(p.Perplexity > 0 && !math.IsInf(p.Perplexity, 0)) {
			t.Errorf("%s: a perplexity of %v, %v", title, p.Perplexity, err)
		}
	}
	out := filepath.Join(dir, "out")
	if _, err := os.Stat(out); err == nil {
		if again := (hostile{}).run(t, dir, []string{"inspect", "out", "-q"}); again.code != 0 {
			t.Errorf("%s: what it wrote is not read: %s", title, again.stderr)
		}
		if raw := weights(t, out); c.ok == same && c.clean != nil && !bytes.Equal(raw, c.expected(t, args).weights) {
			t.Errorf("%s: it wrote other weights than of the clean input", title)
		}
		for name, e := range list(t, out) {
			if e.secret {
				t.Errorf("%s: %s holds what was outside of the model's folder", title, name)
			}
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	} else if c.ok == same && c.clean != nil {
		if want := c.expected(t, args).stdout; !bytes.Equal(o.stdout, want) {
			t.Errorf("%s: it gives %.500s, and for the clean input %.500s", title, o.stdout, want)
		}
	}
}

func weights(t *testing.T, dir string) []byte {
	raw, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Error(err)
	}
	return raw
}

// result is what a command gives on a clean input.
type result struct{ stdout, weights []byte }

// expected runs a command on the clean input, once.
func (c hostile) expected(t *testing.T, args []string) result {
	h := sha256.New()
	c.clean().hash(h)
	return once(fmt.Sprintf("%x %q", h.Sum(nil), args), func() (r result, err error) {
		dir := t.TempDir()
		if err := c.clean().write(dir); err != nil {
			return r, err
		}
		o := hostile{stdin: c.stdin}.run(t, dir, args)
		if o.code != 0 {
			return r, fmt.Errorf("the clean input: %s", o.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			r.weights = weights(t, filepath.Join(dir, "out"))
		}
		r.stdout = o.stdout
		return r, nil
	})
}

// outcome is how a run ended.
type outcome struct {
	stdout []byte
	stderr string
	code   int // −1: by a signal
	took   time.Duration
	late   time.Duration // after the interrupt
	peak   int64         // bytes resident
	killed string        // why, if it was
}

// run runs the program in a folder and watches it.
func (c hostile) run(t *testing.T, dir string, args []string) (o outcome) {
	temporary := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(environment(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, ".cache"), "HF_HUB_OFFLINE=1", "TMPDIR="+temporary)
	cmd.Env = append(cmd.Env, c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = soon
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var signal <-chan time.Time
	var signalled time.Time
	if c.interrupt {
		signal = time.After(time.Duration(rand.New(rand.NewPCG(seed, uint64(len(dir)+len(args)))).IntN(400)+20) * time.Millisecond)
	}
	kill := func(why string) {
		if o.killed == "" {
			o.killed = why
			_ = cmd.Process.Kill() // it may have ended
		}
	}
	for ended := false; !ended; {
		select {
		case err := <-done:
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) && o.killed == "" {
				t.Fatal(err)
			}
			ended = true
		case <-signal:
			signalled = time.Now()
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		case <-time.After(10 * time.Millisecond):
			if o.peak = max(o.peak, resident(cmd.Process.Pid)); o.peak > mostMemory {
				kill(fmt.Sprintf("it took %d MiB after %v", o.peak>>20, time.Since(began).Round(time.Millisecond)))
			}
			if most := patience(mostTime); time.Since(began) > most {
				kill(fmt.Sprintf("it ran for more than %v", most))
			}
			if !signalled.IsZero() && time.Since(signalled) > patience(5*soon) {
				kill("it did not hear an interrupt")
			}
		}
	}
	o.took, o.code, o.stdout, o.stderr = time.Since(began), cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.String()
	if !signalled.IsZero() {
		o.late = time.Since(signalled)
	}
	// The kernel counts a child's memory from that of the process that it was before exec, which is this one.
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && usage.Maxrss<<10 > max(o.peak, resident(os.Getpid())) {
		o.peak = usage.Maxrss << 10
	}
	if left, err := os.ReadDir(temporary); o.killed == "" && (err != nil || len(left) > 0) {
		o.killed = fmt.Sprintf("temporary files are left: %v %v", left, err)
	}
	return o
}

// patience is a time on a machine that does nothing else: where more wants to run than there are cores, a run gets that much less of them.
func patience(d time.Duration) time.Duration {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil { // a system without it
		return d
	}
	var load float64
	if _, err := fmt.Sscan(string(raw), &load); err != nil {
		return d
	}
	return time.Duration(float64(d) * min(max(1, load/float64(runtime.NumCPU())), 20))
}

// environment is this process's without what would change what the program does.
func environment() (list []string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "HF_") && name != "VKCOME_VALIDATE" && name != "VKCOME_KERNEL_LOG" && name != "TMPDIR" {
			list = append(list, v)
		}
	}
	return list
}

// resident is the most bytes that a process had resident.
func resident(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil { // it has ended
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// bounded keeps the beginning of what is written.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := mostOutput - b.Len(); room < len(p) {
		b.Buffer.Write(p[:max(0, room)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// ReadFrom would read without end.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{b}, r) }

// fault says what is wrong with how a run ended, whatever its input.
func (o outcome) fault(args []string, interrupted bool) string {
	line := strings.TrimSuffix(o.stderr, "\n")
	switch {
	case o.killed != "":
		return o.killed
	case o.peak > mostMemory:
		return "too much memory"
	case len(o.stdout) >= mostOutput:
		return "output without end"
	case interrupted && o.late > patience(soon):
		return fmt.Sprintf("it ended %v after an interrupt", o.late)
	case interrupted && o.code == 130 && strings.HasPrefix(line, "vkcome: interrupted"):
	case o.code != 0 && o.code != 1 && o.code != 2:
		return "a wrong exit code"
	case o.code != 0 && (!strings.HasPrefix(line, "vkcome: ") || strings.Contains(line, "\n") || !strings.HasSuffix(o.stderr, "\n")):
		return "not one line of error"
	}
	switch {
	case len(line) > mostLine:
		return fmt.Sprintf("an error of %d bytes", len(line))
	case harmful(o.stderr):
		return "an error with control characters"
	case harmful(string(o.stdout)) && !data(args):
		return fmt.Sprintf("output with control characters: %.300q", o.stdout)
	}
	return ""
}

// data says whether what a run prints is data, which goes into pipes and files as it is: JSON, CSV, or what a model says.
func data(args []string) bool {
	return args[0] == "generate" || slices.ContainsFunc(args, func(arg string) bool { return arg == "--json" || arg == "csv" || arg == "json" })
}

// harmful says whether a text does something to a terminal, or to the order of what it shows.
func harmful(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || r >= 0x200e && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}

// found is a file as it was found.
type found struct {
	mode    fs.FileMode
	size    int64
	changed time.Time
	sum     [32]byte // of one that is not large
	secret  bool
}

// secret is in files that lie outside of a model's folder.
const secret = "this lies outside of the model's folder"

// list lists all that is below a folder.
func list(t *testing.T, dir string) map[string]found {
	all := map[string]found{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		f := found{mode: info.Mode()}
		if info.Mode().IsRegular() {
			f.size, f.changed = info.Size(), info.ModTime()
			if f.size < 16<<20 {
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				f.sum, f.secret = sha256.Sum256(raw), bytes.Contains(raw, []byte(secret))
			}
		}
		all[filepath.ToSlash(name)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changed says what a run did to a folder that it should not have done. What a run that succeeds writes is called out, or as one of its arguments; one
// that was interrupted may leave the work that it goes on with.
func changed(before, after map[string]found, args []string, code int) string {
	written := func(name string) bool {
		if code == 130 {
			return strings.HasPrefix(name, ".out.vkcome-")
		}
		return code == 0 && (strings.HasPrefix(name, "out") || slices.ContainsFunc(args, func(arg string) bool {
			return filepath.IsLocal(arg) && (name == filepath.Clean(arg) || strings.HasPrefix(name, filepath.Clean(arg)+"/"))
		}))
	}
	work := func(name string) bool { return name == "work" || strings.HasPrefix(name, "work/") } // its own, which a run goes on with
	for name, f := range before {
		if now, ok := after[name]; work(name) {
		} else if !ok {
			return name + " is gone"
		} else if f != now {
			return name + " was changed"
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok && !work(name) && !written(name) {
			return name + " is left"
		}
	}
	return ""
}
