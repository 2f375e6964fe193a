package prune

import (
	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// scoring is how a run goes forward.
func (p *Plan) scoring(d *vk.Device) model.ForwardOptions {
	o := score.Options(d)
	o.Host = p.Options.Memory
	o.StatesOnHost = p.Options.Distill != nil || p.gradients() // which want the device's memory
	return o
}

// gradients says whether the method needs those of the loss.
func (p *Plan) gradients() bool {
	_, ok := p.Method.(method.Taylor)
	return ok
}

// workBytes is the host memory that a run takes beside its states: scores of every layer and window, and one merged layer on its way to
// its file, or all of them where they stay in memory; a quarter more for what Go has not collected yet.
func (p *Plan) workBytes() int64 {
	c, layers := p.Model.Config, int64(len(p.Model.Layers))
	scores, merged := int64(0), int64(0)
	if w := p.Options.Windows; p.scores() {
		scores = 4 * (layers + 1) * int64(len(w)) * int64(len(w[0])+c.Heads*c.HeadDim+c.IntermediateSize+c.HiddenSize)
	}
	for _, l := range p.Model.Layers {
		merged = max(merged, l.Bytes())
	}
	if p.Options.Memory == nil || p.Options.Memory.Limit == 0 {
		merged *= layers - int64(p.TargetLayers)
	}
	return (scores + merged) * 5 / 4
}

// Footprint predicts the memory that Run takes on a device, whose memory limit and that of Options.Memory it honours.
func (p *Plan) Footprint(d *vk.Device) (model.Footprint, error) {
	if !p.scores() {
		return model.Footprint{Host: p.workBytes()}, nil
	}
	windows := p.Options.Windows
	if p.gradients() {
		return score.PredictTaylor(d, p.Model, len(windows), len(windows[0]), p.workBytes(), p.scoring(d))
	}
	return model.Predict(d, p.Model, len(windows), len(windows[0]), p.boundaries(), p.workBytes(), p.scoring(d))
}

// boundaries is how many boundaries' states are kept together.
func (p *Plan) boundaries() int {
	if p.gradients() {
		return model.GradientBoundaries(p.Model)
	}
	return len(p.Model.Layers) + 1
}
