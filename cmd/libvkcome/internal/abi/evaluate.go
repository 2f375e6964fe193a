package abi

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/prune"
)

// evaluateRequest says what is measured: perplexity on a corpus, accuracy in tasks, or both.
type evaluateRequest struct {
	Corpus     *corpusRequest `json:"corpus"`
	SecondHalf bool           `json:"second_half"` // of each window is scored, as llama-perplexity does

	Tasks []string `json:"tasks"`
	Shots int      `json:"num_fewshot"`
	Limit float64  `json:"limit"`
	Data  string   `json:"data"`  // folder with data sets; "": the cache and the hub
	Cache string   `json:"cache"` // folder of scores that earlier runs left; "": none
	networked

	tasks  []*task.Task
	groups []*task.Group
}

// evaluated is the result.
type evaluated struct {
	Perplexity *measured     `json:"perplexity,omitempty"`
	Accuracy   *eval.Results `json:"accuracy,omitempty"`
}

type measured struct {
	*eval.Perplexity
	Source string `json:"source"`
	Nulls  int    `json:"null_rows,omitempty"`
}

func (in *evaluateRequest) check() (err error) {
	if len(in.Tasks) > 0 {
		if in.tasks, in.groups, err = task.Find(in.Tasks); err != nil {
			return fail(Argument, err)
		}
	}
	switch {
	case in.Corpus == nil && len(in.Tasks) == 0:
		return fail(Argument, errors.New("nothing to measure: give corpus, tasks, or both"))
	case in.Shots < 0 || in.Limit < 0:
		return fail(Argument, fmt.Errorf("num_fewshot %d, limit %v: expected 0 or more", in.Shots, in.Limit))
	case in.Corpus != nil:
		return in.Corpus.check()
	}
	return nil
}

// Evaluate measures a model and gives the figures as JSON.
func (l *Library) Evaluate(onDevice, of Handle, request string, w Watch) ([]byte, error) {
	var in evaluateRequest
	return l.compute(onDevice, []Handle{of}, request, &in, w, func(ctx context.Context, d *device, m []*opened, t *teller) (any, error) {
		out, err := &evaluated{}, error(nil)
		if in.Corpus != nil {
			if out.Perplexity, err = in.perplexity(ctx, d, m[0], t); err != nil {
				return nil, err
			}
		}
		if len(in.Tasks) > 0 {
			out.Accuracy, err = eval.RunTasks(ctx, d.Device, m[0].Model, in.tasks, in.groups, eval.TaskOptions{
				Shots: in.Shots, Limit: in.Limit, Source: task.Source{Dir: in.Data, Hub: in.hub(t)}, Cache: in.Cache, Version: prune.Version, Progress: t.stage,
			})
		}
		return out, err
	})
}

func (in *evaluateRequest) perplexity(ctx context.Context, d *device, m *opened, t *teller) (*measured, error) {
	c, err := in.Corpus.load(ctx, m, t, 0, true)
	if err != nil {
		return nil, err
	}
	p, err := eval.RunPerplexityWith(ctx, d.Device, m.Model, c.Windows, eval.PerplexityOptions{SecondHalf: in.SecondHalf}, func(done, total int) {
		t.stage("layers", done, total)
	})
	return &measured{p, c.Source, c.Nulls}, err
}
