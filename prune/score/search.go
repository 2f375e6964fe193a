package score

import (
	"context"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/run"
)

// search finds the window of layers with the smallest mean angle while running as little as that takes.
//
// A candidate's mean is of terms that are not negative, one for each corpus window. So one whose terms so far add up to more than all
// of the best candidate's is out, and a layer that only such candidates need does not run for the rest of the corpus. A candidate
// that is expected to be the best is completed first; then the topmost that is left is worked on until it is out, with the corpus
// windows that promise the largest terms, whose lower layers serve the candidates below it as well. The result is that of all terms.
type search struct {
	layers, span int
	eligible     []bool
	batches      []run.Batch
	terms        [][]float64 // [layers−span+1][corpus windows], NaN where not computed
	before       [][]float64 // what to expect of them, from the model before the last merge; nil: nothing
	heights      []int       // by batch: the last boundary that is there
	round        int         // batches of each device that are run before the next decision
	known        []int       // by batch: the boundary up to which all stats of layers are there; nil: those of the heights
	devices      []int       // by batch: the device that runs it

	// advance takes batches to a boundary and fills in terms. With last, the last layer runs for the last tokens alone, and the
	// height becomes that below it.
	advance func(ctx context.Context, batches []int, boundary int, last bool) error
}

// slack covers the rounding of sums in another order: no candidate is out that ties with the best.
const slack = 1 + 1e-9

// run returns the first layer of the best candidate, all of whose layers have then seen the whole corpus in full, or −1 where none is
// eligible.
func (s *search) run(ctx context.Context) (int, error) {
	for {
		best := s.best()
		top, expected := s.open(best)
		switch {
		case top < 0 && best < 0:
			return -1, nil
		case top < 0: // all others are out
			if rest := s.below(best + s.span); len(rest) > 0 { // its last terms came from its last tokens
				if err := s.advance(ctx, rest, best+s.span, false); err != nil {
					return 0, err
				}
			}
			return best, nil
		}
		goal, last := top, true
		if expected >= 0 {
			goal, last = expected, false
		}
		batches := s.next(goal, last)
		if err := s.advance(ctx, batches, goal+s.span, last); err != nil {
			return 0, err
		}
	}
}

// best is the complete candidate with the smallest sum, the first of equals; −1: none is complete.
func (s *search) best() int {
	best := -1
	for c, terms := range s.terms {
		if v := sum(terms); s.eligible[c] && !math.IsNaN(v) && (best < 0 || v < sum(s.terms[best])) {
			best = c
		}
	}
	return best
}

// open is the topmost candidate that is not complete and may still be the best, −1 if there is none; and the one that is expected to
// be, −1 if that is the best so far or nothing is known of it.
func (s *search) open(best int) (top, expected int) {
	top, expected = -1, -1
	bound, least := math.Inf(1), math.Inf(1)
	if best >= 0 {
		bound = sum(s.terms[best])
		least = bound
	}
	for c, terms := range s.terms {
		if !s.eligible[c] || !math.IsNaN(sum(terms)) || known(terms) > bound*slack {
			continue
		}
		top = c
		if v := sum(s.forecast(c)); v < least {
			expected, least = c, v
		}
	}
	return top, expected
}

// next is the batches to run for a candidate: those without its terms, in the order of what they promise, as many of each device as a round has.
func (s *search) next(c int, last bool) []int {
	var missing []int
	promise := make([]float64, len(s.batches))
	forecast := s.forecast(c)
	for i, b := range s.batches {
		if last && !math.IsNaN(s.terms[c][b.Begin]) || !last && s.stats(i) >= c+s.span {
			continue
		}
		missing = append(missing, i)
		promise[i] = known(forecast[b.Begin:b.End])
	}
	slices.SortStableFunc(missing, func(a, b int) int {
		switch {
		case promise[a] > promise[b]:
			return -1
		case promise[a] < promise[b]:
			return 1
		}
		return 0
	})
	taken := map[int]int{}
	return slices.DeleteFunc(missing, func(b int) bool {
		taken[s.devices[b]]++
		return taken[s.devices[b]] > s.round
	})
}

// below is the batches that did not run all layers below a boundary in full.
func (s *search) below(boundary int) []int {
	var list []int
	for i := range s.heights {
		if s.stats(i) < boundary {
			list = append(list, i)
		}
	}
	return list
}

// stats is the boundary up to which all stats of a batch are there.
func (s *search) stats(batch int) int {
	if s.known == nil {
		return s.heights[batch]
	}
	return max(s.heights[batch], s.known[batch])
}

// forecast is a candidate's terms, and for those that are missing what the model before or else the nearest candidate below that has
// them tells of the corpus window, scaled to the terms that are there, or else the mean of these. Where there are none, and nothing is
// known of the model before, they stay NaN.
func (s *search) forecast(c int) []float64 {
	out, like := slices.Clone(s.terms[c]), make([]float64, len(s.terms[c]))
	var here, there, total, count float64
	for w, v := range out {
		like[w] = math.NaN()
		if c < len(s.before) {
			like[w] = s.before[c][w]
		}
		for k := c - 1; k >= 0 && math.IsNaN(like[w]); k-- {
			like[w] = s.terms[k][w]
		}
		if math.IsNaN(v) {
			continue
		}
		total, count = total+v, count+1
		if !math.IsNaN(like[w]) {
			here, there = here+v, there+like[w]
		}
	}
	scale := math.NaN()
	if there > 0 {
		scale = here / there
	} else if c < len(s.before) {
		scale = 1
	}
	for w, v := range out {
		if !math.IsNaN(v) {
			continue
		}
		if out[w] = scale * like[w]; math.IsNaN(out[w]) {
			out[w] = total / count
		}
	}
	return out
}

// sum adds terms up in the order of the corpus; it is NaN unless all are known.
func sum(terms []float64) float64 {
	total := 0.0
	for _, v := range terms {
		total += v
	}
	return total
}

// known adds up the terms that are known.
func known(terms []float64) float64 {
	total := 0.0
	for _, v := range terms {
		if !math.IsNaN(v) {
			total += v
		}
	}
	return total
}
