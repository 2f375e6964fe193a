package eval

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/printable"
)

// Comparison is how the results of two models differ.
type Comparison struct {
	A    string       `json:"a"`
	B    string       `json:"b"`
	Rows []Difference `json:"differences"`
	Average
	Left []string `json:"left_out,omitempty"` // tasks and groups that only one has
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
	Retained   Number   `json:"retained"`   // B / A
	Chance     *float64 `json:"chance"`     // of guessing, nil where there are no choices
	Above      *Share   `json:"above_chance"`
}

// common restricts results to what all of them have: the tasks, and the groups that are of such tasks alone. A group that lm-eval does not know, or was not
// asked for, is computed from its tasks. left names what not all have. Tasks that all have must be of one version, of as many few-shot examples and documents.
func common(all []*Results) (same []*Results, left []string, err error) {
	for _, r := range all[1:] {
		if a, b := all[0].prompting(), r.prompting(); a != b {
			return nil, nil, fmt.Errorf("%s and %s were not asked alike: %s; %s", all[0].ModelName, r.ModelName, a, b)
		}
	}
	names, groups := map[string]int{}, map[string]bool{}
	for _, r := range all {
		for name := range r.Results {
			names[name]++
		}
		for name, members := range r.GroupSubtasks {
			groups[name] = groups[name] || len(members) > 0 // earlier versions of lm-eval have tasks there, without members
		}
		for name := range r.Groups {
			groups[name] = true
		}
	}
	known := map[string]*task.Group{}
	for _, g := range task.Groups() {
		known[g.Name], groups[g.Name] = g, true
	}
	shared := func(name string) bool { return !groups[name] && names[name] == len(all) }
	tasks := 0
	for _, r := range all {
		c := *r
		c.Results, c.GroupSubtasks = map[string]Metrics{}, maps.Clone(r.GroupSubtasks)
		if c.GroupSubtasks == nil {
			c.GroupSubtasks = map[string][]string{}
		}
		same = append(same, &c)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch {
		case groups[name]:
			if !commonGroup(all, same, name, known[name], shared) {
				left = append(left, name)
			}
		case !shared(name):
			left = append(left, name)
		default:
			tasks++
			for i, r := range all {
				if err := all[0].agrees(r, name); err != nil {
					return nil, nil, err
				}
				same[i].Results[name] = r.Results[name]
			}
		}
	}
	if tasks == 0 {
		var lists []string
		for _, r := range all {
			lists = append(lists, clip(slices.Sorted(maps.Keys(r.Results))))
		}
		return nil, nil, fmt.Errorf("eval: the results have no task in common: %s", strings.Join(lists, "; and "))
	}
	return same, left, nil
}

// commonGroup puts a group into same: as it is where all have it of the same tasks, else computed from its tasks if all have those.
func commonGroup(all, same []*Results, name string, known *task.Group, shared func(string) bool) bool {
	asIs := true
	first := slices.Sorted(slices.Values(all[0].leaves(name)))
	for _, r := range all {
		_, ok := r.Results[name]
		leaves := slices.Sorted(slices.Values(r.leaves(name)))
		asIs = asIs && ok && slices.Equal(leaves, first) && fmt.Sprint(r.Versions[name]) == fmt.Sprint(all[0].Versions[name])
		for _, leaf := range leaves {
			asIs = asIs && shared(leaf)
		}
	}
	if asIs {
		for i, r := range all {
			same[i].Results[name] = r.Results[name]
		}
		return true
	}
	if known == nil {
		return false
	}
	for _, t := range known.Tasks {
		if !shared(t.Name) {
			return false
		}
	}
	for i, r := range all {
		results := map[string]task.Result{}
		for _, t := range known.Tasks {
			results[t.Name] = task.Result{Metrics: r.Results[t.Name].Values, Documents: r.Documents[t.Name].Effective}
		}
		result := known.Aggregate(results)
		same[i].Results[name] = Metrics{known.Name, known.Alias, result.Documents, result.Metrics, result.Counts}
		for _, g := range append([]*task.Group{known}, known.Groups...) {
			same[i].GroupSubtasks[g.Name] = g.Members
		}
	}
	return true
}

// agrees refuses a task of another version, number of few-shot examples or documents, or of other documents.
func (r *Results) agrees(other *Results, name string) error {
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
	return nil
}

// CheckBaseline refuses a baseline with which results of these tasks could not be compared, as far as that is known before they are computed.
func (r *Results) CheckBaseline(tasks []*task.Task, o TaskOptions) error {
	asked := &Results{ModelName: "this run", Results: map[string]Metrics{}, Versions: map[string]any{}, Shots: map[string]int{}, Documents: map[string]Documents{}}
	if o.Chat != nil {
		asked.Chat = o.Chat.Source()
	}
	if o.System != "" {
		asked.System = o.System
	}
	asked.MultiTurn = o.Multiturn
	for _, t := range tasks {
		asked.Results[t.Name], asked.Versions[t.Name], asked.Shots[t.Name] = Metrics{}, t.Version, o.Shots
		n := r.Documents[t.Name]
		switch samples, ok := o.Samples[t.Name]; {
		case ok:
			n.Effective = len(slices.Compact(slices.Sorted(slices.Values(samples))))
		case o.Limit >= 1:
			n.Effective = int(min(float64(n.Original), o.Limit))
		case o.Limit > 0:
			n.Effective = int(math.Ceil(float64(n.Original) * o.Limit))
		default:
			n.Effective = n.Original
		}
		asked.Documents[t.Name] = n
	}
	_, _, err := common([]*Results{r, asked})
	return err
}

// prompting says how the questions were put. The template itself is each model's own.
func (r *Results) prompting() string {
	switch {
	case r.Chat == nil && r.System == nil:
		return "without a chat template"
	case r.Chat == nil:
		return fmt.Sprintf("without a chat template, with the system instruction %q", r.System)
	}
	turns := "examples in the question's turn"
	if r.MultiTurn == true {
		turns = "examples as turns"
	}
	return fmt.Sprintf("with chat templates, %s, system instruction %q", turns, cmp.Or(fmt.Sprint(r.System), "none"))
}

func clip(names []string) string {
	if len(names) > 8 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:8], ", "), len(names)-8)
	}
	return strings.Join(names, ", ")
}

// Compare compares the tasks that two results files have in common. Where both have their samples beside them, differences are paired.
func Compare(ctx context.Context, fileA, fileB string) (*Comparison, error) {
	a, err := ReadResults(fileA)
	if err != nil {
		return nil, err
	}
	b, err := ReadResults(fileB)
	if err != nil {
		return nil, err
	}
	same, left, err := common([]*Results{a, b})
	if err != nil {
		return nil, err
	}
	a, b = same[0], same[1]
	c := &Comparison{A: cmp.Or(a.ModelName, fileA), B: cmp.Or(b.ModelName, fileB), Left: left}
	p := newPairs(ctx, a, b)
	paired := map[string]float64{} // standard errors of tasks' metrics
	for _, e := range a.order(a.Results) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sa, sb, err := p.documents(e.name)
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
			u := ma.Values[key]
			d := Difference{Task: e.name, Metric: metric, A: Number(u), B: Number(v), Difference: Number(v - u), Retained: Number(v / u)}
			if d.Chance, d.Above, _, err = p.share(score{e.name, metric}); err != nil {
				return nil, err
			}
			if sa != nil && sb != nil {
				if err := d.pair(metric, sa, sb); err != nil {
					return nil, fmt.Errorf("eval: %s: %w", e.name, err)
				}
				if d.Stderr != nil {
					paired[e.name+" "+metric] = *d.Stderr
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
	for i := range c.Rows {
		if d := &c.Rows[i]; len(a.GroupSubtasks[d.Task]) > 0 {
			if se, ok := a.pairGroup(d.Task, d.Metric, paired); ok {
				d.Stderr, d.Paired = &se, true
				d.test()
			}
		}
	}
	side, err := newSide(same, []*pairs{newPairs(ctx, a, a), p})
	if err != nil {
		return nil, err
	}
	c.Average = side.Average
	return c, nil
}

// pairGroup is the standard error of the difference of a group's metric, from those of its tasks.
func (r *Results) pairGroup(group, metric string, paired map[string]float64) (float64, bool) {
	variance, total := 0.0, 0.0
	for _, task := range r.leaves(group) {
		of, weight := r.leafMetric(group, task, metric)
		se, ok := paired[task+" "+of]
		if !ok {
			return 0, false
		}
		variance, total = variance+weight*weight*se*se, total+weight
	}
	return math.Sqrt(variance) / total, total > 0
}

// average is the metric of come7.
const average = "avg"

// leaves are the tasks in a group, in the order of its members.
func (r *Results) leaves(name string) (tasks []string) {
	r.walk(name, func(name string) {
		if _, group := r.GroupSubtasks[name]; !group {
			tasks = append(tasks, name)
		}
	})
	return tasks
}

// walk visits a task or group and all that is in it, once each: a stranger's file may have a group in itself, or in many others.
func (r *Results) walk(name string, visit func(name string)) {
	seen := map[string]bool{}
	var step func(name string)
	step = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		visit(name)
		for _, member := range r.GroupSubtasks[name] {
			step(member)
		}
	}
	step(name)
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
	choices  int // 0: it is no choice, or the file does not tell
}

// weighed is a document's part in a metric.
type weighed struct{ value, weight float64 }

func (w *weighed) UnmarshalJSON(raw []byte) error {
	if w.weight = 1; json.Unmarshal(raw, &w.value) == nil {
		return nil
	}
	var pair [2]float64
	err := files.JSON(raw, &pair)
	w.value, w.weight = pair[0], pair[1]
	return err
}

const (
	maxSample   = 16 << 20 // bytes of a line: a document, its prompts and answers; the longest that lm-eval writes have some 1 MB
	maxFileName = 255
	// maxDocuments bounds a task. The largest have some 100,000; what is kept of each takes some 200 bytes, and a line may have three.
	maxDocuments = 1 << 20
)

// documents are a task's samples: of this run, or from beside the file that the results are from; nil if they are not there.
func (r *Results) documents(ctx context.Context, task string) ([]readSample, error) {
	if r.Samples[task] == nil && r.file != "" {
		return r.readSamples(ctx, task)
	}
	var samples []readSample
	for _, s := range r.Samples[task] {
		read := readSample{s.Document, [3]string{s.DocHash, s.promptHash(), s.targetHash()}, map[string]weighed{}, s.Choices}
		for name, v := range s.Metrics {
			read.values[name] = weigh(v)
		}
		samples = append(samples, read)
	}
	return samples, nil
}

func weigh(metric any) weighed {
	switch v := metric.(type) {
	case task.Weighted:
		return weighed{v.LogLikelihood, float64(v.Weight)}
	case int:
		return weighed{float64(v), 1}
	case float64:
		return weighed{v, 1}
	}
	return weighed{math.NaN(), 1}
}

// readSamples reads a task's samples beside the results' file; nil if they are not there.
func (r *Results) readSamples(ctx context.Context, task string) (samples []readSample, err error) {
	date := ""
	if r.Run != nil {
		date = r.Run.DateID
	} else if _, after, ok := strings.Cut(strings.TrimSuffix(filepath.Base(r.file), ".json"), "results_"); ok {
		date = after
	}
	path := samplesFile(r.file, task, date)
	if name := filepath.Base(path); len(name) > maxFileName || printable.Line(name) != name || !strings.HasPrefix(name, "samples_"+task) || !strings.HasSuffix(name, date+".jsonl") {
		return nil, nil // no file is called so; names that a file gives lead into no other folder
	}
	n := r.Documents[task].Effective
	if n > maxDocuments {
		return nil, fmt.Errorf("eval: %s: the results of %s are of %d documents, expected at most %d", r.file, task, n, maxDocuments)
	}
	f, err := files.Open(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxSample)
	for line := 1; len(samples) <= n && lines.Scan(); line++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		s, err := parseSample(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("eval: %s:%d: %w", path, line, err)
		}
		samples = append(samples, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("eval: %s: %w", path, err)
	}
	slices.SortStableFunc(samples, func(a, b readSample) int { return a.document - b.document })
	switch {
	case len(samples) > n:
		return nil, fmt.Errorf("eval: %s has more samples than the %d that the results are of", path, n)
	case len(samples) < n:
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

		Answers []json.RawMessage `json:"filtered_resps"`
	}
	var all map[string]json.RawMessage
	if err := files.JSON(line, &known); err != nil {
		return s, err
	}
	if err := files.JSON(line, &all); err != nil {
		return s, err
	}
	if len(known.Metrics) > maxMetrics {
		return s, fmt.Errorf("%d metrics, expected at most %d", len(known.Metrics), maxMetrics)
	}
	s = readSample{known.Document, [3]string{known.Doc, known.Prompt, known.Target}, map[string]weighed{}, len(known.Answers)}
	for _, name := range known.Metrics {
		if _, twice := s.values[name]; twice {
			continue
		}
		var w weighed
		if err := files.JSON(all[name], &w); err != nil {
			return s, fmt.Errorf("metric %.80q: %w", name, err)
		}
		s.values[name] = w
	}
	return s, nil
}

// pair computes the standard error of a difference from the answers to each document: that of the mean of the differences of what each document adds to the
// metric, to first order (the delta method) where the metric is no mean.
func (d *Difference) pair(metric string, a, b []readSample) error {
	if err := sameDocuments(a, b); err != nil {
		return err
	}
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

// sameDocuments refuses samples of other documents or prompts.
func sameDocuments(a, b []readSample) error {
	if len(a) != len(b) {
		return fmt.Errorf("the samples are of %d documents and of %d", len(a), len(b))
	}
	for i := range a {
		if a[i].document != b[i].document || a[i].hashes != b[i].hashes {
			return fmt.Errorf("the samples are of other documents or prompts: document %d and %d", a[i].document, b[i].document)
		}
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
		head: []string{"Task", "Metric", "A", "B", "B − A", "", "Stderr", "z", "p", "McNemar p", "", "Retained", "Chance", "Above chance"},
		text: []bool{true, true, false, false, false, true, false, false, false, false, true, false, false, false},
	}
	optional := func(v *float64, format string) string {
		if v == nil {
			return ""
		}
		return fmt.Sprintf(format, *v)
	}
	last, unclear := "", ""
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
			optional(d.McNemar, "%.2g"), how, retained(d.Retained, !strings.HasSuffix(d.Metric, "perplexity") && d.Metric != "bits_per_byte"), orDash(d.Chance), d.Above.String())
		if d.Above != nil && !d.Above.Sure() {
			unclear = "\n" + unsure
		}
	}
	text := fmt.Sprintf("A: %s\nB: %s\n\n%s", printable.Line(c.A), printable.Line(c.B), t.String())
	if v := c.Average; len(v.Over) > 0 {
		text += fmt.Sprintf("\nThe average of %s is %s in A and %s in B. B retains %s", listTasks(v.Over), number(float64(v.Means[0])), number(float64(v.Means[1])), retained(v.Retain[1], true))
		switch {
		case v.Chance == nil:
			text += ".\n"
		case v.Above[1] == nil:
			text += fmt.Sprintf("; A is not above chance, %s.%s\n", orDash(v.Chance), v.fewer())
		default:
			text += fmt.Sprintf(", of what is above chance (%s) %s.%s\n", orDash(v.Chance), v.Above[1], v.fewer())
		}
	}
	return text + unclear
}
