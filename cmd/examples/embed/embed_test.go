package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk/vktest/faultlayer"
)

const asProgram, asCycles = "VKCOME_TEST_EMBED", "VKCOME_TEST_CYCLES"

// goThrough is what the process of TestCycles does, where there is that test.
var goThrough func(what string) error

// TestMain is the program itself for the tests below: the layer that lets calls fail is chosen when a process begins. Or it is the process
// whose memory TestCycles looks at.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if goThrough != nil && os.Getenv(asCycles) != "" {
		if err := goThrough(os.Getenv(asCycles)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// plain is the environment without validation, which holds memory of its own and other layers than those that a test chooses.
func plain() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VKCOME_VALIDATE=") })
}

// tourIn runs the program in an environment.
func tourIn(t *testing.T, env []string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stdout, cmd.Stderr = append(env, asProgram+"=1"), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &errs)
	}
	return out.String()
}

// results are the lines of a tour that are the same whatever happens to devices on the way.
func results(out string) string {
	var kept []string
	for _, line := range strings.Split(regexp.MustCompile(`/\S*vkcome-embed-\d+`).ReplaceAllString(out, "TMP"), "\n") {
		if !strings.HasPrefix(line, "  ") && !strings.Contains(line, " is lost: ") && !strings.HasPrefix(line, "to 10 layers") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func TestTour(t *testing.T) {
	layer, cache := faultlayer.Build(t), t.TempDir()
	table := filepath.Join(t.TempDir(), "counts")
	environ := append(plain(), "XDG_CACHE_HOME="+cache)
	out := tourIn(t, layer.Env(environ, faultlayer.Fault{}, table))
	for _, want := range []string{
		`^device 0: .+\n`,
		`not copied whole: .*damaged/model.safetensors: truncated: `,
		`\nLlamaForCausalLM: 12 layers of 128 channels, 2886784 parameters, 5773568 bytes\n`,
		`\nto 10 layers by come: at most \d+ s and \d+ MiB of the device\n`,
		`\n  score 12 layers\n(.*\n)*  score 11 layers\n(.*\n)*  write\n`,
		`\npruned from 12 to 10 layers in 2 steps\n`,
		`\ncancelled after 1 step: no output \(true\), and work in .tiny9.vkcome-work\n`,
		`\nresumed: 9 layers, and the work is gone \(true\)\n`,
		`\nit writes "The film is .+", and its perplexity is \d+\.\d on 252 tokens\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(out, "is lost") || t.Failed() {
		t.Fatal(out)
	}
	counts := map[string]uint64{}
	for _, c := range faultlayer.Counts(t, table) {
		counts[c.Call] = c.N
	}
	// A device is lost early, between and late, as a submission and as a wait find out.
	for _, f := range []faultlayer.Fault{
		{Call: "vkQueueSubmit", At: 1},
		{Call: "vkWaitForFences", At: counts["vkQueueSubmit"] / 2}, // each submission is waited for once or, where it takes long, more often
		{Call: "vkQueueSubmit", At: counts["vkQueueSubmit"] * 3 / 4},
	} {
		f.Result = faultlayer.DeviceLost
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			got := tourIn(t, layer.Env(environ, f, filepath.Join(t.TempDir(), "counts")))
			if n := strings.Count(got, " is lost: "); n != 1 {
				t.Errorf("%d devices were lost, want one:\n%s", n, got)
			}
			if results(got) != results(out) {
				t.Errorf("got\n%s\nwithout the loss\n%s", results(got), results(out))
			}
		})
	}
}
