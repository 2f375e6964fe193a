package prune

import (
	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
)

// Recommended is the method, and the fit of what it leaves, that left most of real models in the time that a method alone takes: Union with one
// candidate, after the last step every layer fitted from the lowest on that stands for others. Models with experts have Greedy in its place,
// which chooses no neurons. The fit is for a corpus of so many windows. What was measured is in this package's README.
func Recommended(m *model.Model, windows int) (method.Method, *refit.Options) {
	fit := &refit.Options{Projections: bothOf(m), All: true}
	if own := fit.Defaults().HeldOut; windows >= 2 && windows < own {
		fit.HeldOut = windows
	}
	by := method.Greedy{Candidates: 1}
	if m.Config.Experts > 0 {
		return by, fit
	}
	return method.Union{Greedy: by}, fit
}

// bothOf is refit.Both, or what can be fitted where a norm stands behind attention, whose output is not kept then.
func bothOf(m *model.Model) string {
	if m.Config.OutputNorms {
		return refit.Down
	}
	return refit.Both
}
