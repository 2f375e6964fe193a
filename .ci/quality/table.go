package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/eval"
)

// table is what is done, as JSON.
type table struct {
	Model   string `json:"model"`
	Hash    string `json:"model_sha256"`
	Version string `json:"vkcome"`
	Device  string `json:"device"`
	Tokens  int    `json:"calibration_tokens"`
	Window  int    `json:"window"`
	Windows int    `json:"windows"`   // of each text, of the perplexities of windows
	Docs    int    `json:"documents"` // of each task
	Rows    []line `json:"rows"`
}

// line is a row of the table.
type line struct {
	record
	Perplexity map[string]float64 `json:"perplexity"`
	Tasks      *eval.Side         `json:"tasks"` // the dense model and this one
	CPU        float64            `json:"cpu_seconds_to_make"`
}

// texts are the columns of perplexity, in their order, by the names of their steps.
var texts = []struct{ step, title string }{
	{"wikitext2-windows", "WikiText-2, windows"}, {"heldout-windows", "held-out, windows"}, {"wikitext2", "WikiText-2"}, {"heldout", "held-out"},
}

// collect reads what is done of all rows. A row of which nothing is measured is left out.
func (b *bench) collect() (*table, error) {
	t := &table{Model: b.model, Tokens: b.tokens, Window: b.window, Windows: b.windows, Docs: b.docs}
	var first *eval.Results
	var problems []error
	for i := range b.rows {
		done, err := b.read(&b.rows[i])
		if err != nil {
			problems = append(problems, err)
			continue
		}
		l := line{record: *done, Perplexity: map[string]float64{}}
		for _, text := range texts {
			s := done.step(text.step)
			if s == nil {
				continue
			}
			var out struct{ Perplexity *float64 }
			if err := json.Unmarshal(s.Output, &out); err != nil || out.Perplexity == nil {
				return nil, fmt.Errorf("%s: %s has no perplexity: %w", b.file(done.Name), text.step, err)
			}
			l.Perplexity[text.step] = *out.Perplexity
		}
		if done.step(tasksStep) != nil {
			r, err := eval.ReadResults(b.results(done.Name))
			if err != nil {
				return nil, err
			}
			r.ModelName = done.Name
			if done.Name == dense {
				first = r
				t.Hash, t.Version, t.Device = r.Run.ModelHash, r.Run.Version, r.Run.Device+", "+r.Run.DriverVersion
			}
			if first != nil {
				if l.Tasks, err = eval.NewSide(context.Background(), []*eval.Results{first, r}); err != nil {
					return nil, err
				}
			}
		}
		if l.CPU, err = b.cost(done.Name); err != nil {
			return nil, err
		}
		if len(l.Perplexity) > 0 || l.Tasks != nil {
			t.Rows = append(t.Rows, l)
		}
	}
	return t, errors.Join(problems...)
}

// cost is the time of all cores that a row's model took, with those that it is made of.
func (b *bench) cost(name string) (seconds float64, err error) {
	r := b.row(name)
	if r == nil {
		return 0, nil
	}
	done, err := b.read(r)
	if err != nil {
		return 0, err
	}
	for _, name := range r.makes() {
		if s := done.step(name); s != nil {
			seconds += s.CPU
		}
	}
	for _, other := range r.needs() {
		more, err := b.cost(other)
		if err != nil {
			return 0, err
		}
		seconds += more
	}
	return seconds, nil
}

// writeTable writes table.md and table.json. Rows that were made by other commands than now are left out, and told.
func (b *bench) writeTable() error {
	t, problems := b.collect()
	if t == nil || len(t.Rows) == 0 {
		return problems
	}
	raw, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(problems, replace(b.path("table.json"), append(raw, '\n')), replace(b.path("table.md"), []byte(t.markdown())))
}

// markdown is the table for people: a line for each row, then the accuracy and what is above chance of each task, then the commands.
func (t *table) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s (SHA-256 %.12s…), vkcome %s, %s. Calibration: %d tokens in windows of %d. Perplexity\nof windows: %d of each text. Tasks: %d documents of each.\n\n", t.Model, t.Hash, t.Version, t.Device, t.Tokens, t.Window, t.Windows, t.Docs)
	head, rule := "| layers | method | repair |", "|---:|---|---|"
	var shown []string
	for _, text := range texts {
		for _, l := range t.Rows {
			if _, ok := l.Perplexity[text.step]; ok {
				shown = append(shown, text.step)
				head, rule = head+" "+text.title+" |", rule+"---:|"
				break
			}
		}
	}
	w.WriteString(head + " accuracy | retained | above chance | CPU s to make |\n" + rule + "---:|---:|---:|---:|\n")
	for _, l := range t.Rows {
		layers := ""
		if l.Layers > 0 {
			layers = fmt.Sprint(l.Layers)
		}
		fmt.Fprintf(&w, "| %s | %s | %s |", layers, l.Method, l.Repair)
		for _, name := range shown {
			if v, ok := l.Perplexity[name]; ok {
				fmt.Fprintf(&w, " %.2f |", v)
			} else {
				w.WriteString(" |")
			}
		}
		if s := l.Tasks; s != nil {
			fmt.Fprintf(&w, " %.4f | %.1f %% | %s |", float64(s.Means[1]), 100*float64(s.Retain[1]), s.Above[1])
		} else {
			w.WriteString(" | | |")
		}
		most := ""
		if l.On != "" { // the run that made the model went on to fewer layers
			most = "≤ "
		}
		fmt.Fprintf(&w, " %s%.0f |\n", most, l.CPU)
	}
	w.WriteString(t.tasks())
	w.WriteString("\nThe commands:\n\n```sh\n")
	for _, l := range t.Rows {
		for _, s := range l.Steps {
			fmt.Fprintf(&w, "%s   # %.0f s, %.0f s of CPU\n", s.Command, s.Seconds, s.CPU)
		}
	}
	w.WriteString("```\n")
	return w.String()
}

// tasks is the table of tasks: the accuracy, and the share of what is above chance.
func (t *table) tasks() string {
	var w strings.Builder
	for _, l := range t.Rows {
		if l.Tasks == nil {
			continue
		}
		if w.Len() == 0 {
			w.WriteString("\n| row |")
			rule, chance := "|---|", "| chance |"
			for _, r := range l.Tasks.Rows {
				fmt.Fprintf(&w, " %s |", r.Task)
				rule += "---:|"
				if r.Chance != nil {
					chance += fmt.Sprintf(" %.4f", *r.Chance)
				}
				chance += " |"
			}
			w.WriteString("\n" + rule + "\n" + chance + "\n")
		}
		fmt.Fprintf(&w, "| %s |", l.Name)
		for _, r := range l.Tasks.Rows {
			fmt.Fprintf(&w, " %.4f", float64(r.Values[1]))
			if l.Name != dense {
				fmt.Fprintf(&w, " (%s)", r.Above[1])
			}
			w.WriteString(" |")
		}
		w.WriteString("\n")
	}
	if w.Len() == 0 {
		return ""
	}
	return w.String() + "\nIn brackets: what is left of the dense model's accuracy above chance, ± its standard error; with a question mark where the dense model is\nabove chance by less than 1.96 standard errors.\n"
}
