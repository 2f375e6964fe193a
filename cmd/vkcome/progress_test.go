package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune/distill"
)

// TestProgressLine: a line has fewer cells than the terminal, whatever the stage is called; the numbers are the last to go.
func TestProgressLine(t *testing.T) {
	memory := []string{"host 1.2 GiB", "device 300 MiB"}
	training := &distill.Status{Loss: 0.0123, HeldOut: 0.0456, Tokens: 1234}
	for _, stage := range []string{"score 12 layers", "模型的第三层正在训练", "e\u0301e\u0301e\u0301 👩‍👩‍👧 family", "\x1b[31mred\r\n", "", strings.Repeat("long ", 100)} {
		for width := range 220 {
			for _, s := range []state{{stage: stage, done: 12, total: 40}, {stage: stage, done: 3 << 30, total: 5 << 30, bytes: true}, {stage: stage, done: 7, total: 0, training: training}} {
				line := progressLine(width, s, 80*time.Second, 3*time.Minute, true, memory)
				if cells := uniseg.StringWidth(line); cells >= max(1, width) || strings.ContainsAny(line, "\x1b\r\n") {
					t.Fatalf("width %d: %d cells: %q", width, cells, line)
				}
			}
		}
	}
	s := state{stage: "score 12 layers", done: 12, total: 40}
	for width, want := range map[int]string{

		12:  "scor… 12/40",
		40:  "score 12 layers 12/40  30 %  3m00s left",
		80:  "score 12 layers 12/40  30 %  1m20s  3m00s left  host 1.2 GiB  device 300 MiB",
		120: "score 12 layers 12/40  [#########.....................]  30 %  1m20s  3m00s left  host 1.2 GiB  device 300 MiB",
	} {
		if got := progressLine(width, s, 80*time.Second, 3*time.Minute, true, memory); got != want {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
	s.training = training
	if got := progressLine(200, s, 80*time.Second, 0, false, nil); !strings.HasSuffix(got, "1m20s  loss 0.0123  held out 0.0456  1,234 tokens/s") || strings.Contains(got, "left") {
		t.Errorf("training: %q", got)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59400 * time.Millisecond: "59s", 59600 * time.Millisecond: "1m00s", 61 * time.Second: "1m01s", 3599 * time.Second: "59m59s", 2*time.Hour + 7*time.Minute: "2h07m", 100 * time.Hour: "100h00m"} {
		if got := clock(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// TestRate: what came at once is forgotten, bursts are spread, and an item that hangs makes the estimate longer, not shorter.
func TestRate(t *testing.T) {
	begin := time.Unix(1e9, 0)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	near := func(what string, r *rate, now float64, total int, want float64) {
		t.Helper()
		if got, ok := r.left(at(now), total); !ok || got.Seconds() < 0.8*want || got.Seconds() > 1.25*want {
			t.Errorf("%s: %v, %v; want some %v s", what, got, ok, want)
		}
	}
	var steady rate
	if _, ok := steady.left(at(10), 100); ok {
		t.Error("an estimate of nothing")
	}
	for i := range 51 {
		steady.add(at(float64(i)), i)
	}
	near("steady", &steady, 50, 100, 50)
	near("within an item", &steady, 50.5, 100, 49.5)
	if left, ok := steady.left(at(51), 50); ok {
		t.Errorf("all is done, and %v is left", left)
	}
	previous := 0.0
	for _, hangs := range []float64{2, 10, 60, 600} {
		left, ok := steady.left(at(50+hangs), 100)
		if !ok || left.Seconds() <= previous {
			t.Errorf("an item hangs for %v s: %v, %v after %v s", hangs, left, ok, previous)
		}
		previous = left.Seconds()
	}
	var early rate
	if early.add(at(0), 0); true {
		early.add(at(1), 1)
	}
	if left, ok := early.left(at(1.5), 10); ok {
		t.Errorf("after a second and a half: %v", left)
	}
	var cached rate // 900 of 1000 at once, then one a second
	cached.add(at(0), 0)
	cached.add(at(0.01), 900)
	for i := range 41 {
		cached.add(at(0.01+float64(i)), 900+i)
	}
	near("after a cache", &cached, 40.01, 1000, 60)
	var bursts rate // 10 at once every 10 seconds
	for i := range 201 {
		bursts.add(at(float64(i/10*10)+float64(i%10)/1000), i)
	}
	near("bursts", &bursts, 200, 400, 200)
	var many rate // more points than are kept, in random steps
	rng := rand.New(rand.NewPCG(1, 2))
	seconds, done := 0.0, 0
	for range 10_000 {
		seconds += rng.ExpFloat64()
		done++
		many.add(at(seconds), done)
		if len(many.points) > maxPoints {
			t.Fatalf("%d points", len(many.points))
		}
	}
	near("many", &many, seconds, 20_000, 10_000)
	many.add(at(seconds+1), 5)
	if _, ok := many.left(at(seconds+10), 20_000); ok || len(many.points) != 1 {
		t.Error("a step back does not begin anew")
	}
}

// written is what a terminal without escape sequences shows of what was written to it.
func written(t *testing.T, text string) (lines []string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\x08\u009b") {
		t.Fatalf("an escape sequence: %q", text)
	}
	line, at := []rune{}, 0
	for _, r := range text {
		switch r {
		case '\n':
			lines = append(lines, strings.TrimRight(string(line), " "))
			line, at = nil, 0
		case '\r':
			at = 0
		default:
			if at < len(line) {
				line[at] = r
			} else {
				line = append(line, r)
			}
			at++
		}
	}
	return append(lines, strings.TrimRight(string(line), " "))
}

func TestMessages(t *testing.T) {
	var out bytes.Buffer
	m := &messages{w: &out, width: func() int { return 40 }}
	m.draw("")
	m.write("before\n")
	m.draw("stage 1/9  a long line of progress")
	m.draw("stage 2/9")
	m.write("note\n")
	m.draw("stage 3/9 ")
	m.write("another\n")
	m.draw("")
	m.write("after\n")
	if got, want := fmt.Sprintf("%q", written(t, out.String())), `["before" "note" "another" "after" ""]`; got != want {
		t.Errorf("%s, want %s; written %q", got, want, out.String())
	}
	out.Reset()
	m.draw("stage 1/9  a long line of progress")
	m.draw("stage 2/9")
	if got := written(t, out.String()); len(got) != 1 || got[0] != "stage 2/9" || !strings.HasSuffix(out.String(), "stage 2/9") {
		t.Errorf("%q", out.String())
	}
	m.width = func() int { return 12 } // narrower now: what is written over stays on one line
	out.Reset()
	m.line = strings.Repeat("x", 39)
	m.draw("y")
	for part := range strings.SplitSeq(out.String(), "\r") {
		if len(part) >= 12 {
			t.Errorf("%q on a terminal of 12 cells", part)
		}
	}
}

// TestBar draws from several goroutines, with notes between, as fast as it can: no more than the line allows is drawn, and it is gone in the end.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	before, terminalBefore := screen, onTerminal
	defer func() { screen, onTerminal = before, terminalBefore }()
	screen, onTerminal = &messages{w: &out, width: func() int { return 60 }}, true
	c := &common{}
	b := c.bar()
	var others sync.WaitGroup
	for i := range 3 {
		others.Go(func() {
			for k := range 20 {
				say(fmt.Sprintf("note %d of %d", k, i))
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	begin, steps := time.Now(), 0
	for time.Since(begin) < 500*time.Millisecond {
		b.set("stage", steps%1000, 1000)
		steps++
	}
	b.train(&distill.Status{Stage: "layer 3", Done: 1, Total: 2, Loss: 1, Tokens: 5})
	others.Wait()
	b.finish()
	b.finish()
	took := time.Since(begin)
	lines := written(t, out.String())
	if len(lines) != 61 || lines[60] != "" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines[:60] {
		if !strings.HasPrefix(line, "note ") {
			t.Errorf("torn: %q", line)
		}
	}
	// Each note writes the line again, and so does each tick; two stages began.
	if drawn, most := strings.Count(out.String(), "stage "), 2*(60+2+int(took/redraw)+1); drawn > most || drawn == 0 {
		t.Errorf("drawn %d times in %v with %d steps, at most %d were expected", drawn, took, steps, most)
	}
	b.set("again", 1, 2)
	b.finish()
	quiet := &common{quiet: true}
	out.Reset()
	q := quiet.bar()
	q.set("stage", 1, 2)
	q.finish()
	if out.Len() > 0 {
		t.Errorf("quiet: %q", out.String())
	}
}

// logged parses lines of --log-format json.
func logged(t *testing.T, stderr string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if when, err := time.Parse(time.RFC3339, v["time"].(string)); err != nil || time.Since(when).Abs() > time.Hour {
			t.Errorf("time %v: %v", v["time"], err)
		}
		list = append(list, v)
	}
	return list
}

func TestLogFormat(t *testing.T) {
	dir := t.TempDir()
	prune := func(args ...string) []string {
		return append([]string{"prune", embedded.Name, filepath.Join(dir, "out"), "--tokens", calib, "--window", "64", "--samples", "4", "--target-layers", "11", "-m", "shortgpt"}, args...)
	}
	stdout, stderr, code := try(t, prune("--log-format", "json")...)
	if code != 0 || !strings.Contains(string(stdout), "\nmade: 12 → 11 layers, 2,886,784 → 2,689,920 parameters (6.8 % fewer), ") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	var stages []string
	messages := 0
	for _, v := range logged(t, stderr) {
		if v["level"] != "info" || v["error"] != nil {
			t.Errorf("%v", v)
		}
		if stage, ok := v["stage"].(string); ok {
			stages = append(stages, stage)
			if v["done"].(float64) > v["total"].(float64) || v["device_bytes"] == nil && stage == "score" {
				t.Errorf("%v", v)
			}
		} else if v["message"] != "" {
			messages++
		}
	}
	if len(stages) < 3 || messages == 0 {
		t.Errorf("stages %q, %d messages: %s", stages, messages, stderr)
	}
	// The four lines, in their order.
	text := strings.TrimSuffix(string(stdout), "\n")
	lines := strings.Split(text, "\n")
	for i, start := range []string{"made: ", "cost: ", "quality: not measured; to measure: vkcome eval ppl ", "result: " + shellWord(filepath.Join(dir, "out")) + "; next: vkcome inspect "} {
		if at := len(lines) - 4 + i; at < 0 || !strings.HasPrefix(lines[at], start) {
			t.Errorf("line %d of the summary: %q in %s", i+1, start, text)
		}
	}
	for _, args := range [][]string{prune("--log-format", "json"), prune("--log-format=json", "-q"), {"prune", "--nosuch", "--log-format", "json"}, {"prune", "--log-format=json", "x"}} {
		_, stderr, code := try(t, args...)
		list := logged(t, stderr)
		if last := list[len(list)-1]; code == 0 || last["level"] != "error" || last["error"] == "" || last["message"] != nil || args[len(args)-1] == "-q" && len(list) != 1 {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
	refuse(t, 2, `"xml", expected text or json`, "eval", "ppl", embedded.Name, "--log-format", "xml")
}

// TestPlainStderr: no carriage return and no escape sequence leaves for what is no terminal, and no escape sequence for one.
func TestPlainStderr(t *testing.T) {
	args := []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--window", "64", "--samples", "8"}
	if _, stderr, code := try(t, args...); code != 0 || strings.ContainsAny(stderr, "\r\x1b") {
		t.Errorf("exit %d: %q", code, stderr)
	}
	for _, env := range [][2]string{{"TERM", "xterm-256color"}, {"TERM", "dumb"}, {"NO_COLOR", "1"}} {
		t.Setenv(env[0], env[1])
		got := onTTY(t, args...)
		if strings.Contains(got, "\x1b") || !strings.Contains(got, "\rlayers ") && !strings.HasPrefix(got, "layers ") {
			t.Errorf("%s=%s: %q", env[0], env[1], got)
		}
	}
}
