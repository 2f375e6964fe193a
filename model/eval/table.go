package eval

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/printable"
)

// table is a Markdown table whose columns are as wide as what is in them.
type table struct {
	head []string
	text []bool // columns that begin at the left; numbers end at the right
	rows [][]string
}

// maxCell bounds a cell, in bytes: every row is as wide as the longest name of a stranger's file.
const maxCell = 200

func (t *table) add(row ...string) {
	for i, cell := range row {
		row[i] = printable.Clip(printable.Line(cell), maxCell)
	}
	t.rows = append(t.rows, row)
}

func (t *table) String() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(cell func(i int) string) {
		for i := range t.head {
			b.WriteString("|" + cell(i))
		}
		b.WriteString("|\n")
	}
	spaces := func(n int) string { return strings.Repeat(" ", n) }
	line(func(i int) string {
		n := width[i] - utf8.RuneCountInString(t.head[i])
		return spaces(n/2) + t.head[i] + spaces(n-n/2)
	})
	line(func(i int) string {
		if t.text[i] {
			return strings.Repeat("-", width[i])
		}
		return strings.Repeat("-", width[i]-1) + ":"
	})
	for _, row := range t.rows {
		line(func(i int) string {
			n := width[i] - utf8.RuneCountInString(row[i])
			if t.text[i] {
				return row[i] + spaces(n)
			}
			return spaces(n) + row[i]
		})
	}
	return b.String()
}

// Table is the results as a Markdown table like lm-eval's.
func (r *Results) Table() string { return r.table("Tasks", r.Results) }

// GroupTable is the results of the groups, "" where there are none.
func (r *Results) GroupTable() string {
	if len(r.Groups) == 0 {
		return ""
	}
	return r.table("Groups", r.Groups)
}

func (r *Results) table(title string, all map[string]Metrics) string {
	t := table{
		head: []string{title, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"},
		text: []bool{true, false, true, false, true, true, false, true, false},
	}
	for _, e := range r.order(all) {
		m := all[e.name]
		name := cmp.Or(m.Alias, e.name)
		if e.depth > 0 {
			name = strings.Repeat(" ", e.depth) + "- " + name
		}
		version, shots := fmt.Sprint(r.Versions[e.name]), ""
		if n, ok := r.Shots[e.name]; ok {
			shots = fmt.Sprint(n)
		}
		for _, key := range m.metrics() {
			metric, filter, _ := strings.Cut(key, ",")
			arrow := ""
			if better := r.HigherIsBetter[e.name][metric]; better != nil {
				if arrow = "↓"; *better {
					arrow = "↑"
				}
			}
			sign, deviation := "", ""
			if v, ok := m.stderr(key); ok {
				sign, deviation = "±", number(v)
			}
			t.add(name, version, filter, shots, metric, arrow, number(m.Values[key]), sign, deviation)
			name, version = "", ""
		}
	}
	return t.String()
}

// Number is a float64 that JSON has as null where it is not finite.
type Number float64

// MarshalJSON writes the number.
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); v-v == 0 {
		return json.Marshal(v)
	}
	return []byte("null"), nil
}

func number(v float64) string {
	if math.IsNaN(v) {
		return notAvailable
	}
	return fmt.Sprintf("%.4f", v)
}

// metrics are the keys of the metrics that are no standard error.
func (m Metrics) metrics() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.Values)), func(key string) bool {
		name, _, filtered := strings.Cut(key, ",")
		return !filtered || strings.HasSuffix(name, stderrEnd)
	})
}

const stderrEnd = "_stderr"

// stderr is the standard error of a metric.
func (m Metrics) stderr(key string) (float64, bool) {
	name, filter, _ := strings.Cut(key, ",")
	v, ok := m.Values[name+stderrEnd+","+filter]
	return v, ok
}

// entry is a task or a group in a table, and how many groups it is in.
type entry struct {
	name  string
	depth int
}

const maxDepth = 20 // of groups in groups, as tables show it

// order lists what of these names is in all: groups by name with what is in them, then tasks by name.
func (r *Results) order(all map[string]Metrics) []entry {
	var list []entry
	seen, inner := map[string]bool{}, map[string]bool{}
	for _, members := range r.GroupSubtasks {
		for _, name := range members {
			inner[name] = true
		}
	}
	var visit func(name string, depth int)
	visit = func(name string, depth int) {
		if seen[name] { // a stranger's file may have a group in itself, or in many others
			return
		}
		if _, ok := all[name]; ok {
			list = append(list, entry{name, min(depth, maxDepth)})
		}
		seen[name] = true
		for _, member := range slices.Sorted(slices.Values(r.GroupSubtasks[name])) {
			visit(member, depth+1)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.GroupSubtasks)) {
		if !inner[name] {
			visit(name, 0)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !seen[name] {
			list = append(list, entry{name, 0})
		}
	}
	return list
}

// Side is the scores of several models side by side, of which the first is what the others are measured by.
type Side struct {
	Models []string  `json:"models"`
	Rows   []SideRow `json:"rows"`
	Average
	Left []string `json:"left_out,omitempty"` // tasks and groups that not all have
}

// Average is the mean of accuracies, of each model.
type Average struct {
	Means   []Number `json:"average,omitempty"`
	Retain  []Number `json:"retained,omitempty"` // mean of a model over that of the first
	Over    []string `json:"average_over,omitempty"`
	Chance  *float64 `json:"chance"`                // the mean of those of the tasks with choices
	Above   []*Share `json:"above_chance"`          // of the average over these tasks
	Choices []string `json:"chance_over,omitempty"` // these tasks
}

// SideRow is a score of each model.
type SideRow struct {
	Task     string   `json:"task"`
	Metric   string   `json:"metric"`
	Higher   bool     `json:"higher_is_better"`
	Values   []Number `json:"values"`
	Retained []Number `json:"retained"` // of a model over that of the first
	Chance   *float64 `json:"chance"`   // of guessing, nil where there are no choices
	Above    []*Share `json:"above_chance"`
}

// chief are the metrics that stand for a task, the first that it has.
var chief = []string{"acc_norm", "acc", "word_perplexity", "perplexity"}

// NewSide puts the tasks that all results have side by side: of each the normalized accuracy, else the accuracy, else the perplexity; of a group of MMLU
// its accuracy and not those of its subjects. The average is that of come7's tasks where all of them are there, else of all accuracies.
func NewSide(ctx context.Context, all []*Results) (*Side, error) {
	same, left, err := common(all)
	if err != nil {
		return nil, err
	}
	var with []*pairs
	for _, r := range same {
		with = append(with, newPairs(ctx, same[0], r))
	}
	s, err := newSide(same, with)
	if err != nil {
		return nil, err
	}
	s.Left = left
	return s, nil
}

// newSide is NewSide of results that have all in common, and of the first with each.
func newSide(same []*Results, with []*pairs) (s *Side, err error) {
	s = &Side{}
	for _, r := range same {
		s.Models = append(s.Models, r.ModelName)
	}
	first := same[0]
	seven, inner := come7(), first.within()
	for _, e := range first.order(first.Results) {
		if inner[e.name] && !slices.Contains(seven, e.name) {
			continue
		}
		for _, metric := range chief {
			if slices.ContainsFunc(same, func(r *Results) bool { _, ok := r.Results[e.name].Values[metric+noFilter]; return !ok }) {
				continue
			}
			row := SideRow{Task: e.name, Metric: metric, Higher: !strings.HasSuffix(metric, "perplexity")}
			for _, r := range same {
				v := r.Results[e.name].Values[metric+noFilter]
				row.Values = append(row.Values, Number(v))
				row.Retained = append(row.Retained, Number(v)/row.Values[0])
			}
			if row.Chance, row.Above, _, err = shares(with, score{e.name, metric}); err != nil {
				return nil, err
			}
			s.Rows = append(s.Rows, row)
			break
		}
	}
	for _, row := range s.Rows {
		if row.Higher {
			s.Over = append(s.Over, row.Task)
		}
	}
	if whole := slices.DeleteFunc(slices.Clone(s.Over), func(name string) bool { return !slices.Contains(seven, name) }); len(whole) == len(seven) {
		s.Over = whole
	}
	if len(s.Over) == 0 {
		return s, nil
	}
	for i := range same {
		sum := Number(0)
		for _, row := range s.Rows {
			if slices.Contains(s.Over, row.Task) {
				sum += row.Values[i]
			}
		}
		s.Means = append(s.Means, sum/Number(len(s.Over)))
		s.Retain = append(s.Retain, s.Means[i]/s.Means[0])
	}
	var scores []score
	for _, row := range s.Rows {
		if slices.Contains(s.Over, row.Task) {
			scores = append(scores, score{row.Task, row.Metric})
		}
	}
	s.Chance, s.Above, s.Choices, err = shares(with, scores...)
	return s, err
}

// shares are those of the average of scores of every model.
func shares(with []*pairs, scores ...score) (chance *float64, all []*Share, over []string, err error) {
	for _, p := range with {
		var s *Share
		if chance, s, over, err = p.share(scores...); err != nil {
			return nil, nil, nil, err
		}
		all = append(all, s)
	}
	return chance, all, over, nil
}

// come7 are the tasks of the group, whatever a file names.
func come7() (tasks []string) {
	for _, g := range task.Groups() {
		if g.Name == "come7" {
			for _, t := range g.Tasks {
				tasks = append(tasks, t.Name)
			}
		}
	}
	return tasks
}

// within are the tasks and groups that are part of a group that has an accuracy of its own.
func (r *Results) within() map[string]bool {
	inner := map[string]bool{}
	for group, members := range r.GroupSubtasks {
		if _, ok := r.Results[group].Values["acc"+noFilter]; ok {
			for _, name := range members {
				inner[name] = true
			}
		}
	}
	return inner
}

// Table is a Markdown table with a column for each model, and behind those after the first what they retain of it, of all and of what is above chance.
func (s *Side) Table() string {
	t := table{head: []string{"Task", "Metric", "", "Chance"}, text: []bool{true, true, true, false}}
	for i, name := range shortNames(s.Models) {
		t.head, t.text = append(t.head, printable.Clip(printable.Line(name), maxCell)), append(t.text, false)
		if i > 0 {
			t.head, t.text = append(t.head, "Retained", "Above chance"), append(t.text, false, false)
		}
	}
	sure := true
	line := func(name, metric string, higher bool, values, relative []Number, chance *float64, above []*Share) {
		row := []string{name, metric, "↓", orDash(chance)}
		if higher {
			row[2] = "↑"
		}
		for i, v := range values {
			if row = append(row, number(float64(v))); i == 0 {
				continue
			}
			row = append(row, retained(relative[i], higher), above[i].String())
			sure = sure && (above[i] == nil || above[i].Sure())
		}
		t.add(row...)
	}
	for _, r := range s.Rows {
		line(r.Task, r.Metric, r.Higher, r.Values, r.Retained, r.Chance, r.Above)
	}
	text := ""
	if len(s.Over) > 0 {
		line(fmt.Sprintf("average of %d", len(s.Over)), "", true, s.Means, s.Retain, s.Chance, s.Above)
		text = "\nThe average is of " + listTasks(s.Over) + "." + s.fewer() + "\n"
	}
	if !sure {
		text += "\n" + unsure
	}
	return t.String() + text
}

// fewer names the tasks that the share is of, where the average is of others too.
func (a *Average) fewer() string {
	if n := len(a.Choices); n == 0 || n == len(a.Over) {
		return ""
	}
	return " What it has above chance is of " + listTasks(a.Choices) + "."
}

func listTasks(names []string) string {
	if slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(come7()))) {
		return "come7's tasks"
	}
	return printable.Clip(printable.Line(strings.Join(names, ", ")), 20*maxCell)
}

// retained is what a model retains of the first: of an accuracy the part in per cent, of a perplexity the factor.
func retained(v Number, higher bool) string {
	switch v := float64(v); {
	case v-v != 0:
		return notAvailable
	case higher:
		return fmt.Sprintf("%.1f %%", 100*v)
	default:
		return fmt.Sprintf("× %.4g", v)
	}
}

func orDash(v *float64) string {
	if v == nil {
		return "-"
	}
	return number(*v)
}

// shortNames are the last parts of names, where those tell them apart.
func shortNames(names []string) []string {
	var short []string
	for _, name := range names {
		base := filepath.Base(name)
		if slices.Contains(short, base) {
			return names
		}
		short = append(short, base)
	}
	return short
}
