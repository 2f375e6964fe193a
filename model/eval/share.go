package eval

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/vkcome/vkcome/model/eval/task"
)

// Share is how much of a first model's accuracy above chance another model has: (acc − chance) / (first − chance). It is 0 for a model that
// guesses, and below 0 for one that is worse.
//
// The standard error is that of a ratio of two means, to first order (the delta method). Over the n documents i, with what both models got for
// them, xᵢ of the first and yᵢ of the other, and cᵢ = 1/choices,
//
//	zᵢ = (yᵢ − cᵢ) − share·(xᵢ − cᵢ)        stderr = sd(z) / √n / |mean(x − c)|
//
// which has their covariance in it. An average over tasks is the ratio of the averages; the variances of its tasks' mean z, of the average's share,
// add up by the squares of their weights, since the tasks' documents are others. Source: Cochran 1977, Sampling Techniques, sections 6.3 and 6.4
// (the ratio estimate) and 6.11 (the combined ratio estimate over strata).
type Share struct {
	Share  float64  `json:"share"`
	Stderr *float64 `json:"stderr"` // nil where the files do not tell
	Paired bool     `json:"paired"` // the standard error is from the answers to each document; else as if the models had answered others
	// FirstZ is by how many of its standard errors the first model is above chance. Below 1.96 no bound of the share can be given: its 95 %
	// confidence set is without end (Fieller 1954).
	FirstZ *float64 `json:"first_z"`
}

const (
	certain = 1.96 // the normal distribution's two-sided 95 %
	// An accuracy above chance by less is what rounding leaves of one at chance: a document more of a million is 1e-6.
	atChance = 1e-9
)

// Sure says whether the first model is above chance so clearly that the share means something.
func (s *Share) Sure() bool { return s.FirstZ == nil || *s.FirstZ >= certain }

// String is the share in per cent, with its standard error, "-" where there is none, and with a question mark where it is not sure.
func (s *Share) String() string {
	if s == nil {
		return "-"
	}
	text := fmt.Sprintf("%.1f", 100*s.Share)
	if s.Stderr != nil {
		text += fmt.Sprintf(" ± %.1f", 100**s.Stderr)
	}
	if text += " %"; !s.Sure() {
		text += " ?"
	}
	return text
}

// unsure is the line below a table with question marks.
const unsure = "?: the first model is above chance by less than 1.96 standard errors, so such a share may be anything.\n"

// moments are the means over a task's documents of what two models have above chance, and the variances and the covariance of these means.
type moments struct {
	chance                      float64
	first, other                float64
	varFirst, varOther, between float64 // NaN where they are not known
	paired                      bool
}

// residual is the variance of the mean of other − ratio·first; with a ratio of 1 that of the difference.
func (m moments) residual(ratio float64) float64 {
	return max(m.varOther-2*ratio*m.between+ratio*ratio*m.varFirst, 0) // rounding may leave less than 0; a NaN stays
}

// part is a task's part in a score.
type part struct {
	moments
	weight float64
}

// share is that of a score with these parts; nil where the first model is at chance or below.
func share(parts []part) *Share {
	var first, other, variance float64
	s := &Share{Paired: true}
	for _, p := range parts {
		first, other, variance = first+p.weight*p.first, other+p.weight*p.other, variance+p.weight*p.weight*p.varFirst
		s.Paired = s.Paired && p.paired
	}
	if !(first > atChance) {
		return nil
	}
	s.Share = other / first
	total := 0.0
	for _, p := range parts {
		total += p.weight * p.weight * p.residual(s.Share)
	}
	if stderr := math.Sqrt(total) / first; stderr-stderr == 0 {
		s.Stderr = &stderr
	}
	if z := first / math.Sqrt(variance); z-z == 0 {
		s.FirstZ = &z
	}
	return s
}

// multipleChoice says whether a task is known here as one with choices. Of others an accuracy may count otherwise.
func multipleChoice(name string) bool {
	tasks, _, err := task.Find([]string{name})
	return err == nil && len(tasks) == 1 && tasks[0].Name == name && tasks[0].Output == task.MultipleChoice
}

// pairs are two results with their samples, of which each file is read once.
type pairs struct {
	ctx          context.Context
	first, other *Results
	read         map[string][2][]readSample // by task
	known        map[score]*moments         // nil: there are none
}

func newPairs(ctx context.Context, first, other *Results) *pairs {
	return &pairs{ctx, first, other, map[string][2][]readSample{}, map[score]*moments{}}
}

// documents are the samples of a task, nil where there are none.
func (p *pairs) documents(name string) (a, b []readSample, err error) {
	both, ok := p.read[name]
	if !ok {
		for i, r := range []*Results{p.first, p.other} {
			if both[i], err = r.documents(p.ctx, name); err != nil {
				return nil, nil, err
			}
		}
		p.read[name] = both
	}
	return both[0], both[1], nil
}

// moments are those of an accuracy of a task, nil where there is no chance of it.
func (p *pairs) moments(name, metric string) (*moments, error) {
	key := score{name, metric}
	if m, ok := p.known[key]; ok {
		return m, nil
	}
	m, err := p.measure(name, metric)
	if err != nil {
		return nil, err
	}
	p.known[key] = m
	return m, nil
}

func (p *pairs) measure(name, metric string) (*moments, error) {
	if !multipleChoice(name) {
		return nil, nil
	}
	a, b, err := p.documents(name)
	if err != nil {
		return nil, err
	}
	if a != nil && b != nil {
		m, err := pairedMoments(metric, a, b)
		if err != nil {
			return nil, fmt.Errorf("eval: %s: %w", name, err)
		}
		return m, nil
	}
	chance, ok := p.chance(name)
	x, okA := p.first.Results[name].Values[metric+noFilter]
	y, okB := p.other.Results[name].Values[metric+noFilter]
	if !ok || !okA || !okB {
		return nil, nil
	}
	m := &moments{chance: chance, first: x - chance, other: y - chance, varFirst: math.NaN(), varOther: math.NaN()}
	if se, ok := p.first.Results[name].stderr(metric + noFilter); ok {
		m.varFirst = se * se
	}
	if se, ok := p.other.Results[name].stderr(metric + noFilter); ok {
		m.varOther = se * se
	}
	return m, nil
}

// chance is the accuracy of guessing a task, if one of the two tells. Both have the same documents.
func (p *pairs) chance(name string) (chance float64, ok bool) {
	for i, r := range []*Results{p.first, p.other} {
		if r.Run != nil {
			chance, ok = r.Run.Chance[name]
		}
		if !ok {
			chance, ok = meanChance(p.read[name][i])
		}
		if ok {
			break
		}
	}
	return chance, ok
}

func meanChance(samples []readSample) (chance float64, ok bool) {
	choices := make([]int, len(samples))
	for i, s := range samples {
		choices[i] = s.choices
	}
	return task.Chance(choices)
}

func pairedMoments(metric string, a, b []readSample) (*moments, error) {
	if err := sameDocuments(a, b); err != nil {
		return nil, err
	}
	chance, ok := meanChance(a)
	if !ok {
		return nil, nil
	}
	x, y := make([]float64, len(a)), make([]float64, len(a))
	for i := range a {
		u, okA := a[i].values[metric]
		v, okB := b[i].values[metric]
		if !okA || !okB {
			return nil, fmt.Errorf("document %d has no %s", a[i].document, metric)
		}
		guess := 1 / float64(a[i].choices)
		x[i], y[i] = u.value-guess, v.value-guess
	}
	n := float64(len(x)) // of one document the variances are NaN, as n − 1 is 0
	return &moments{
		chance: chance, first: stat.Mean(x, nil), other: stat.Mean(y, nil), paired: true,
		varFirst: stat.Covariance(x, x, nil) / n, varOther: stat.Covariance(y, y, nil) / n, between: stat.Covariance(x, y, nil) / n,
	}, nil
}

// score is a metric of a task or group.
type score struct{ name, metric string }

// share is that of the plain average of those scores that have a chance, and the chance of it. over are these; none has where they are perplexities,
// tasks without choices, or groups that have such tasks or are other means than those known here.
func (p *pairs) share(scores ...score) (chance *float64, s *Share, over []string, err error) {
	var all []part
	for _, score := range scores {
		parts, err := p.parts(score.name, score.metric)
		if err != nil {
			return nil, nil, nil, err
		}
		if len(parts) > 0 {
			all, over = append(all, parts...), append(over, score.name)
		}
	}
	if len(over) == 0 {
		return nil, nil, nil, nil
	}
	guess := 0.0
	for i := range all {
		all[i].weight /= float64(len(over))
		guess += all[i].weight * all[i].chance
	}
	return &guess, share(all), over, nil
}

// parts are the tasks of a score, by weights whose sum is 1.
func (p *pairs) parts(name, metric string) ([]part, error) {
	var parts []part
	total := 0.0
	for _, leaf := range p.first.leaves(name) {
		of, weight := p.first.leafMetric(name, leaf, metric)
		if !accuracy[of] {
			return nil, nil
		}
		m, err := p.moments(leaf, of)
		if m == nil || err != nil {
			return nil, err
		}
		parts, total = append(parts, part{*m, weight}), total+weight
	}
	sum := 0.0
	for i := range parts {
		parts[i].weight /= total
		sum += parts[i].weight * (parts[i].first + parts[i].chance)
	}
	if value := p.first.Results[name].Values[metric+noFilter]; !(math.Abs(sum-value) < 1e-6) { // a stranger's group may be another mean
		return nil, nil
	}
	return parts, nil
}

// accuracy are the metrics that guessing has a known value of.
var accuracy = map[string]bool{"acc": true, "acc_norm": true, "acc_bytes": true}

// leafMetric is the metric of a task that counts for a group's, and its weight there; for a task itself the metric.
func (r *Results) leafMetric(name, leaf, metric string) (of string, weight float64) {
	switch {
	case name == leaf:
		return metric, 1
	case metric == average:
		for _, of := range chief {
			if _, ok := r.Results[leaf].Values[of+noFilter]; ok {
				return of, 1
			}
		}
		return "", 0
	case metric == "acc_macro":
		return "acc", 1
	}
	return metric, float64(r.Documents[leaf].Effective) // of all documents together
}
