package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Shares of the budget. Training has what the others leave; without it, they have its part too.
const (
	searchShare = 0.4  // after which no trial begins
	pruneShare  = 0.85 // up to which what is chosen may take, by what its trial took
)

// The fractions of the calibration windows that candidates have in each round. A round of no more windows than the one before is left out.
var fractions = []int{8, 4, 2}

// minWindows is how few windows a fit makes sense with, and a comparison.
const minWindows = 4

// compareShare is the share of the budget that one comparison may take.
const compareShare = 0.015

// search is an Auto on its way.
type search struct {
	*Auto
	device   *vk.Device
	progress func(Status)
	path     string // of the file that keeps what was found
	began    time.Time
	record   AutoRecord

	pass    float64                   // seconds that a layer of the opened model takes for a window
	compare int                       // windows that candidates are compared on; 0: not known yet
	steps   map[string][]*method.Step // of each candidate's last trial that has a perplexity
}

// saved is what the file of a search holds.
type saved struct {
	Record  AutoRecord                `json:"search"`
	Steps   map[string][]*method.Step `json:"steps,omitempty"`
	Pass    float64                   `json:"pass_seconds"`
	Compare int                       `json:"compare"`
	Spent   time.Duration             `json:"spent_ns"`
}

const searchFormat = "vkcome search 2"

// maxSearch bounds the file of a search: the steps of sixteen candidates, each as large as those of a lineage.
const maxSearch = 1 << 30

// readSearch reads what save wrote.
func readSearch(raw []byte) (*saved, error) {
	was := new(saved)
	if err := work.Unseal(raw, searchFormat, was); err != nil {
		return nil, fmt.Errorf("it %w", err)
	}
	return was, nil
}

// check refuses what no search with these options writes. Steps that are taken again are checked as those of a plan are.
func (s *search) check(was *saved) error {
	r, all := was.Record, len(s.Options.Windows)
	positive := func(list ...float64) bool {
		return !slices.ContainsFunc(list, func(v float64) bool { return !(v >= 0 && v <= math.MaxInt32) }) // seconds, of 68 years at most
	}
	for i, t := range r.Trials {
		if s.candidate(t.Candidate).Method == nil || t.Round < 0 || t.Round >= len(fractions) || t.Windows < 1 || t.Windows > all || t.Fitted < 0 || !(t.Perplexity >= 0) ||
			!positive(t.Seconds, t.Fitting, t.Solving) {
			return fmt.Errorf("trial %d is of %.40q in round %d, on %d windows of %d, with a perplexity of %v in %v s", i, t.Candidate, t.Round, t.Windows, all, t.Perplexity, t.Seconds)
		}
	}
	for name, steps := range was.Steps {
		if s.candidate(name).Method == nil {
			return fmt.Errorf("steps of %.40q, which is no candidate", name)
		}
		if err := method.CheckSteps(s.Model, steps); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case r.Chosen != "" && (s.candidate(r.Chosen).Method == nil || r.Windows < 1):
		return fmt.Errorf("it chose %.40q with %d windows", r.Chosen, r.Windows)
	case r.Windows < 0 || r.Windows > all || was.Compare < 0 || was.Compare > all || was.Spent < 0 || !positive(r.Heal, was.Pass, r.Budget):
		return fmt.Errorf("%d and %d windows of %d, %v spent, %v s a layer and %v s for training", r.Windows, was.Compare, all, was.Spent, was.Pass, r.Heal)
	}
	return nil
}

func (s *search) begin() {
	o := s.Options
	s.began = time.Now()
	s.record.Budget = o.Budget.Seconds()
	s.record.Calibration = calibration(o.Windows, o.Seed, o.Source)
}

// save keeps what was found until now.
func (s *search) save() error {
	raw, err := work.Seal(searchFormat, saved{s.record, s.steps, s.pass, s.compare, time.Since(s.began)})
	if err == nil {
		err = work.WriteFile(s.path, raw)
	}
	return err
}

// until is the time until a share of the budget is spent, the whole of it where nothing is trained and share is that of pruning.
func (s *search) until(share float64) time.Duration {
	if s.Options.Heal == nil {
		share = min(1, share/pruneShare)
	}
	return time.Until(s.began.Add(time.Duration(share * float64(s.Options.Budget))))
}

// run takes the rounds and chooses.
func (s *search) run(ctx context.Context) (err error) {
	if s.record.Chosen != "" {
		return nil
	}
	calibrate, choose := s.parts()
	s.Options.Memory.Begin(s.device)
	relative, err := s.comparison(ctx, choose)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, relative.Close()) }()
	if s.record.Dense, err = relative.Perplexity(ctx, s.Model); err != nil {
		return err
	}
	candidates := s.Options.Candidates
	for round, size := range sizes(len(calibrate)) {
		more, err := s.round(ctx, relative, round, spread(calibrate, size), candidates)
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool { return s.outcome(c.Name, round) != goesOn })
		if len(kept) > 0 {
			candidates = kept
		}
		if !more || len(candidates) == 1 {
			break
		}
	}
	return s.choose()
}

// comparison is what candidates are compared by, on as many of the windows kept for that as a comparison has time for.
func (s *search) comparison(ctx context.Context, choose [][]uint32) (*eval.Relative, error) {
	on := func(n int) (*eval.Relative, error) {
		s.compare = n
		some := spread(choose, n)
		s.record.Validation = calibration(some, s.Options.Seed, s.Options.Source)
		return eval.NewRelative(ctx, s.device, s.Model, some, score.Room(run.Options{Host: s.Options.Memory}, s.Model, len(some)), s.tell("evaluate "+s.Model.Name))
	}
	if s.compare > 0 {
		return on(s.compare) // a search that was stopped goes on with the same
	}
	few, begin := min(len(choose), minWindows), time.Now()
	relative, err := on(few)
	if err != nil {
		return nil, err
	}
	each := time.Since(begin).Seconds() / float64(few)
	if more := min(len(choose), int(compareShare*s.Options.Budget.Seconds()/each)); more > few {
		if err := relative.Close(); err != nil {
			return nil, err
		}
		return on(more)
	}
	return relative, nil
}

// sizes are the numbers of windows of the rounds, of so many.
func sizes(windows int) (list []int) {
	for _, f := range fractions {
		if n := min(windows, max(minWindows, windows/f)); len(list) == 0 || n > list[len(list)-1] {
			list = append(list, n)
		}
	}
	return list
}

func (s *search) tell(stage string) func(done, total int) {
	return func(done, total int) { s.progress(Status{Stage: stage, Done: done, Total: total}) }
}

// outcome is what became of a candidate in a round, empty if it was not tried.
func (s *search) outcome(name string, round int) string {
	for _, t := range s.record.Trials {
		if t.Candidate == name && t.Round == round {
			return t.Outcome
		}
	}
	return ""
}

// spread are n of the windows, or all, evenly from the first to the last.
func spread(windows [][]uint32, n int) [][]uint32 {
	n = min(n, len(windows))
	some := make([][]uint32, n)
	for i := range some {
		some[i] = windows[i*len(windows)/n]
	}
	return some
}

// round tries candidates on some windows and says of each whether it goes on. more says whether there is time for another round.
func (s *search) round(ctx context.Context, relative *eval.Relative, round int, windows [][]uint32, candidates []Candidate) (more bool, err error) {
	var scorer *score.Scorer
	shut := func() error {
		if scorer == nil {
			return nil
		}
		err := scorer.Close()
		scorer = nil
		return err
	}
	defer func() { err = errors.Join(err, shut()) }()
	more = true
	for i, c := range candidates {
		if s.outcome(c.Name, round) != "" {
			continue // before the search was stopped
		}
		first := round == 0 && i < firstCandidates
		if best := s.enough(round); best != "" && !first {
			if err := s.tried(Trial{Candidate: c.Name, Round: round, Windows: len(windows), Outcome: "not tried: the time that is left goes to more windows for " + best}); err != nil {
				return false, err
			}
			more = false
			continue
		}
		left := s.until(searchShare)
		t := Trial{Candidate: c.Name, Round: round, Windows: len(windows)}
		if before, n := s.took(c.Name, round-1); round > 0 && before*float64(len(windows))/float64(n) > left.Seconds() {
			t.Outcome = fmt.Sprintf("not tried: it would take %v, and the search has %v left", seconds(before*float64(len(windows))/float64(n)), left.Round(time.Second))
			more = false
		} else if left <= s.quickest(round) {
			t.Outcome, more = "not tried: no time was left for the search", false
		}
		if t.Outcome != "" {
			if err := s.tried(t); err != nil {
				return false, err
			}
			continue
		}
		if scorer == nil {
			begin := time.Now()
			if scorer, err = scored(ctx, append([]*vk.Device{s.device}, s.Options.Devices...), s.Model, windows, s.Options.Memory, true, s.tell(fmt.Sprintf("round %d: score %s", round+1, s.Model.Name))); err != nil {
				return false, err
			}
			s.pass = time.Since(begin).Seconds() / float64(len(windows)*len(s.Model.Layers))
			left = s.until(searchShare)
		}
		rest := len(candidates) - i
		switch known := s.quickest(round); {
		case rest > 1 && known == 0: // one that is slow leaves time for others
			left /= 2
		case rest > 1 && first:
			left = left * 3 / 4
		case rest > 1:
			left = max(left/4, min(left, 2*known))
		}
		if least := s.least(c, round, len(windows)); least > left.Seconds() {
			t.Outcome = fmt.Sprintf("not tried: it takes %v at least, and has %v", seconds(least), left.Round(time.Second))
			if err := s.tried(t); err != nil {
				return false, err
			}
			continue
		}
		broken, err := s.try(ctx, scorer, relative, c, &t, left)
		if err == nil && broken {
			err = shut() // a scorer that was interrupted is in the middle of something
		}
		if err == nil {
			err = s.tried(t)
		}
		if err != nil {
			return false, err
		}
	}
	s.halve(round)
	return more && s.until(searchShare) > 0, s.save()
}

// enough is the best of two candidates of a round or more, if there is no time any more to do it with all windows: each further trial costs it windows,
// and more of these do more than what is tried late. Empty if there is time.
func (s *search) enough(round int) string {
	if best := s.measured(round); len(best) > 1 {
		c := s.candidate(best[0].Candidate)
		if s.cost(c, best[0], len(s.Options.Windows), false) > s.until(pruneShare).Seconds() {
			return c.Name
		}
	}
	return ""
}

// least is how many seconds a candidate about takes at least with so many windows: for half of the passes of layers that its method counts beside
// those of the opened model, as layers below a change do not run again; and for the fit of a layer after each step, or of all in the end, by the
// round's other trials.
func (s *search) least(c Candidate, round, windows int) float64 {
	layers := len(s.Model.Layers)
	passes, _ := c.Method.Cost(layers, s.TargetLayers)
	took := float64(max(0, passes-layers)*windows) * s.pass / 2
	if c.Refit == nil {
		return took
	}
	fits := layers - s.TargetLayers
	switch {
	case c.Refit.End:
		fits = s.TargetLayers
	case c.Method.Needs().Block:
		fits = 1
	}
	for _, t := range s.measured(round) {
		if t.Fitted > 0 {
			return took + float64(fits)*t.Fitting/float64(t.Fitted)
		}
	}
	return took
}

// quickest is the least time that a trial of a round took that has a perplexity, 0 if there is none.
func (s *search) quickest(round int) time.Duration {
	var least time.Duration
	for _, t := range s.measured(round) {
		if took := time.Duration(t.Seconds * float64(time.Second)); least == 0 || took < least {
			least = took
		}
	}
	return least
}

// took is the time that a candidate took in a round, and the windows that it had.
func (s *search) took(name string, round int) (seconds float64, windows int) {
	for _, t := range s.record.Trials {
		if t.Candidate == name && t.Round == round {
			return t.Seconds, t.Windows
		}
	}
	return 0, 1
}

// tried keeps a trial.
func (s *search) tried(t Trial) error {
	s.record.Trials = append(s.record.Trials, t)
	return s.save()
}

// try takes a candidate to the target within a time. broken says that the time was over before.
func (s *search) try(ctx context.Context, scorer *score.Scorer, relative *eval.Relative, c Candidate, t *Trial, left time.Duration) (broken bool, err error) {
	fit := c.Refit
	if fit != nil {
		own := fit.Defaults()
		own.All = own.End
		own.HeldOut = min(own.HeldOut, t.Windows)
		if err := own.Check(s.Model, t.Windows); err != nil {
			t.Outcome = err.Error()
			return false, nil
		}
		fit = &own
	}
	begin := time.Now()
	timed, cancel := context.WithTimeout(ctx, max(left, time.Millisecond))
	defer cancel()
	rows, err := s.start.compare(timed, s.device, s.Model, scorer, c.Method, fit, []int{s.TargetLayers},
		func(m *model.Model) (float64, error) { return relative.Perplexity(ctx, m) }, s.Options.Memory,
		s.tell(fmt.Sprintf("round %d: %s", t.Round+1, c.Name)))
	t.Seconds = time.Since(begin).Seconds()
	switch {
	case err != nil && ctx.Err() == nil && timed.Err() != nil:
		t.Outcome = fmt.Sprintf("stopped after %v, which is its share of the time", seconds(t.Seconds))
		return true, nil
	case err != nil:
		return false, err
	case rows[0].Error != "":
		t.Outcome = rows[0].Error
		return false, nil
	}
	t.Seconds = rows[0].Seconds
	if p := rows[0].Perplexity; math.IsNaN(p) || math.IsInf(p, 0) {
		t.Outcome = fmt.Sprintf("perplexity is %v", p)
		return false, nil
	}
	t.Perplexity, t.Outcome = rows[0].Perplexity, goesOn
	if fit != nil {
		t.Fitting, t.Fitted, t.Solving = rows[0].fitting.Seconds(), rows[0].fitted, rows[0].solving.Seconds()
		if s.steps == nil {
			s.steps = map[string][]*method.Step{}
		}
		s.steps[c.Name] = rows[0].steps
	}
	return false, nil
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond)
}

// halve leaves behind the worse half of a round's trials.
func (s *search) halve(round int) {
	done := s.measured(round)
	for i, t := range done {
		if i >= (len(done)+1)/2 {
			t.Outcome = behind
		}
	}
}

// measured are the trials of a round that have a perplexity, the best first.
func (s *search) measured(round int) (list []*Trial) {
	for i := range s.record.Trials {
		if t := &s.record.Trials[i]; t.Round == round && t.Perplexity > 0 {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b *Trial) int { return cmp.Compare(a.Perplexity, b.Perplexity) })
	return list
}

// last are the trials of the last round that says something of the best of the round before it: one that was stopped earlier may have tried
// others alone.
func (s *search) last() []*Trial {
	for round := len(fractions) - 1; round > 0; round-- {
		before, list := s.measured(round-1), s.measured(round)
		if len(before) > 0 && slices.ContainsFunc(list, func(t *Trial) bool { return t.Candidate == before[0].Candidate }) {
			return list
		}
	}
	return s.measured(0)
}

// choose takes the best of the last round, of those for which there is time with as many windows as their trials had, or more.
func (s *search) choose() error {
	last := s.last()
	if len(last) == 0 {
		why := "no candidate fits it"
		if len(s.record.Trials) > 0 {
			why = s.record.Trials[0].Candidate + ": " + s.record.Trials[0].Outcome
		}
		return fmt.Errorf("prune: %s: the search found nothing within %v (%s): give more time (prune.AutoOptions.Budget) or a smaller corpus", s.Model.Name, s.Options.Budget, why)
	}
	all := len(s.Options.Windows)
	best, passed := last[0], 0
	c := s.candidate(best.Candidate)
	windows, replayed := best.Windows, s.replays(c)
	for i, t := range last {
		c := s.candidate(t.Candidate)
		n, again := s.most(c, t)
		if n >= t.Windows {
			best, windows, replayed, passed = t, n, again, i
			break
		}
	}
	r, cost := &s.record, s.cost(s.candidate(best.Candidate), best, windows, replayed)
	r.Chosen, r.Windows, r.Replayed = best.Candidate, windows, replayed
	r.Why = fmt.Sprintf("perplexity %.4g on %d windows that it had not seen (%.4g of the unpruned model), the least of %d in round %d", best.Perplexity, r.Validation.Windows, r.Dense, len(last), best.Round+1)
	if passed > 0 {
		r.Why = fmt.Sprintf("perplexity %.4g on %d windows that it had not seen (%.4g of the unpruned model); %d that were better take too long", best.Perplexity, r.Validation.Windows, r.Dense, passed)
	}
	switch {
	case replayed:
		r.Why += fmt.Sprintf("; there is time for its steps as they are and to fit layers with %d of %d windows", windows, all)
	case windows < all:
		r.Why += fmt.Sprintf("; there is time for %d of %d windows", windows, all)
	}
	if s.Options.Heal != nil {
		r.Heal = max(0, r.Budget-time.Since(s.began).Seconds()-cost)
	}
	return s.save()
}

// candidate is one by its name.
func (s *search) candidate(name string) (c Candidate) {
	for _, c = range s.Options.Candidates {
		if c.Name == name {
			return c
		}
	}
	return Candidate{} // of a file that was changed: see plan
}

// replays says whether the steps of a candidate's trial are worth taking again by themselves, and can be.
func (s *search) replays(c Candidate) bool {
	steps := s.steps[c.Name]
	return c.Refit != nil && len(steps) > 0 && !slices.ContainsFunc(steps, func(p *method.Step) bool { return len(p.Refit) > 0 && p.Refit[0].Transform })
}

// most is how many windows a candidate can have in the time that is left, all if it can, and whether it then takes the steps of its trial: where it cannot choose
// them again with twice the windows of the trial.
func (s *search) most(c Candidate, t *Trial) (windows int, replayed bool) {
	left := s.until(pruneShare).Seconds()
	within := func(replayed bool) int {
		n := len(s.Options.Windows)
		for n > 0 && s.cost(c, t, n, replayed) > left {
			n--
		}
		return n
	}
	if n := within(false); n >= min(2*t.Windows, len(s.Options.Windows)) || !s.replays(c) {
		return n, false
	}
	return within(true), true
}

// cost is how many seconds a candidate will take with so many windows, by what its trial took. A fit is a part that does not depend on windows,
// the solution, and passes of the layer.
func (s *search) cost(c Candidate, t *Trial, windows int, replayed bool) float64 {
	n := float64(windows)
	known := n * float64(len(s.Model.Layers)) * s.pass // the opened model's scores and states
	if c.Refit == nil {
		return known + t.Seconds*n/float64(t.Windows)
	}
	pass := s.pass
	if c.Refit.Defaults().Projections == refit.Both {
		pass *= bothPasses
	} else {
		pass *= downPasses
	}
	solution := max(0, t.Fitting/float64(max(1, t.Fitted))-pass*float64(t.Windows))
	fits := func(layers int) float64 { return float64(layers) * (solution + pass*n) }
	took := t.Solving + max(0, t.Seconds-t.Fitting-t.Solving)*n/float64(t.Windows)
	fitted := t.Fitted
	if replayed { // nothing is tried
		took, fitted = 0, min(fitted, len(s.Model.Layers)-s.TargetLayers)
	}
	if !c.Refit.End {
		took += fits(fitted)
	}
	if c.Refit.Defaults().All {
		took += fits(s.TargetLayers)
	}
	return known + took
}

// Passes of a layer that take about as long as its fit, without the solutions: those of the layer, of which the later ones go on from what the
// first left (run.Kept), and the products of what its projections read. Both projections of SmolLM2-135M take about 3, and 5 where down_proj
// is then fitted alone.
const (
	bothPasses = 4
	downPasses = 2
)

// plan is the run of what was chosen. source is the model's hash.
func (s *search) plan(source string) (*Plan, error) {
	a, r := s.Options, s.record
	chosen := s.candidate(r.Chosen)
	if chosen.Method == nil || r.Replayed && !s.replays(chosen) {
		return nil, fmt.Errorf("prune: %s: the search chose %q, which is no candidate, or its steps are missing", s.path, r.Chosen)
	}
	o := Options{TargetLayers: s.TargetLayers, Method: chosen.Method, Protect: a.Protect, Devices: a.Devices, Memory: a.Memory}
	if chosen.Method.Needs().Corpus || chosen.Refit != nil {
		o.Windows, o.Seed, o.Source = spread(a.Windows, r.Windows), a.Seed, a.Source
	}
	if chosen.Refit != nil {
		fit := chosen.Refit.Defaults()
		fit.HeldOut = min(fit.HeldOut, len(o.Windows))
		o.Refit = &fit
	}
	if h := a.Heal; h != nil && r.Heal >= 1 {
		own := s.healing(*h)
		o.Distill = &own
	}
	p, err := NewPlan(s.Model, o)
	if err == nil && r.Replayed {
		was := &Lineage{Method: chosen.Method.Name(), Options: p.record(), Device: deviceRecord(s.device), Source: Source{source, len(s.Model.Layers)}, Steps: s.steps[r.Chosen]}
		o.TargetLayers, o.Replay = 0, was
		p, err = NewPlan(s.Model, o)
	}
	if err != nil {
		return nil, err
	}
	p.auto = &s.record
	return p, nil
}

// healing fills in options of training: the time that is left, as many steps for all weights as it holds, and steps so small that there are many,
// with a learning rate smaller by the root of that, as for Adam (Malladi et al., arXiv 2205.10287). Where the smallest are few, no layer is trained by
// itself: a second of such a step does more than one of a layer's.
//
// The rate of few steps is larger, up to the whole one for fewSteps: what a step moves in a direction that it shares with the others adds up by their
// number, and what is noise by its root. SmolLM2-135M, a fitted union of 21 layers, steps of two windows, perplexity on WikiText-2: of 57.0 four steps at
// the whole rate leave 50.9, seven at 0.67 of it 51.9, and at 0.35 52.6; of 65.0 four leave 58.3, ten 74.1, and twenty at 0.35 58.4.
func (s *search) healing(h DistillOptions) DistillOptions {
	o := &h.Options
	o.Budget = time.Duration(s.record.Heal * float64(time.Second))
	if o.EndToEnd == 0 {
		o.EndToEnd = endToEndSteps
	}
	if o.Batch != 0 {
		return h
	}
	own := *o
	full, err := own.Defaults(s.Model, len(h.Windows), len(h.Windows[0]))
	if err != nil {
		return h // which the plan refuses with the same words
	}
	steps := func() float64 { // that there is time for
		return s.record.Heal / (float64(o.Batch) * trainingPasses * s.pass * float64(len(s.Model.Layers)))
	}
	for o.Batch = full.Batch; o.Batch > leastBatch && steps() < 2*manySteps; {
		o.Batch /= 2
	}
	less := math.Sqrt(float64(o.Batch) / float64(full.Batch))
	if steps() < 2*manySteps {
		h.Schedule = DistillWhole
		less = max(less, min(1, math.Sqrt(fewSteps/steps())))
	}
	o.LR, o.EndLR = full.LR*less, full.EndLR*less
	return h
}

const (
	endToEndSteps  = 400 // at most
	manySteps      = 60  // in half of the time, for which a step is made smaller, down to leastBatch
	fewSteps       = 4   // that all weights may be trained in at the whole rate
	leastBatch     = 2
	trainingPasses = 6 // forward passes that take about as long as a step of all weights for the same windows
)
