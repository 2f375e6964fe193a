// Package distill trains the layers of a pruned model that stand for several others against those, one at a time, so that one
// layer's weights, gradients and moments are all that a device must hold; and in the end, if that is wanted, all weights together
// against the logits.
//
// The objective that a layer learns by is the paper's in its place (Hierarchical distillation of CoMe, arXiv 2510.15304), the choice of
// losses, the optimizer and the last stage are reconstruction: the released code has no training. See Options.
package distill

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/train"
)

// Inputs of a layer in training.
const (
	TeacherInput = "teacher" // the teacher's state that enters the first layer replaced: the paper's Figure 1
	StudentInput = "student" // what the student's own layers below, trained already, give
)

// Moments lists what moments may be kept in.
var Moments = []string{"f32", "bf16"}

// Inputs lists them.
var Inputs = []string{TeacherInput, StudentInput}

// Options say how to train. The zero value of each is the documented default.
type Options struct {
	// Objective is what each layer's training makes small. Default mse: the paper's Figure 1 shows a KL loss, which over the hidden
	// dimension recovers least of all in measurements.
	Objective   train.Objective `json:"loss"`
	Temperature float64         `json:"temperature"` // of kl, kl-lens and the end-to-end stage; default 1
	Input       string          `json:"input"`       // default TeacherInput

	// Rank, if it is not 0, trains updates of that rank of the layers' matrices in the place of all weights, which are merged into these in the
	// end: see train.Setup. In the last stage too, where the embedding and the LM head then stay what they are.
	Rank int `json:"rank,omitempty"`

	// Moments is what AdamW keeps its moments in: f32, the default, or bf16, which takes half of their memory and is rounded at random. See
	// train.Setup.
	Moments string `json:"moments,omitempty"`

	// LR is the peak of the learning rate. Default 2e-4, as published for replacing layers of models of billions of parameters, times
	// 2048/hidden_size below a hidden size of 2048, and at most 4e-3; five times that with a Rank.
	LR         float64 `json:"lr"`
	FinalLR    float64 `json:"final_lr"`      // where the cosine ends; default LR/10
	WarmUp     float64 `json:"warm_up"`       // share of the steps over which the rate rises; default 0.03, and 20 steps at least
	Decay      float64 `json:"decay"`         // weight decay, of matrices alone; default 1e-3, none below 0
	Clip       float64 `json:"clip"`          // bound of the gradients' global norm; default 1, none below 0
	Batch      int     `json:"batch"`         // windows of a step; default 16, or half of the corpus if that is less
	Tokens     int64   `json:"tokens"`        // that a layer sees; default 200 steps' worth
	HeldOut    int     `json:"held_out"`      // windows that are not trained on; default a twentieth, from one to four steps' worth
	Patience   int     `json:"patience"`      // evaluations without a better loss after which training stops; default 8 of the 20
	EndToEnd   int     `json:"end_to_end"`    // steps of the last stage, all weights against the teacher's logits; default none
	EndLR      float64 `json:"end_to_end_lr"` // its peak rate; default LR/3
	MicroBatch int     `json:"micro_batch"`   // windows on the device at a time; default as many as its memory allows, Batch at most
	Seed       uint64  `json:"seed"`          // of the order of the windows

	// Budget bounds the time that a run takes, 0 is no bound: how many windows fit is measured before the first, how many steps before each
	// stage, and no step begins after. The result then depends on the machine's speed.
	Budget time.Duration `json:"budget_ns,omitempty"`
}

// Evaluations is how often a stage looks at the held-out loss, at most.
const Evaluations = 20

// rankRate is by how much the default learning rate of low-rank updates is above that of weights.
const rankRate = 5

// defaultSteps is how many steps a layer's training takes.
const defaultSteps = 200

// minWarmUp is the fewest steps of rising rate: Adam's moments mean little before.
const minWarmUp = 20

// Defaults fills in what the zero value stands for, for a model and a corpus of so many windows of some tokens, and refuses what makes
// no sense.
func (o Options) Defaults(m *model.Model, windows, window int) (Options, error) {
	set := func(v *float64, fallback float64) {
		if *v == 0 {
			*v = fallback
		}
	}
	if o.Objective == "" {
		o.Objective = train.MSE
	}
	if o.Input == "" {
		o.Input = TeacherInput
	}
	set(&o.Temperature, 1)
	rate := min(4e-3, 2e-4*max(1, 2048/float64(m.Config.HiddenSize)))
	if o.Rank > 0 {
		rate *= rankRate
	}
	set(&o.LR, rate)
	set(&o.FinalLR, o.LR/10)
	set(&o.WarmUp, 0.03)
	set(&o.Decay, 1e-3)
	set(&o.Clip, 1)
	set(&o.EndLR, o.LR/3)
	if windows < 2 {
		return o, fmt.Errorf("distill: a corpus of %d windows: expected two at least, one of which is held out", windows)
	}
	if o.Batch == 0 {
		o.Batch = 16
		for o.Batch > windows/2 {
			o.Batch /= 2
		}
	}
	if o.Tokens == 0 {
		o.Tokens = defaultSteps * int64(o.Batch) * int64(window)
	}
	if o.HeldOut == 0 {
		o.HeldOut = min(4*o.Batch, max(o.Batch, windows/20/o.Batch*o.Batch))
	}
	if o.Patience == 0 {
		o.Patience = 8
	}
	switch {
	case !slices.Contains(train.Objectives, o.Objective):
		return o, fmt.Errorf("distill: loss %q, expected %s", o.Objective, Names())
	case !slices.Contains(Inputs, o.Input):
		return o, fmt.Errorf("distill: input %q, expected %s", o.Input, strings.Join(Inputs, ", "))
	case !(o.Temperature > 0) || math.IsInf(o.Temperature, 0):
		return o, fmt.Errorf("distill: temperature %v, expected more than 0", o.Temperature)
	case !(o.LR > 0 && o.LR < 1 && o.EndLR > 0 && o.EndLR < 1 && o.FinalLR >= 0 && o.FinalLR <= o.LR):
		return o, fmt.Errorf("distill: learning rates %v to %v, and %v: expected more than 0 and less than 1, the final one at most the peak", o.LR, o.FinalLR, o.EndLR)
	case !(o.WarmUp >= 0 && o.WarmUp <= 1):
		return o, fmt.Errorf("distill: warm-up %v, expected 0 to 1", o.WarmUp)
	case o.Batch < 1 || o.MicroBatch < 0 || o.MicroBatch > 0 && o.Batch%o.MicroBatch != 0:
		return o, fmt.Errorf("distill: %d windows of a step in micro-batches of %d: expected 1 or more, and a divisor", o.Batch, o.MicroBatch)
	case o.HeldOut < 1 || o.HeldOut%o.Batch != 0:
		return o, fmt.Errorf("distill: %d windows held out: expected a multiple of the %d windows of a step", o.HeldOut, o.Batch)
	case windows-o.HeldOut < o.Batch:
		return o, fmt.Errorf("distill: a corpus of %d windows, of which %d are held out, has too few for a step of %d: give more text (corpus.Options.Sources), shorter windows (corpus.Options.Window) or a smaller step (distill.Options.Batch)", windows, o.HeldOut, o.Batch)
	case o.Tokens < int64(o.Batch)*int64(window):
		return o, fmt.Errorf("distill: %d tokens for a layer, a step takes %d", o.Tokens, o.Batch*window)
	case o.Moments != "" && !slices.Contains(Moments, o.Moments):
		return o, fmt.Errorf("distill: moments %q, expected %s", o.Moments, strings.Join(Moments, ", "))
	case o.Rank < 0 || o.Rank > m.Config.HiddenSize:
		return o, fmt.Errorf("distill: rank %d, expected 0, which trains all weights, to the hidden size of %d", o.Rank, m.Config.HiddenSize)
	case o.Patience < 1 || o.EndToEnd < 0 || o.Budget < 0:
		return o, errors.New("distill: patience, end-to-end steps and budget: expected 1, 0 and 0 or more")
	}
	return o, nil
}

// Names lists the objectives, for messages.
func Names() string {
	var list []string
	for _, o := range train.Objectives {
		list = append(list, string(o))
	}
	return strings.Join(list, ", ")
}

// CorpusTokens is how many tokens of a corpus a run with these options wants, which may have no defaults filled in yet, in windows of
// so many tokens. layers says whether layers are trained by themselves: the last stage alone sees a window once.
func (o Options) CorpusTokens(window int, layers bool) int64 {
	batch := o.Batch
	if batch == 0 {
		batch = 16
	}
	tokens, held := o.Tokens, o.HeldOut
	if tokens == 0 {
		tokens = defaultSteps * int64(batch) * int64(window)
	}
	whole := int64(o.EndToEnd) * int64(batch) * int64(window)
	if tokens = max(tokens, whole); !layers {
		tokens = whole
	}
	if held == 0 {
		held = 4 * batch
	}
	return tokens + int64(held)*int64(window)
}

// setup is what is trained.
func (o Options) setup() train.Setup {
	s := train.Setup{Rank: o.Rank, Seed: o.Seed}
	if o.Moments == "bf16" {
		s.Moments = dtype.BF16
	}
	return s
}

// steps is how many steps a layer's training takes.
func (o Options) steps(window int) int { return int(o.Tokens / (int64(o.Batch) * int64(window))) }

// rate is the learning rate of a step of so many, from 0 on: a linear rise, then half a cosine.
func (o Options) rate(peak, final float64, step, steps int) float64 {
	warm := min(max(minWarmUp, int(math.Ceil(o.WarmUp*float64(steps)))), steps/2)
	if step < warm {
		return peak * float64(step+1) / float64(warm)
	}
	at := float64(step-warm) / float64(max(1, steps-warm))
	return final + (peak-final)*(1+math.Cos(math.Pi*at))/2
}
