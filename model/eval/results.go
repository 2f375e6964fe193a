package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// Results are what a model's answers came to: the fields of lm-eval's results file, and Run under a key of its own.
type Results struct {
	Results        map[string]Metrics          `json:"results"` // of tasks and groups
	Groups         map[string]Metrics          `json:"groups,omitempty"`
	GroupSubtasks  map[string][]string         `json:"group_subtasks"`
	Configs        map[string]map[string]any   `json:"configs"`
	Versions       map[string]any              `json:"versions"`
	Shots          map[string]int              `json:"n-shot"`
	HigherIsBetter map[string]map[string]*bool `json:"higher_is_better"` // nil where the tasks of a group do not agree
	Documents      map[string]Documents        `json:"n-samples"`
	Config         Config                      `json:"config"`
	Date           float64                     `json:"date"` // when it began, in seconds since 1970
	EOS            [2]any                      `json:"tokenizer_eos_token"`
	BOS            [2]any                      `json:"tokenizer_bos_token"`
	EOT            *int                        `json:"eot_token_id"`
	MaxLength      int                         `json:"max_length"`
	System         any                         `json:"system_instruction"` // text or none, as all these
	SystemHash     any                         `json:"system_instruction_sha"`
	MultiTurn      any                         `json:"fewshot_as_multiturn"`
	Chat           any                         `json:"chat_template"`
	ChatHash       any                         `json:"chat_template_sha"`
	GitHash        any                         `json:"git_hash"`
	TaskHashes     map[string]string           `json:"task_hashes"` // of the documents, prompts and targets that were evaluated
	ModelSource    string                      `json:"model_source"`
	ModelName      string                      `json:"model_name"`
	ModelFolder    string                      `json:"model_name_sanitized"`
	Seconds        string                      `json:"total_evaluation_time_seconds"`
	Run            *Run                        `json:"vkcome,omitempty"`

	Samples map[string][]Sample `json:"-"` // of each task, in the order of its documents

	file string // that ReadResults read
}

// Metrics are a task's or a group's: "acc,none", "acc_stderr,none" and so on; NaN is lm-eval's "N/A".
type Metrics struct {
	Name, Alias string
	Documents   int // that were evaluated
	Values      map[string]float64
	Counts      map[string]int // of a group: of documents behind each metric
}

// Documents are how many a task has, and how many of them were evaluated.
type Documents struct {
	Original  int `json:"original"`
	Effective int `json:"effective"`
}

// Config is how the tasks were run.
type Config struct {
	Model       string   `json:"model"`
	ModelArgs   any      `json:"model_args"`
	Parameters  int64    `json:"model_num_parameters"`
	DType       string   `json:"model_dtype"`
	Revision    string   `json:"model_revision"`
	SHA         string   `json:"model_sha"`
	Batch       any      `json:"batch_size"` // 0: as many groups as are fast
	Batches     []int    `json:"batch_sizes"`
	Device      any      `json:"device"`
	Cache       any      `json:"use_cache"`
	Limit       *float64 `json:"limit"`
	Bootstrap   int      `json:"bootstrap_iters"`
	Generation  any      `json:"gen_kwargs"`
	RandomSeed  int64    `json:"random_seed"`
	NumPySeed   int64    `json:"numpy_seed"`
	TorchSeed   int64    `json:"torch_seed"`
	FewShotSeed int64    `json:"fewshot_seed"`
}

// Run is what lm-eval's file has no place for.
type Run struct {
	Version       string             `json:"version"`
	Tasks         string             `json:"tasks_of"` // whose definitions the tasks have
	Device        string             `json:"device"`
	Driver        string             `json:"driver"`
	DriverVersion string             `json:"driver_version"`
	Tier          string             `json:"tier"`
	ModelHash     string             `json:"model_sha256"`          // see model.Hash
	DataHashes    map[string]string  `json:"data_sha256"`           // of each task's documents
	Chance        map[string]float64 `json:"chance"`                // the accuracy of guessing, of each task with choices
	DateID        string             `json:"date_id"`               // in names of files
	CacheError    string             `json:"cache_error,omitempty"` // why scores were not kept
	Speed         Speed              `json:"speed"`
}

// Speed is what the scoring took.
type Speed struct {
	Seconds         float64 `json:"seconds"`
	Sequences       int     `json:"sequences"`
	Cached          int     `json:"sequences_cached"` // that earlier runs had scored
	Scored          int     `json:"tokens_scored"`
	ScoredPerSecond float64 `json:"tokens_scored_per_second"`
	Rows            int     `json:"rows"`       // tokens that went through the layers
	RowsAlone       int     `json:"rows_alone"` // that would have, each sequence by itself
	Shared          float64 `json:"shared_fraction"`
	Padded          float64 `json:"padded_fraction"`
}

// Sample is what a model answered about a document.
type Sample struct {
	Document int // its index
	Requests []task.Request
	Answers  []task.Answer
	task.Sample
	rolling bool
}

// tasksOf names whose tasks these are.
const tasksOf = "lm-evaluation-harness 0.4.13"

const noFilter = ",none"

func newResults(s *suite, tok tokenizer.Tokenizer, hash string, seed int64, bootstrap int, begin time.Time) *Results {
	info := s.d.Info
	token := func(id int, ok bool) [2]any {
		if !ok {
			return [2]any{nil, "None"}
		}
		text, _ := tok.Token(id)
		return [2]any{text, strconv.Itoa(id)}
	}
	r := &Results{
		Results: map[string]Metrics{}, Groups: map[string]Metrics{}, GroupSubtasks: map[string][]string{}, Configs: map[string]map[string]any{},
		Versions: map[string]any{}, Shots: map[string]int{}, HigherIsBetter: map[string]map[string]*bool{}, Documents: map[string]Documents{},
		TaskHashes: map[string]string{}, Samples: map[string][]Sample{},
		Config: Config{
			Model: "vkcome", ModelArgs: map[string]any{"pretrained": s.m.Name}, Parameters: s.m.Parameters(), DType: s.m.Config.DType.String(), SHA: hash, Batch: s.o.Batch, Batches: []int{},
			Device: info.Name, Bootstrap: bootstrap, NumPySeed: DefaultSeed, TorchSeed: DefaultSeed, FewShotSeed: seed,
		},
		Date: float64(begin.UnixNano()) / 1e9, EOS: token(tok.EOS()), BOS: token(tok.BOS()), MaxLength: s.m.Config.MaxPositionEmbeddings,
		ModelSource: "vkcome", ModelName: s.m.Name, ModelFolder: sanitize(s.m.Name),
		Run: &Run{
			Version: s.o.Version, Tasks: tasksOf, Device: info.Name, Driver: info.Driver, DriverVersion: info.DriverVersion, Tier: s.d.Tier.String(),
			ModelHash: hash, DataHashes: map[string]string{}, Chance: map[string]float64{}, DateID: strings.ReplaceAll(begin.Format("2006-01-02T15:04:05.000000"), ":", "-"),
		},
	}
	if eos, ok := tok.EOS(); ok {
		r.EOT = &eos
	}
	if s.o.Limit != 0 {
		r.Config.Limit = &s.o.Limit
	}
	if s.o.System != "" {
		r.System, r.SystemHash = s.o.System, hashText(s.o.System)
	}
	if s.o.Chat != nil {
		r.Chat, r.ChatHash = s.o.Chat.Source(), hashText(s.o.Chat.Source())
	}
	if s.o.Multiturn {
		r.MultiTurn = true
	}
	if s.o.Cache != "" {
		r.Config.Cache = s.o.Cache
	}
	return r
}

var unsafe = regexp.MustCompile(`["<>:/|\\?*\[\]]+`)

// sanitize makes a name of a folder of a model's name, as lm-eval does.
func sanitize(name string) string { return unsafe.ReplaceAllString(name, "__") }

// add aggregates a task's answers.
func (r *Results) add(u *taskRun, shots, bootstrap int) error {
	t := u.Task
	samples := make([]Sample, len(u.docs))
	counted, choices := make([]task.Sample, len(u.docs)), make([]int, len(u.docs))
	var all strings.Builder
	for i, doc := range u.docs {
		s := Sample{Document: doc, Requests: u.requests[i], Answers: u.answers(i), rolling: t.Output == task.Rolling}
		var err error
		if s.Sample, err = u.Sample(doc, s.Answers); err != nil {
			return err
		}
		samples[i], counted[i], choices[i] = s, s.Sample, s.Choices
		all.WriteString(s.DocHash + s.promptHash() + s.targetHash())
	}
	r.Results[t.Name] = Metrics{Name: t.Name, Alias: t.Alias, Documents: len(u.docs), Values: t.Aggregate(counted, bootstrap)}
	r.Configs[t.Name] = t.Config(shots)
	r.Versions[t.Name] = t.Version
	r.Shots[t.Name] = shots
	r.Documents[t.Name] = Documents{u.Len(), len(u.docs)}
	r.Samples[t.Name] = samples
	r.TaskHashes[t.Name] = hashText(all.String())
	r.Run.DataHashes[t.Name] = u.Hash
	if chance, ok := task.Chance(choices); ok {
		r.Run.Chance[t.Name] = chance
	}
	better := map[string]*bool{}
	for _, m := range t.Metrics {
		better[m.Name] = &m.HigherIsBetter
	}
	r.HigherIsBetter[t.Name] = better
	return nil
}

// addGroups aggregates groups, of which those within another come before it.
func (r *Results) addGroups(groups []*task.Group) {
	tasks := map[string]task.Result{}
	for name, m := range r.Results {
		tasks[name] = task.Result{Metrics: m.Values, Documents: m.Documents}
	}
	for _, g := range groups {
		result := g.Aggregate(tasks)
		m := Metrics{g.Name, g.Alias, result.Documents, result.Metrics, result.Counts}
		r.Results[g.Name], r.Groups[g.Name] = m, m
		r.GroupSubtasks[g.Name] = g.Members
		r.Versions[g.Name] = g.Version
	}
	for _, g := range slices.Backward(groups) { // as in lm-eval, where a group of groups has no n-shot
		better, shots := map[string]*bool{}, map[int]bool{}
		for _, member := range g.Members {
			if n, ok := r.Shots[member]; ok {
				shots[n] = true
			}
			for metric, higher := range r.HigherIsBetter[member] {
				if had, ok := better[metric]; ok && (had == nil || higher == nil || *had != *higher) {
					higher = nil
				}
				better[metric] = higher
			}
		}
		for n := range shots {
			if len(shots) == 1 {
				r.Shots[g.Name] = n
			}
		}
		if len(better) > 0 {
			r.HigherIsBetter[g.Name] = better
		}
	}
}

// finish says what it took.
func (r *Results) finish(s *suite, begin time.Time) {
	v := Speed{
		Seconds: s.scoring.Seconds(), Sequences: s.stats.Sequences, Cached: s.known, Scored: s.stats.Scored,
		Rows: s.stats.Rows, RowsAlone: s.stats.Alone,
	}
	if v.Rows > 0 {
		v.ScoredPerSecond = float64(v.Scored) / v.Seconds
		v.Shared = 1 - float64(v.Rows)/float64(v.RowsAlone)
		v.Padded = float64(s.stats.Padding) / float64(v.Rows+s.stats.Padding)
	}
	r.Run.Speed = v
	if s.lost != nil {
		r.Run.CacheError = s.lost.Error()
	}
	r.Seconds = pythonFloat(time.Since(begin).Seconds())
}

// MarshalJSON writes lm-eval's object.
func (m Metrics) MarshalJSON() ([]byte, error) {
	all := map[string]any{"name": m.Name, "alias": m.Alias, "sample_len": m.Documents}
	if len(m.Counts) > 0 {
		all["sample_count"] = m.Counts
	}
	for name, v := range m.Values {
		if all[name] = v; math.IsNaN(v) || math.IsInf(v, 0) {
			all[name] = notAvailable
		}
	}
	return json.Marshal(all)
}

const notAvailable = "N/A"

// UnmarshalJSON reads lm-eval's object, also as its earlier versions wrote it.
func (m *Metrics) UnmarshalJSON(raw []byte) error {
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*m = Metrics{Values: map[string]float64{}}
	for name, v := range all {
		switch v := v.(type) {
		case float64:
			if name == "sample_len" {
				m.Documents = int(v)
			} else {
				m.Values[name] = v
			}
		case string:
			switch {
			case name == "name":
				m.Name = v
			case name == "alias":
				m.Alias = strings.TrimLeft(v, " -")
			case v == notAvailable:
				m.Values[name] = math.NaN()
			}
		}
	}
	return nil
}

// pythonFloat is Python's str of a float.
func pythonFloat(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	case math.IsNaN(v):
		return "nan"
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func hashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (s *Sample) promptHash() string {
	if s.rolling {
		return hashText(s.Requests[0].Continuation)
	}
	return hashText(s.Requests[0].Context)
}

func (s *Sample) targetHash() string { return hashText(fmt.Sprint(s.Target)) }

// record is the sample as lm-eval logs it.
func (s *Sample) record(t *task.Task) corpus.Record {
	var arguments corpus.Record
	var all, filtered []any
	for i, q := range s.Requests {
		args := corpus.Record{{Name: "arg_0", Value: q.Context}, {Name: "arg_1", Value: q.Continuation}}
		ll := pythonFloat(s.Answers[i].LogLikelihood)
		var answer any = ll
		if s.rolling {
			args = corpus.Record{{Name: "arg_0", Value: q.Continuation}}
		} else {
			greedy := "False"
			if s.Answers[i].Greedy {
				greedy = "True"
			}
			answer = []any{ll, greedy}
		}
		arguments = append(arguments, corpus.Field{Name: fmt.Sprintf("gen_args_%d", i), Value: args})
		all, filtered = append(all, []any{answer}), append(filtered, answer)
	}
	var names []any
	var values corpus.Record
	for _, m := range t.Metrics {
		if v, ok := s.Metrics[m.Name]; ok {
			names, values = append(names, m.Name), append(values, corpus.Field{Name: m.Name, Value: v})
		}
	}
	return append(corpus.Record{
		{Name: "doc_id", Value: s.Document}, {Name: "doc", Value: s.Doc}, {Name: "target", Value: fmt.Sprint(s.Target)}, {Name: "arguments", Value: arguments},
		{Name: "resps", Value: all}, {Name: "filtered_resps", Value: filtered}, {Name: "filter", Value: noFilter[1:]}, {Name: "metrics", Value: names},
		{Name: "doc_hash", Value: s.DocHash}, {Name: "prompt_hash", Value: s.promptHash()}, {Name: "target_hash", Value: s.targetHash()},
	}, values...)
}

// CheckOutput refuses a path that Save would refuse, before hours are spent: a file NAME.json that is there or whose folder is not, or a folder that
// is a file.
func CheckOutput(path string) error {
	if isFile(path) {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("eval: %s exists already; name another file, or a folder for results_DATE.json", path)
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return fmt.Errorf("eval: %s: the folder %s does not exist", path, filepath.Dir(path))
		}
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("eval: %s is a file, and its name does not end with .json", path)
	}
	return nil
}

func isFile(path string) bool { return filepath.Ext(path) == ".json" }

// Save writes the results: into the file path if it ends with .json, else below the folder path as lm-eval does, MODEL/results_DATE.json. With
// samples, samples_TASK_DATE.jsonl is beside it for each task. What is there already is never overwritten.
func (r *Results) Save(path string, samples bool) (file string, err error) {
	if err := CheckOutput(path); err != nil {
		return "", err
	}
	file = path
	if !isFile(path) {
		file = filepath.Join(path, r.ModelFolder, "results_"+r.Run.DateID+".json")
		if err := files.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", fmt.Errorf("eval: %w", err)
		}
	}
	if samples {
		tasks := slices.Sorted(maps.Keys(r.Samples))
		list, _, err := task.Find(tasks)
		if err != nil {
			return "", err
		}
		for _, t := range list {
			var text bytes.Buffer
			for _, s := range r.Samples[t.Name] {
				if err := encodeLine(&text, s.record(t)); err != nil {
					return "", fmt.Errorf("eval: %s: %w", t.Name, err)
				}
			}
			if err := writeNew(samplesFile(file, t.Name, r.Run.DateID), text.Bytes()); err != nil {
				return "", err
			}
		}
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("eval: %w", err)
	}
	return file, writeNew(file, append(raw, '\n'))
}

func encodeLine(text *bytes.Buffer, v any) error {
	e := json.NewEncoder(text)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func samplesFile(results, task, date string) string {
	return filepath.Join(filepath.Dir(results), "samples_"+task+"_"+date+".jsonl")
}

// writeNew writes a file that is not there yet; it has its name once it is whole.
func writeNew(path string, data []byte) error {
	if err := files.WriteNew(path, data, 0o644); err != nil {
		return fmt.Errorf("eval: %w", err)
	}
	return nil
}

const (
	// A results file of all that lm-eval has of MMLU has half a megabyte, a hundred tasks and 6,000 values; a value takes some 200 bytes of memory.
	maxResults = 32 << 20 // bytes
	maxValues  = 1 << 18  // commas
	maxNames   = 10_000   // tasks and groups
	maxVisits  = 1 << 20  // members that groups have, through groups in them too
	maxMetrics = 200      // of a task, of which a document has some
)

// ReadResults reads a results file, of vkcome or of lm-eval.
func ReadResults(path string) (*Results, error) {
	raw, err := files.Read(path, maxResults)
	if err != nil {
		return nil, fmt.Errorf("eval: results file: %w", err)
	}
	if n := bytes.Count(raw, []byte{','}); n > maxValues {
		return nil, fmt.Errorf("eval: %s: no results of tasks: %d values, expected at most %d", path, n, maxValues)
	}
	for _, word := range []string{"NaN", "Infinity"} { // which Python's json writes
		raw = bytes.ReplaceAll(raw, []byte(": "+word), []byte(`: "`+notAvailable+`"`))
	}
	r := &Results{file: path}
	if err := files.JSON(raw, r); err != nil {
		return nil, fmt.Errorf("eval: %s: no results of tasks: %w", path, err)
	}
	if err := r.bounded(); err != nil {
		return nil, fmt.Errorf("eval: %s: %w", path, err)
	}
	return r, nil
}

// bounded refuses results with which comparing would have no end.
func (r *Results) bounded() error {
	switch {
	case len(r.Results) == 0:
		return errors.New("no results of tasks")
	case len(r.Results) > maxNames || len(r.GroupSubtasks) > maxNames:
		return fmt.Errorf("%d results, %d groups, expected at most %d", len(r.Results), len(r.GroupSubtasks), maxNames)
	}
	for name, m := range r.Results {
		if len(m.Values) > maxMetrics {
			return fmt.Errorf("%.80q: %d metrics, expected at most %d", name, len(m.Values), maxMetrics)
		}
	}
	visits := 0
	for name := range r.GroupSubtasks {
		r.walk(name, func(string) { visits++ })
		if visits > maxVisits {
			return fmt.Errorf("its groups have more than %d members, those of groups in them included", maxVisits)
		}
	}
	return nil
}
