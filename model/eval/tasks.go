package eval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/chat/jinja"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

// Defaults of lm-eval.
const (
	DefaultSeed      = 1234   // that few-shot examples are drawn by
	DefaultBootstrap = 100000 // resamples for the standard error of a perplexity
)

// TaskOptions say how tasks are run. The zero value is lm-eval's defaults.
type TaskOptions struct {
	Shots     int              // few-shot examples before each question
	Limit     float64          // documents of each task; below 1 a part of them; 0 all
	Samples   map[string][]int // instead: these documents of these tasks
	Seed      *int64           // default DefaultSeed
	Bootstrap *int             // default DefaultBootstrap

	Chat      *chat.Template // contexts are conversations in this template; nil: plain texts
	System    string         // before a task's own description
	Multiturn bool           // few-shot examples are turns of their own

	Source task.Source
	Batch  int                // see run.ScorerOptions
	Host   *states.HostMemory // as well
	Cache  string             // folder of scores that earlier runs left, see ScoreCache; "" keeps none

	Version  string                              // of the program, for the record
	Progress func(stage string, done, total int) // may be nil
}

// RunTasks evaluates m on tasks, all of them in one run of the scorer, and gives the metrics of the tasks and of groups of them.
//
// Results are those of lm-eval 0.4.13 on transformers, and depend on no batch size. A log-likelihood that is no number is an error.
func RunTasks(ctx context.Context, d *vk.Device, m *model.Model, tasks []*task.Task, groups []*task.Group, o TaskOptions) (r *Results, err error) {
	seed, bootstrap := int64(DefaultSeed), DefaultBootstrap
	if o.Seed != nil {
		seed = *o.Seed
	}
	if o.Bootstrap != nil {
		bootstrap = *o.Bootstrap
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	for name := range o.Samples {
		if !containsTask(tasks, name) {
			return nil, fmt.Errorf("eval: samples of %q, which is not among the tasks", name)
		}
	}
	begin := time.Now()
	tok, err := tokenizer.LoadFS(m.Name, m.Files)
	if err != nil {
		return nil, err
	}
	s := &suite{d: d, m: m, o: o, encoder: NewEncoder(tok, m.Config.MaxPositionEmbeddings)}
	o.Source.Shots = o.Shots
	for i, t := range tasks {
		o.Progress("load tasks", i, len(tasks))
		if err := s.load(ctx, t, o.Source, seed); err != nil {
			return nil, fmt.Errorf("eval: %w", err)
		}
	}
	o.Progress("load tasks", len(tasks), len(tasks))
	hash, err := model.Hash(ctx, m.Files)
	if err != nil {
		return nil, fmt.Errorf("eval: hash of %s: %w", m.Name, err)
	}
	if o.Cache != "" {
		if s.cache, err = OpenScoreCache(ctx, o.Cache, hash, d); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.cache.Close()) }()
	}
	if err := s.score(ctx); err != nil {
		return nil, fmt.Errorf("eval: %s: %w", m.Name, err)
	}
	r = newResults(s, tok, hash, seed, bootstrap, begin)
	for _, u := range s.runs {
		if err := r.add(u, o.Shots, bootstrap); err != nil {
			return nil, fmt.Errorf("eval: %w", err)
		}
	}
	r.addGroups(groups)
	r.finish(s, begin)
	return r, nil
}

// prompting says how contexts are made. As in lm-eval, a template that refuses a conversation is tried without the system turn.
func (o *TaskOptions) prompting() task.Prompting {
	p := task.Prompting{System: o.System, Multiturn: o.Multiturn}
	if o.Chat == nil {
		return p
	}
	p.Render = func(turns []task.Turn) (string, error) {
		messages := make([]chat.Message, len(turns))
		for i, t := range turns {
			messages[i] = chat.Text(t.Role, t.Content)
		}
		text, err := o.Chat.Render(messages, chat.Options{Prompt: true})
		var raised *jinja.Raised
		if errors.As(err, &raised) && turns[0].Role == "system" {
			return o.Chat.Render(messages[1:], chat.Options{Prompt: true})
		}
		return text, err
	}
	return p
}

func containsTask(tasks []*task.Task, name string) bool {
	for _, t := range tasks {
		if t.Name == name {
			return true
		}
	}
	return false
}

// suite is a run of several tasks.
type suite struct {
	d       *vk.Device
	m       *model.Model
	o       TaskOptions
	encoder *Encoder
	runs    []*taskRun
	cache   *ScoreCache
	lost    error // the cache's, which is then written no more
	stats   run.ScorerStats
	known   int           // sequences whose scores were in the cache
	scoring time.Duration // without loading, hashing and the like
}

// taskRun is a task with the documents that are asked about and the model's scores.
type taskRun struct {
	*task.Set
	docs     []int
	requests [][]task.Request
	encoded  []encoded
	scores   [][]run.Score // of the sequences of each document
}

func (s *suite) load(ctx context.Context, t *task.Task, src task.Source, seed int64) error {
	set, err := t.Load(ctx, src)
	if err != nil {
		return err
	}
	samples, chosen := s.o.Samples[t.Name]
	if chosen && len(samples) == 0 {
		return fmt.Errorf("%s: an empty list of samples", t.Name)
	}
	u := &taskRun{Set: set}
	if u.docs, err = set.Select(s.o.Limit, samples); err != nil {
		return err
	}
	if u.requests, err = set.Prompted(u.docs, s.o.Shots, seed, s.o.prompting()); err != nil {
		return err
	}
	if u.encoded, err = s.encoder.encodeAll(ctx, t, u.docs, u.requests); err != nil {
		return err
	}
	s.runs = append(s.runs, u)
	return nil
}

// score scores what the cache does not know.
func (s *suite) score(ctx context.Context) (err error) {
	type place struct {
		u     *taskRun
		i     int
		which []int // of the document's sequences
	}
	var places []place
	var groups [][]run.Sequence
	for _, u := range s.runs {
		u.scores = make([][]run.Score, len(u.docs))
		for i, e := range u.encoded {
			u.scores[i] = make([]run.Score, len(e.sequences))
			p := place{u: u, i: i}
			var group []run.Sequence
			for j, q := range e.sequences {
				if score, ok := s.cache.Get(q); ok {
					u.scores[i][j] = score
					s.known++
					continue
				}
				p.which, group = append(p.which, j), append(group, q)
			}
			if len(group) > 0 {
				places, groups = append(places, p), append(groups, group)
			}
		}
	}
	if len(groups) == 0 {
		return nil
	}
	begin := time.Now()
	scorer, err := run.NewScorer(s.d, s.m, run.ScorerOptions{Batch: s.o.Batch, Host: s.o.Host, Progress: func(done, total int) { s.o.Progress("score", done, total) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scorer.Close()) }()
	err = scorer.Score(ctx, groups, func(g int, scores []run.Score) error {
		p := places[g]
		for n, j := range p.which {
			if ll := scores[n].LogLikelihood; ll-ll != 0 {
				return fmt.Errorf("%s: document %d: the log-likelihood of sequence %d is %v", p.u.Task.Name, p.u.docs[p.i], j, ll)
			}
			p.u.scores[p.i][j] = scores[n]
		}
		if s.lost == nil { // what cannot be kept is no reason to lose the rest
			s.lost = s.cache.Put(groups[g], scores)
		}
		return nil
	})
	s.stats, s.scoring = scorer.Stats(), time.Since(begin)
	return err
}

// answers are the model's to the requests of the i-th document: a text of several windows has the sum of their log-likelihoods.
func (u *taskRun) answers(i int) []task.Answer {
	scores := u.scores[i]
	var out []task.Answer
	for _, n := range u.encoded[i].counts {
		a := task.Answer{Greedy: true}
		for _, s := range scores[:n] {
			a.LogLikelihood += s.LogLikelihood
			a.Greedy = a.Greedy && s.Greedy
		}
		out, scores = append(out, a), scores[n:]
	}
	return out
}
