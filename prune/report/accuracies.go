package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/eval"
)

const maxTasks = 40 // that a plot shows

// accuracy is the section of results of tasks.
func (b *builder) accuracy(a Accuracy) {
	if len(a.Results) == 0 || a.Side == nil {
		return
	}
	title := "Accuracy of " + a.Side.Models[0]
	if n := len(a.Side.Models); n > 1 {
		title = fmt.Sprintf("Accuracy of %d models", n)
	}
	b.begin(title)
	var facts []fact
	for i, r := range a.Results {
		text := r.ModelName
		if r.Config.Parameters > 0 {
			text += fmt.Sprintf(", %d parameters", r.Config.Parameters)
		}
		if run := r.Run; run != nil {
			text += fmt.Sprintf(", on %s; %s s for %d sequences", run.Device, num(run.Speed.Seconds), run.Speed.Sequences)
		}
		facts = append(facts, fact{fmt.Sprintf("Model %d", i+1), text})
	}
	b.add(block{Facts: facts})
	b.figures(accuracyBars(a, true).figure(), accuracyBars(a, false).figure())
	b.table(accuracyTable(a))
	b.table(averageTable(a.Side))
	unsure := func(s *eval.Share) bool { return s != nil && !s.Sure() }
	if slices.ContainsFunc(a.Side.Above, unsure) || slices.ContainsFunc(a.Side.Rows, func(r eval.SideRow) bool { return slices.ContainsFunc(r.Above, unsure) }) {
		b.add(block{Text: "?: the first model is above guessing by less than 1.96 standard errors, so such a share may be anything."})
	}
	if len(a.Side.Left) > 0 {
		b.add(block{Text: "Left out, since not all models have it: " + strings.Join(a.Side.Left, ", ") + "."})
	}
}

// stderrOf is the standard error of a model's score, NaN where its file has none.
func stderrOf(r *eval.Results, row eval.SideRow) float64 {
	if v, ok := r.Results[row.Task].Values[row.Metric+"_stderr,none"]; ok {
		return v
	}
	return math.NaN()
}

// accuracyBars are the scores of which more is better, or those of which less is, with 95 % intervals.
func accuracyBars(a Accuracy, higher bool) bars {
	b := bars{title: "Accuracy, with 95 % intervals", x: "accuracy", dots: true, series: a.Side.Models}
	if !higher {
		b.title, b.x = "Perplexity, with 95 % intervals", "perplexity"
	}
	b.desc = "Intervals are 1.96 standard errors to both sides; the table has all values."
	b.values = make([][]bar, len(a.Side.Models))
	for _, row := range a.Side.Rows {
		if row.Higher != higher || len(b.names) == maxTasks {
			continue
		}
		b.names = append(b.names, row.Task+" ("+row.Metric+")")
		for i, v := range row.Values {
			one := bar{value: float64(v), title: fmt.Sprintf("%s, %s: %s", row.Task, a.Side.Models[i], num(float64(v)))}
			if e := stderrOf(a.Results[i], row); e > 0 {
				one.low, one.high = one.value-1.96*e, one.value+1.96*e
				one.title += " ± " + num(e)
			}
			b.values[i] = append(b.values[i], one)
		}
	}
	return b
}

func accuracyTable(a Accuracy) *table {
	names := []string{"task", "metric", "#guessing"}
	for i := range a.Side.Models {
		names = append(names, fmt.Sprintf("#model %d", i+1), "#standard error")
		if i > 0 {
			names = append(names, fmt.Sprintf("#model %d ÷ model 1", i+1), "#above guessing ÷ model 1's")
		}
	}
	t := newTable("Scores", names...)
	for _, row := range a.Side.Rows {
		line := []cell{worded(row.Task), worded(row.Metric), optional(row.Chance)}
		for i, v := range row.Values {
			line = append(line, numeric(float64(v)), numeric(stderrOf(a.Results[i], row)))
			if i > 0 {
				line = append(line, percentOrNone(float64(row.Retained[i])), share(row.Above, i))
			}
		}
		t.row(line...)
	}
	return t
}

// averageTable is the mean over the tasks.
func averageTable(s *eval.Side) *table {
	t := newTable("Average over "+strings.Join(s.Over, ", "), "model", "#mean", "#÷ model 1", "#above guessing ÷ model 1's")
	for i, v := range s.Means {
		t.row(worded(s.Models[i]), numeric(float64(v)), percentOrNone(float64(s.Retain[i])), share(s.Above, i))
	}
	return t
}

func optional(v *float64) cell {
	if v == nil {
		return cell{}
	}
	return numeric(*v)
}

func percentOrNone(v float64) cell {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return cell{}
	}
	return percent(v)
}

// share is how much of what the first model has above guessing another has.
func share(list []*eval.Share, i int) cell {
	if i >= len(list) || list[i] == nil {
		return cell{}
	}
	return valued(list[i].String(), list[i].Share)
}
