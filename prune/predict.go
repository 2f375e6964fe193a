package prune

import (
	"context"
	"errors"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// Prediction is what a run would do and take: sizes in bytes, counts of passes over the whole corpus, and time.
type Prediction struct {
	Method       string  `json:"method"`
	TargetLayers int     `json:"target_layers"`
	Protected    []int   `json:"protected,omitempty"`
	Depths       []Depth `json:"depths"` // what the model is with all its layers, down to the target

	Windows     int   `json:"windows"`
	Window      int   `json:"window"` // tokens
	Passes      int   `json:"layer_passes"`
	HeadPasses  int   `json:"head_passes"`
	StateBytes  int64 `json:"state_bytes"`  // hidden states that are kept, wherever they lie
	SpillBytes  int64 `json:"spill_bytes"`  // of these in files, before compression
	DeviceBytes int64 `json:"device_bytes"` // peak of the device's memory, at most
	HostBytes   int64 `json:"host_bytes"`   // peak of what the process holds resident of the host's, without the device's, at most

	Training *train.Memory `json:"training,omitempty"` // device memory of distillation, phase by phase; it is in DeviceBytes

	// Seconds is how long the passes take at most, going by one layer that was run for some windows on the device. Sums and solutions of fits
	// are not in it, which may take longer, nor is distillation.
	Seconds float64 `json:"seconds"`
}

// sampleTokens is how many tokens the measurement of a layer takes.
const sampleTokens = 1024

// Predict says what Run would do and take on a device, on which it runs one layer. Nothing is written. Memory that does not suffice is an
// error, as it is of Run.
func (p *Plan) Predict(ctx context.Context, d *vk.Device) (*Prediction, error) {
	m := p.Model
	out := &Prediction{Method: p.Method.Name(), TargetLayers: p.TargetLayers}
	for l, is := range p.protected {
		if is {
			out.Protected = append(out.Protected, l)
		}
	}
	for _, depth := range Depths(m) {
		if depth.Layers >= p.TargetLayers {
			out.Depths = append(out.Depths, depth)
		}
	}
	if p.Options.Distill != nil {
		_, memory, err := p.distillJob(m).Plan(d)
		if err != nil {
			return nil, err
		}
		out.Training, out.DeviceBytes = &memory, memory.Peak()
	}
	if !p.scores() {
		return out, nil
	}
	windows := p.Options.Windows
	out.Windows, out.Window, out.StateBytes = len(windows), len(windows[0]), p.StateBytes()
	if p.chooses() {
		out.Passes, out.HeadPasses = p.Method.Cost(len(m.Layers), p.TargetLayers)
	}
	out.Passes += p.refitPasses()
	need, err := p.Footprint(d) // before anything is measured, which takes memory
	if err != nil {
		return nil, err
	}
	out.SpillBytes, out.HostBytes = need.Disk, need.Host
	out.DeviceBytes = max(out.DeviceBytes, need.Device)
	layer, head, err := measure(ctx, d, m, windows)
	if err != nil {
		return nil, err
	}
	out.Seconds = float64(out.Passes)*layer + float64(out.HeadPasses)*head
	return out, nil
}

// measure is the time in seconds that a run of a layer, and of the LM head, over all windows takes.
func measure(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32) (layer, head float64, err error) {
	one, err := m.With(m.Layers[:1], []int{0})
	if err != nil {
		return 0, 0, err
	}
	some := windows[:min(len(windows), max(1, sampleTokens/len(windows[0])))]
	f, err := run.New(d, one, some)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Embed(ctx, one); err != nil {
		return 0, 0, err
	}
	share := float64(len(windows)) / float64(len(some))
	for range 2 { // the first run compiles kernels
		begin := time.Now()
		if err := f.Layer(ctx, one, 0, nil); err != nil {
			return 0, 0, err
		}
		between := time.Now()
		if _, err := f.Loss(ctx, one); err != nil {
			return 0, 0, err
		}
		layer, head = share*between.Sub(begin).Seconds(), share*time.Since(between).Seconds()
	}
	return layer, head, nil
}

// StateBytes is the size of the hidden states that a run keeps, in device memory as far as it goes and in the host's beyond.
func (p *Plan) StateBytes() int64 {
	if !p.scores() {
		return 0
	}
	return int64(p.boundaries()) * int64(len(p.Options.Windows)) * int64(len(p.Options.Windows[0])) * int64(p.Model.Config.HiddenSize) * 4
}

// Footprint predicts the memory that Run takes on a device, within the device's limit and that of Options.Memory.
func (p *Plan) Footprint(d *vk.Device) (run.Footprint, error) {
	if !p.scores() {
		return run.Footprint{Host: p.workBytes()}, nil
	}
	windows := p.Options.Windows
	if p.gradients() {
		return score.PredictTaylor(d, p.Model, len(windows), len(windows[0]), p.workBytes(), p.scoring(d))
	}
	return run.Predict(d, p.Model, len(windows), len(windows[0]), p.boundaries(), p.workBytes(), score.Room(p.scoring(d), p.Model, len(windows)))
}

// scoring is how a run goes forward.
func (p *Plan) scoring(d *vk.Device) run.Options {
	o := score.Options(d)
	o.Host = p.Options.Memory
	if p.holds() {
		o = refit.Room(o, d, p.Model, len(p.Options.Windows[0]))
	}
	o.StatesOnHost = p.Options.Distill != nil || p.gradients() // which want the device's memory
	return o
}

// boundaries is how many boundaries' states are kept together.
func (p *Plan) boundaries() int {
	n := len(p.Model.Layers) + 1
	if p.gradients() {
		n = train.GradientBoundaries(p.Model)
	}
	if c := p.Model.Config; p.holds() { // those of the opened model too, and what run.Kept keeps
		kept := c.Heads*c.HeadDim + c.DenseNeurons()
		n += len(p.Model.Layers) + 1 + (kept+c.HiddenSize-1)/c.HiddenSize
	}
	return n
}

// refitPasses is how many runs of a layer fitting takes at most: one of each layer of the opened model, unless the method scores that anyway,
// those below each layer that is fitted, where no scores want them, and those for the sums. Where all are fitted in the end, each layer runs
// once more for the states that enter the next.
func (p *Plan) refitPasses() int {
	if p.Options.Refit == nil {
		return 0
	}
	layers, passes := len(p.Model.Layers), 0
	if o := p.Options.Refit.Defaults(); o.All {
		passes += p.TargetLayers * (1 + len(refit.Projections))
		if o.End {
			return passes + layers
		}
	}
	for from := layers; from > p.TargetLayers; from-- {
		passes += len(refit.Projections)
		if !p.chooses() {
			passes += from - 1
		}
	}
	if !p.chooses() {
		passes += layers
	}
	return passes
}

// workBytes is the host memory that a run takes beside its states: scores of every layer and window, and one merged layer on its way to
// its file, or all of them where they stay in memory; a quarter more for what Go has not collected yet.
func (p *Plan) workBytes() int64 {
	c, layers := p.Model.Config, int64(len(p.Model.Layers))
	scores, merged := int64(0), int64(0)
	if w := p.Options.Windows; p.scores() {
		scores = 4 * (layers + 1) * int64(len(w)) * int64(len(w[0])+c.Heads*c.HeadDim+c.MostUnits()+c.HiddenSize)
	}
	for _, l := range p.Model.Layers {
		merged = max(merged, l.Bytes())
	}
	if p.Options.Memory == nil || p.Options.Memory.Limit == 0 {
		merged *= layers - int64(p.TargetLayers)
	}
	if p.holds() {
		var o refit.Options
		if p.Options.Refit != nil {
			o = *p.Options.Refit
		}
		merged += refit.HostBytes(p.Model, len(o.Defaults().Lambdas), p.chooses() && p.Method.Needs().Union)
	}
	return (scores + merged) * 5 / 4
}
