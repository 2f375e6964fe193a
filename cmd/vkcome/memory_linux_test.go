package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/vk"
)

// limited is a memory cgroup, or where none can be made a limit on private memory, that a command runs in.
type limited struct {
	dir   string // of the cgroup
	kind  string
	limit int64
}

// newLimited makes a cgroup v1 or v2 of limit bytes.
func newLimited(t *testing.T, limit int64) *limited {
	name := fmt.Sprintf("vkcome-test-%d", os.Getpid())
	for _, l := range []struct{ dir, file, kind string }{
		{filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", "cgroup v1"}, {filepath.Join("/sys/fs/cgroup", name), "memory.max", "cgroup v2"},
	} {
		if os.Mkdir(l.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(l.dir) })
		if _, err := os.Stat(filepath.Join(l.dir, l.file)); err != nil { // a folder without the controller
			continue
		}
		if err := os.WriteFile(filepath.Join(l.dir, l.file), []byte(strconv.FormatInt(limit, 10)), 0o644); err != nil {
			continue
		}
		os.WriteFile(filepath.Join(l.dir, "memory.swap.max"), []byte("0"), 0o644) // v2; where there is no swap, nothing is lost
		return &limited{l.dir, l.kind, limit}
	}
	return &limited{"", "RLIMIT_DATA (no cgroup can be made here)", limit}
}

// remove takes the cgroup away, so that another can be made.
func (l *limited) remove() {
	if l.dir != "" {
		os.Remove(l.dir)
	}
}

// peak is what a process took at most, in bytes.
type peak struct{ resident, anonymous, file int64 }

// run runs the program in the limit and samples its resident memory.
func (l *limited) run(t *testing.T, args ...string) (stderr string, p peak, err error) {
	script := fmt.Sprintf(`echo $$ > %s/cgroup.procs && exec "$0" "$@"`, l.dir)
	if l.dir == "" {
		// Stacks of threads and what a driver reserves and never touches count as well: twice the limit, so that only a leak meets it.
		script = fmt.Sprintf(`ulimit -d %d && exec "$0" "$@"`, 2*l.limit/1024)
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, program}, args...)...)
	var text bytes.Buffer
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
			for line := range strings.Lines(string(raw)) {
				key, value, _ := strings.Cut(line, ":")
				for name, to := range map[string]*int64{"VmHWM": &p.resident, "RssAnon": &p.anonymous, "RssFile": &p.file} {
					if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); key == name && err == nil {
						*to = max(*to, n<<10)
					}
				}
			}
		}
		select {
		case err := <-done:
			return text.String(), p, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sizes finds "N MiB" in a line that begins with text.
func sizes(t *testing.T, stderr, text string) (list []int64) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		if at := strings.Index(line, text); at >= 0 {
			for _, s := range regexp.MustCompile(`[0-9.]+ ([KMGT]i)?B`).FindAllString(line[at:], -1) {
				n, err := humanize.ParseBytes(s)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, int64(n))
			}
			return list
		}
	}
	t.Fatalf("no %q in %q", text, stderr)
	return nil
}

var mebibytes = func(n int64) string { return fmt.Sprintf("%dMiB", n>>20) }

// TestLimitedMemory prunes a model in a memory cgroup that is smaller than it, to the bytes that pruning without limits gives, and
// measures. What the cgroup allows is the limit of host memory and, as these drivers run on the CPU, that of device memory too.
func TestLimitedMemory(t *testing.T) {
	spec := modeltest.Spec{Hidden: 1024, Intermediate: 2816, Layers: 11, Heads: 8, KVHeads: 4, HeadDim: 128, Vocab: 4096, Context: 128, DType: dtype.BF16, ShardBytes: 100_000_000}
	testLimited(t, spec, 48, 16, 64<<20, 0, 10, true)
}

// testLimited prunes to a depth; with host 0 under what a run says that it needs, and no more.
func testLimited(t *testing.T, spec modeltest.Spec, windows, window int, device, host int64, depth int, spills bool) {
	dir := t.TempDir()
	in, free, out, tokens, spill := filepath.Join(dir, "in"), filepath.Join(dir, "free"), filepath.Join(dir, "limited"), filepath.Join(dir, "tokens.json"), filepath.Join(dir, "spill")
	for _, d := range []string{in, spill} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec.WriteLarge(t, in)
	var list []uint32
	for _, w := range modeltest.Windows(spec.Vocab, windows, window) {
		list = append(list, w...)
	}
	raw, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(tokens, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := func(out string, more ...string) []string {
		return append([]string{"prune", in, out, "--method", "come", "--target-layers", strconv.Itoa(depth), "--tokens", tokens, "--window", strconv.Itoa(window), "--samples", strconv.Itoa(windows)}, more...)
	}
	vkcome(t, args(free)...)
	limits := func(host int64) []string {
		return args(out, "--max-device-memory", mebibytes(device), "--max-host-memory", mebibytes(host), "--spill-dir", spill)
	}
	// What is in use when a run begins differs by some MiB from run to run: the pages of libraries above all, which the page cache maps
	// around those that were asked for. A run that was refused says what it needs, and gets that and a little.
	find := host == 0
	if find {
		_, stderr, code := try(t, limits(16<<20)...) // without a cgroup: in one so small the system would kill it
		if code == 0 {
			t.Fatal("16 MiB of host memory were enough")
		}
		host = sizes(t, stderr, "host memory are too little")[0] + 4<<20
	}
	var l *limited
	var stderr string
	var p peak
	for tries := 0; ; tries++ {
		l = newLimited(t, host+device)
		if stderr, p, err = l.run(t, limits(host)...); err == nil {
			break
		}
		if !find || tries == 5 || strings.Count(stderr, "use a larger --max-host-memory") != 1 {
			t.Fatalf("in a %s of %s: %v: %s", l.kind, mebibytes(l.limit), err, stderr)
		}
		host = max(host, sizes(t, stderr, "host memory are too little")[0]) + 4<<20
		l.remove()
	}
	expected, counted := sizes(t, stderr, "expected at most"), sizes(t, stderr, "host memory: ")
	t.Logf("%s of %s: resident %s at most (anonymous %s, of files %s); expected %s + %s; %s of states in files", l.kind, mebibytes(l.limit),
		vk.Bytes(p.resident), vk.Bytes(p.anonymous), vk.Bytes(p.file), vk.Bytes(expected[0]), vk.Bytes(expected[1]), vk.Bytes(counted[2]))
	if raw, err := os.ReadFile(filepath.Join(l.dir, "memory.max_usage_in_bytes")); l.dir != "" && err == nil {
		t.Logf("the cgroup held %s bytes at most, cached files included", strings.TrimSpace(string(raw)))
	}
	if p.resident > host+device {
		t.Errorf("%s resident, allowed are %s of host and %s of device memory", vk.Bytes(p.resident), vk.Bytes(host), vk.Bytes(device))
	}
	// What was reserved of a device and not touched yet is not resident: the prediction is rather too high.
	if both := float64(expected[0] + expected[1]); float64(p.resident) < 0.7*both || float64(p.resident) > 1.15*both {
		t.Errorf("%s resident, predicted were %s", vk.Bytes(p.resident), vk.Bytes(int64(both)))
	}
	if spills && counted[2] == 0 {
		t.Error("no states went to files")
	}
	if left, err := os.ReadDir(spill); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
	sameWeights(t, free, out)
}
