package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vkcome/vkcome/prune"
)

// bench makes and measures rows.
type bench struct {
	settings
	rows   []row
	others []row // that are made only where rows are made of them
}

// record is what is done of a row: its file.
type record struct {
	row
	Steps []step `json:"steps"`
}

// step is a command that was run.
type step struct {
	Name    string          `json:"name"` // "make 0" and so on; else what it measures
	Command string          `json:"command"`
	Seconds float64         `json:"seconds"`
	CPU     float64         `json:"cpu_seconds"` // of all cores, which does not count what else the machine does
	Output  json.RawMessage `json:"output,omitempty"`
}

// measures are the commands that measure a model, by the name of a group. {model} is the model, {data} the data, {window} and {windows} the flags, the others those of tasks.
var measures = map[string][]struct{ name, command string }{
	"windows": {
		{"wikitext2-windows", "eval ppl {model} --text {data}/text/wikitext2-test.txt --window {window} --samples {windows} --json --quiet"},
		{"heldout-windows", "eval ppl {model} --text {data}/text/heldout-sample.txt --window {window} --samples {windows} --json --quiet"},
	},
	"texts": {
		{"wikitext2", "eval ppl {model} --text {data}/text/wikitext2-test.txt --window {window} --json --quiet"},
		{"heldout", "eval ppl {model} --text {data}/text/heldout-sample.txt --window {window} --json --quiet"},
	},
	"tasks": {
		{tasksStep, "eval tasks {model} --tasks come7 --limit {docs} --data {data}/eval-data --cache {cache} --log-samples --output {results} --quiet"},
	},
}

const tasksStep = "tasks"

func newBench(s settings, rows, others []row) (*bench, error) {
	b := &bench{s, rows, others}
	for i, r := range rows {
		if slices.ContainsFunc(rows[:i], func(other row) bool { return other.Name == r.Name }) {
			return nil, fmt.Errorf("two rows are called %s", r.Name)
		}
		for _, name := range r.needs() {
			if b.row(name) == nil && !b.made(name) {
				return nil, fmt.Errorf("row %s is made of the model of row %s, which is not among the rows", r.Name, name)
			}
		}
	}
	for _, name := range s.measures {
		if measures[name] == nil {
			return nil, fmt.Errorf("-measures: %q, expected some of windows, texts, tasks", name)
		}
	}
	if s.window < 1 || s.tokens < s.window || s.windows < 1 || s.docs < 1 {
		return nil, fmt.Errorf("-tokens %d, -window %d, -windows %d, -docs %d: expected a window and a document at least", s.tokens, s.window, s.windows, s.docs)
	}
	if s.healSteps < 0 {
		return nil, fmt.Errorf("-heal-steps %d: expected 0 or more", s.healSteps)
	}
	if b.model == "" {
		b.model = b.path("model")
	}
	for _, name := range []string{"text/train-sample.txt", "text/c4-sample.jsonl", "text/wikitext2-test.txt", "text/heldout-sample.txt", "eval-data"} {
		if _, err := os.Stat(filepath.Join(s.data, name)); err != nil {
			return nil, fmt.Errorf("%w; -data (QUALITY_DATA) names the folder of texts and tasks", err)
		}
	}
	return b, os.MkdirAll(b.path("rows"), 0o755)
}

func (b *bench) row(name string) *row {
	for _, list := range [][]row{b.rows, b.others} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// modelOf is the folder of a row's model.
func (b *bench) modelOf(name string) string {
	if name == dense {
		return b.model
	}
	if r := b.row(name); r != nil && r.On != "" {
		return prune.StepDir(b.path("models", r.On), r.Layers)
	}
	return b.path("models", name)
}

// made says whether a row's model is there. vkcome gives it its name when it is whole.
func (b *bench) made(name string) bool {
	_, err := os.Stat(filepath.Join(b.modelOf(name), "config.json"))
	return err == nil
}

func (b *bench) file(name string) string    { return b.path("rows", name+".json") }
func (b *bench) results(name string) string { return b.path("rows", name+".tasks", "results.json") }

// read reads what is done of a row. What was made by other commands than now is refused, as the table would have rows of two kinds.
func (b *bench) read(r *row) (*record, error) {
	raw, err := os.ReadFile(b.file(r.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return &record{row: *r}, nil
	}
	if err != nil {
		return nil, err
	}
	done := &record{}
	if err := json.Unmarshal(raw, done); err != nil {
		return nil, fmt.Errorf("%s: %w", b.file(r.Name), err)
	}
	for _, s := range done.Steps {
		if now := b.command(r, s.Name); now != s.Command {
			return nil, fmt.Errorf("%s: %s was done by\n\t%s\nand would now be done by\n\t%s\nRemove the file to do it again, or choose another -out", b.file(r.Name), s.Name, s.Command, now)
		}
	}
	done.row = *r
	return done, nil
}

func (b *bench) write(done *record) error {
	raw, err := json.MarshalIndent(done, "", "  ")
	if err != nil {
		return err
	}
	return replace(b.file(done.Name), append(raw, '\n'))
}

// replace writes a file, which is whole or as before.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (d *record) step(name string) *step {
	for i := range d.Steps {
		if d.Steps[i].Name == name {
			return &d.Steps[i]
		}
	}
	return nil
}

// put keeps a step, in place of the one of its name.
func (d *record) put(s step) {
	if had := d.step(s.Name); had != nil {
		*had = s
		return
	}
	d.Steps = append(d.Steps, s)
}

const makeStep = "make "

// makes are the names of the steps that make a row's model.
func (r *row) makes() (names []string) {
	for i := range r.Commands {
		names = append(names, makeStep+strconv.Itoa(i))
	}
	return names
}

// command is a step's of a row, as one would type it.
func (b *bench) command(r *row, name string) string {
	args := b.args(r, name)
	for i, a := range args {
		if strings.ContainsAny(a, " '\"$\\") {
			args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(append([]string{"vkcome"}, args...), " ")
}

func (b *bench) args(r *row, name string) []string {
	if at, ok := strings.CutPrefix(name, makeStep); ok {
		if i, err := strconv.Atoi(at); err == nil && i >= 0 && i < len(r.Commands) {
			return b.arguments(r, r.Commands[i])
		}
		return nil
	}
	var args []string
	for _, group := range measures {
		for _, m := range group {
			if m.name != name {
				continue
			}
			put := strings.NewReplacer("{model}", b.modelOf(r.Name), "{data}", b.data, "{window}", strconv.Itoa(b.window), "{windows}", strconv.Itoa(b.windows), "{docs}", strconv.Itoa(b.docs), "{cache}", b.path("cache"), "{results}", b.results(r.Name))
			for _, word := range strings.Fields(m.command) {
				args = append(args, put.Replace(word))
			}
		}
	}
	return args
}

// left are the measures that a row lacks.
func (b *bench) left(done *record) (names []string) {
	for _, group := range b.measures {
		for _, m := range measures[group] {
			if done.step(m.name) == nil {
				names = append(names, m.name)
			}
		}
	}
	return names
}

// errEnough ends a run whose time is over.
var errEnough = errors.New("the time is over")

// run makes and measures all rows, and writes the table after each. A row that fails is told, and tried again by the next run.
func (b *bench) run(ctx context.Context) (err error) {
	if err := b.fetch(ctx); err != nil {
		return err
	}
	failed := 0
	for i := range b.rows {
		r := &b.rows[i]
		err := b.do(ctx, r)
		if errors.Is(err, errEnough) || ctx.Err() != nil {
			fmt.Fprintf(b.told, "stopped before row %s was done; the same command goes on\n", r.Name)
			break
		}
		if err != nil {
			failed++
			fmt.Fprintf(b.told, "row %s: %v\n", r.Name, err)
			if r.Name == dense {
				break
			}
			continue
		}
		if err := errors.Join(b.writeTable(), b.drop(i)); err != nil {
			return err
		}
	}
	if err := b.writeTable(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d rows failed", failed)
	}
	return nil
}

// do does what is left of a row.
func (b *bench) do(ctx context.Context, r *row) error {
	done, err := b.read(r)
	if err != nil {
		return err
	}
	left := b.left(done)
	if len(left) == 0 {
		return nil
	}
	if err := b.make(ctx, r); err != nil {
		return err
	}
	if done, err = b.read(r); err != nil { // with the steps that made it
		return err
	}
	for _, name := range left {
		if name == tasksStep {
			if err := os.RemoveAll(filepath.Dir(b.results(r.Name))); err != nil { // of a run that was stopped
				return err
			}
			if err := os.MkdirAll(filepath.Dir(b.results(r.Name)), 0o755); err != nil {
				return err
			}
		}
		s, err := b.runStep(ctx, r, name)
		if err != nil {
			return err
		}
		if name == tasksStep {
			s.Output = nil // the results are a file
		}
		done.put(s)
		if err := b.write(done); err != nil {
			return err
		}
	}
	return nil
}

// make makes a row's model, and those that it is made of, where they are not there.
func (b *bench) make(ctx context.Context, r *row) error {
	if b.made(r.Name) {
		return nil
	}
	for _, name := range r.needs() {
		other := b.row(name)
		if other == nil { // newBench saw that it is there
			continue
		}
		if r.On != "" { // a run whose model is there does not write this one any more: it is done again
			if err := b.remove(other.Name); err != nil {
				return err
			}
		}
		if err := b.make(ctx, other); err != nil {
			return err
		}
	}
	if r.On != "" {
		if !b.made(r.Name) {
			return fmt.Errorf("%s: no model of %d layers is on the way to the one of row %s", b.modelOf(r.Name), r.Layers, r.On)
		}
		return nil
	}
	if err := b.remove(r.Name); err != nil { // what is left of a run that was stopped
		return err
	}
	if err := os.MkdirAll(b.path("models"), 0o755); err != nil {
		return err
	}
	done, err := b.read(r)
	if err != nil {
		return err
	}
	for _, name := range r.makes() {
		s, err := b.runStep(ctx, r, name)
		if err != nil {
			return err
		}
		s.Output = nil // text for people
		done.put(s)
		if err := b.write(done); err != nil {
			return err
		}
	}
	if !b.made(r.Name) {
		return fmt.Errorf("%s: no model is there after its commands", b.modelOf(r.Name))
	}
	return nil
}

// folders are a row's model, where it is there or not, those that its run wrote on the way, and what an unfinished run keeps beside it.
func (b *bench) folders(name string) ([]string, error) {
	out := b.modelOf(name)
	steps, err := filepath.Glob(out + ".L*") // no name of a row means anything else in a pattern
	return append(steps, out, prune.DefaultWork(out)), err
}

// remove removes them.
func (b *bench) remove(name string) error {
	list, err := b.folders(name)
	for _, dir := range list {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// drop removes what rows up to the i-th left, and those that they were made of or with, but for the models of rows after it and what these are made of.
func (b *bench) drop(i int) error {
	if b.keep {
		return nil
	}
	needed := map[string]bool{b.model: true}
	for _, r := range b.rows[i+1:] {
		for _, name := range append(r.needs(), r.Name) {
			needed[b.modelOf(name)] = true
		}
	}
	for _, r := range b.rows[:i+1] {
		for _, name := range append(r.needs(), r.Name) {
			list, err := b.folders(name)
			if err != nil {
				return err
			}
			for _, dir := range list {
				if needed[dir] {
					continue
				}
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// runStep runs a step. Its standard output is JSON where it measures.
func (b *bench) runStep(ctx context.Context, r *row, name string) (s step, err error) {
	if !b.until.IsZero() && time.Now().After(b.until) {
		return s, errEnough
	}
	s = step{Name: name, Command: b.command(r, name)}
	fmt.Fprintf(b.told, "%s  %s: %s\n", time.Now().Format("15:04:05"), r.Name, s.Command)
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, b.vkcome, b.args(r, name)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%s: %w\n%s", s.Command, err, tail(said.String()))
	}
	s.Seconds = time.Since(begin).Seconds()
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if json.Valid(out.Bytes()) {
		s.Output = out.Bytes()
	}
	fmt.Fprintf(b.told, "%s  %s: %.0f s, %.0f s of CPU\n", time.Now().Format("15:04:05"), r.Name, s.Seconds, s.CPU)
	return s, nil
}

// tail is the end of what a program said.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// list writes the rows with what is left to do of each.
func (b *bench) list(w io.Writer) error {
	for i := range b.rows {
		r := &b.rows[i]
		done, err := b.read(r)
		if err != nil {
			return err
		}
		left := b.left(done)
		if len(left) == 0 {
			fmt.Fprintf(w, "%s: done\n", r.Name)
			continue
		}
		fmt.Fprintf(w, "%s:\n", r.Name)
		if !b.made(r.Name) {
			left = append(r.makes(), left...)
		}
		for _, name := range left {
			fmt.Fprintf(w, "\t%s\n", b.command(r, name))
		}
	}
	return nil
}
