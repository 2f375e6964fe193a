package eval

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Comparison is how the results of two models differ.
type Comparison struct {
	A    string       `json:"a"`
	B    string       `json:"b"`
	Rows []Difference `json:"differences"`
}

// Difference is that of a metric of a task or group.
type Difference struct {
	Task       string   `json:"task"`
	Metric     string   `json:"metric"`
	A          Number   `json:"a"`
	B          Number   `json:"b"`
	Difference Number   `json:"difference"` // B − A
	Stderr     *float64 `json:"stderr"`     // of the difference, nil where the files do not tell
	Z          *float64 `json:"z"`          // Difference / Stderr
	P          *float64 `json:"p"`          // two-sided, by the normal distribution
	Paired     bool     `json:"paired"`     // from the answers to each document; else from both standard errors, as if the documents were others
	McNemar    *float64 `json:"mcnemar_p"`  // McNemar's exact test, of accuracies that are paired
}

// comparable refuses results of other tasks, versions, few-shot examples or numbers of documents.
func (r *Results) comparable(other *Results) error {
	a, b := slices.Sorted(maps.Keys(r.Results)), slices.Sorted(maps.Keys(other.Results))
	if !slices.Equal(a, b) {
		return fmt.Errorf("eval: the results are of other tasks: %s; and %s", clip(a), clip(b))
	}
	for _, name := range a {
		for _, f := range []struct {
			what string
			a, b any
		}{
			{"version", fmt.Sprint(r.Versions[name]), fmt.Sprint(other.Versions[name])},
			{"n-shot", r.Shots[name], other.Shots[name]},
			{"n-samples", r.Documents[name].Effective, other.Documents[name].Effective},
		} {
			if f.a != f.b {
				return fmt.Errorf("eval: %s: the results have %s %v and %v", name, f.what, f.a, f.b)
			}
		}
		hash, same := r.TaskHashes[name], other.TaskHashes[name]
		if hash != "" && same != "" && hash != same {
			return fmt.Errorf("eval: %s: the results are of other documents or prompts: task_hashes %.12s… and %.12s…", name, hash, same)
		}
	}
	return nil
}

func clip(names []string) string {
	if len(names) > 8 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:8], ", "), len(names)-8)
	}
	return strings.Join(names, ", ")
}

// Compare compares two results files of the same tasks. Where both have their samples beside them, differences are paired.
func Compare(fileA, fileB string) (*Comparison, error) {
	a, err := ReadResults(fileA)
	if err != nil {
		return nil, err
	}
	b, err := ReadResults(fileB)
	if err != nil {
		return nil, err
	}
	if err := a.comparable(b); err != nil {
		return nil, err
	}
	c := &Comparison{A: cmp.Or(a.ModelName, fileA), B: cmp.Or(b.ModelName, fileB)}
	for _, e := range a.order(a.Results) {
		sa, err := a.readSamples(fileA, e.name)
		if err != nil {
			return nil, err
		}
		sb, err := b.readSamples(fileB, e.name)
		if err != nil {
			return nil, err
		}
		ma, mb := a.Results[e.name], b.Results[e.name]
		for _, key := range ma.metrics() {
			v, ok := mb.Values[key]
			if !ok { // lm-eval has no acc_bytes
				continue
			}
			metric, _, _ := strings.Cut(key, ",")
			d := Difference{Task: e.name, Metric: metric, A: Number(ma.Values[key]), B: Number(v), Difference: Number(v - ma.Values[key])}
			if sa != nil && sb != nil {
				if err := d.pair(metric, sa, sb); err != nil {
					return nil, fmt.Errorf("eval: %s: %w", e.name, err)
				}
			} else {
				x, okA := ma.stderr(key)
				y, okB := mb.stderr(key)
				if se := math.Hypot(x, y); okA && okB && se-se == 0 {
					d.Stderr = &se
				}
			}
			d.test()
			c.Rows = append(c.Rows, d)
		}
	}
	return c, nil
}

// test fills what follows from the standard error.
func (d *Difference) test() {
	if d.Stderr == nil {
		return
	}
	z, p := 0.0, 1.0
	if d.Difference != 0 {
		if *d.Stderr == 0 {
			return
		}
		z = float64(d.Difference) / *d.Stderr
		p = 2 * distuv.UnitNormal.Survival(math.Abs(z))
	}
	d.Z, d.P = &z, &p
}

// readSample is a line of a file of samples.
type readSample struct {
	document int
	hashes   [3]string
	values   map[string]weighed
}

// weighed is a document's part in a metric.
type weighed struct{ value, weight float64 }

func (w *weighed) UnmarshalJSON(raw []byte) error {
	if w.weight = 1; json.Unmarshal(raw, &w.value) == nil {
		return nil
	}
	var pair [2]float64
	err := json.Unmarshal(raw, &pair)
	w.value, w.weight = pair[0], pair[1]
	return err
}

const maxSample = 64 << 20 // bytes of a line

// readSamples reads a task's samples beside a results file; nil if they are not there.
func (r *Results) readSamples(file, task string) (samples []readSample, err error) {
	date := ""
	if r.Run != nil {
		date = r.Run.DateID
	} else if _, after, ok := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "results_"); ok {
		date = after
	}
	path := samplesFile(file, task, date)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxSample)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		s, err := parseSample(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("eval: %s:%d: %w", path, n, err)
		}
		samples = append(samples, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("eval: %s: %w", path, err)
	}
	slices.SortStableFunc(samples, func(a, b readSample) int { return a.document - b.document })
	if n := r.Documents[task].Effective; len(samples) != n {
		return nil, fmt.Errorf("eval: %s has %d samples, the results are of %d", path, len(samples), n)
	}
	return samples, nil
}

func parseSample(line []byte) (s readSample, err error) {
	var known struct {
		Document int      `json:"doc_id"`
		Metrics  []string `json:"metrics"`
		Doc      string   `json:"doc_hash"`
		Prompt   string   `json:"prompt_hash"`
		Target   string   `json:"target_hash"`
	}
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(line, &known), json.Unmarshal(line, &all)); err != nil {
		return s, err
	}
	s = readSample{known.Document, [3]string{known.Doc, known.Prompt, known.Target}, map[string]weighed{}}
	for _, name := range known.Metrics {
		var w weighed
		if err := json.Unmarshal(all[name], &w); err != nil {
			return s, fmt.Errorf("metric %s: %w", name, err)
		}
		s.values[name] = w
	}
	return s, nil
}

// pair computes the standard error of a difference from the answers to each document: that of the mean of the differences of what each document adds to the
// metric, to first order (the delta method) where the metric is no mean.
func (d *Difference) pair(metric string, a, b []readSample) error {
	d.Paired = true
	x, err := influence(metric, float64(d.A), a)
	if err != nil {
		return err
	}
	y, err := influence(metric, float64(d.B), b)
	if err != nil {
		return err
	}
	diff := make([]float64, len(x))
	binary, better, worse := true, 0, 0
	for i := range x {
		if a[i].document != b[i].document || a[i].hashes != b[i].hashes {
			return fmt.Errorf("the samples are of other documents or prompts: document %d and %d", a[i].document, b[i].document)
		}
		diff[i] = y[i] - x[i]
		binary = binary && (x[i] == 0 || x[i] == 1) && (y[i] == 0 || y[i] == 1)
		if y[i] > x[i] {
			better++
		} else if y[i] < x[i] {
			worse++
		}
	}
	if n := float64(len(diff)); n > 1 {
		se := stat.StdDev(diff, nil) / math.Sqrt(n)
		d.Stderr = &se
	}
	if binary && strings.HasPrefix(metric, "acc") {
		p := mcNemar(better, worse)
		d.McNemar = &p
	}
	return nil
}

// influence is what each document adds to a metric, scaled so that the metric moves as its mean does.
func influence(metric string, value float64, samples []readSample) ([]float64, error) {
	out := make([]float64, len(samples))
	sum, weight := 0.0, 0.0
	for i, s := range samples {
		w, ok := s.values[metric]
		if !ok {
			return nil, fmt.Errorf("document %d has no %s", s.document, metric)
		}
		out[i] = w.value
		sum, weight = sum+w.value, weight+w.weight
	}
	slope := 0.0
	switch metric {
	case "perplexity", "word_perplexity", "byte_perplexity": // exp(−sum/weight)
		slope = -value
	case "bits_per_byte": // −sum/weight/ln 2
		slope = -1 / math.Ln2
	default:
		return out, nil
	}
	for i, s := range samples {
		out[i] = slope * (out[i] - sum/weight*s.values[metric].weight) * float64(len(samples)) / weight
	}
	return out, nil
}

// mcNemar is the exact two-sided test of McNemar 1947: of the documents that one model has right and the other wrong, as many lie on
// each side, by the binomial distribution.
func mcNemar(better, worse int) float64 {
	n := better + worse
	if n == 0 {
		return 1
	}
	return min(1, 2*distuv.Binomial{N: float64(n), P: 0.5}.CDF(float64(min(better, worse))))
}

// Table is the comparison as a Markdown table.
func (c *Comparison) Table() string {
	t := table{
		head: []string{"Task", "Metric", "A", "B", "B − A", "", "Stderr", "z", "p", "McNemar p", ""},
		text: []bool{true, true, false, false, false, true, false, false, false, false, true},
	}
	optional := func(v *float64, format string) string {
		if v == nil {
			return ""
		}
		return fmt.Sprintf(format, *v)
	}
	last := ""
	for _, d := range c.Rows {
		name := d.Task
		if name == last {
			name = ""
		}
		last = d.Task
		sign, how := "", ""
		if d.Stderr != nil {
			sign, how = "±", "unpaired"
		}
		if d.Paired {
			how = "paired"
		}
		t.add(name, d.Metric, number(float64(d.A)), number(float64(d.B)), fmt.Sprintf("%+.4f", d.Difference), sign, optional(d.Stderr, "%.4f"), optional(d.Z, "%.2f"), optional(d.P, "%.2g"),
			optional(d.McNemar, "%.2g"), how)
	}
	return fmt.Sprintf("A: %s\nB: %s\n\n%s", c.A, c.B, t.String())
}
