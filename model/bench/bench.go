// Package bench measures a device: its memory and arithmetic, the operations of a language model on it, and whole models. Each
// operation is set against the floor that memory and arithmetic give it, so that devices and kernels can be compared.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Schema is the version of Report's JSON. It changes when a field changes its meaning.
const Schema = 1

// Options say what to measure. The zero value is the device and the operations that it does in reasonable time.
type Options struct {
	Model   *model.Model // also measure this model; nil is none
	Reps    int          // repetitions after the warm-up; 0 is 5
	Only    []string     // measure only what has one of these in its name
	All     bool         // measure also what takes more than four seconds a repetition
	Kernels bool         // also measure every kernel that the device has for an operation, see op.Kernels
	Extra   []Case       // also measure these, last
}

// Case is something else to measure: Run does it once.
type Case struct {
	Name, Unit string  // Unit is "s" or "tokens/s"
	Work       float64 // what Run does, in the unit's tokens; 1 for "s"
	Run        func(ctx context.Context) error
}

// Result is one measurement: the median over the repetitions, and their range.
type Result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"` // GFLOP/s, GB/s, tokens/s, or s
	Value   float64   `json:"value"`
	Low     float64   `json:"low"` // the slowest repetition, or for s the fastest
	High    float64   `json:"high"`
	Seconds []float64 `json:"seconds"` // of a call, one for each repetition, the fastest first

	GFlops   float64 `json:"gflops,omitempty"`      // GFLOP/s
	GBytes   float64 `json:"gbytes,omitempty"`      // GB/s of what has to be read and written at least once
	Fraction float64 `json:"of_floor,omitempty"`    // the time that the measured peaks would take, over the time taken
	Bound    string  `json:"floor_bound,omitempty"` // which peak that is: memory, f32, f16 or coopmat
	Kernel   string  `json:"kernel,omitempty"`      // by which a product or attention ran, as op.Choice says; empty elsewhere
	Why      string  `json:"why,omitempty"`         // by that one
}

// Report is all that was measured on a device.
type Report struct {
	Schema  int        `json:"schema"`
	Tool    string     `json:"tool,omitempty"`   // LlamaBench, or empty for vkcome
	Version string     `json:"vkcome"`           // of the tool
	System  string     `json:"system,omitempty"` // operating system and architecture, as in linux/amd64
	Device  vk.Info    `json:"device"`
	Tier    string     `json:"tier"`  // that was used; of llama-bench its backends
	Clock   string     `json:"clock"` // of bandwidth, arithmetic and operations: device, or host where that has none; models: host
	Model   string     `json:"model,omitempty"`
	Details *ModelInfo `json:"model_details,omitempty"` // nil where no model was measured, or nothing is known of it
	Results []Result   `json:"results"`
	LeftOut []string   `json:"left_out,omitempty"` // names and why

	Source string `json:"-"` // the name, without its folder, of the file that Read found it in
}

// ModelInfo is what a report says of the model that was measured. None of it tells where the model's files are.
type ModelInfo struct {
	Name         string `json:"name,omitempty"` // a name that everybody may know, as synthetic:32m or owner/name of the hub; empty: there is none
	Architecture string `json:"architecture,omitempty"`
	Layers       int    `json:"layers,omitempty"`
	Parameters   int64  `json:"parameters"`
	Bytes        int64  `json:"bytes"`            // of the weights
	DType        string `json:"dtype,omitempty"`  // of the first layer's query projection
	SHA256       string `json:"sha256,omitempty"` // see model.Hash; empty where it was not asked for or there are no files
}

// Get is the result of a name, or nil.
func (r *Report) Get(name string) *Result {
	for i := range r.Results {
		if r.Results[i].Name == name {
			return &r.Results[i]
		}
	}
	return nil
}

// Run measures. progress, if not nil, is called before each case.
func Run(ctx context.Context, d *vk.Device, o Options, progress func(name string, done, total int)) (report *Report, err error) {
	if o.Reps == 0 {
		o.Reps = 5
	}
	if o.Reps < 1 {
		return nil, fmt.Errorf("bench: %d repetitions, expected 1 or more", o.Reps)
	}
	b := &bencher{ctx: ctx, d: d, o: o, report: &Report{Schema: Schema, System: runtime.GOOS + "/" + runtime.GOARCH, Device: d.Info, Tier: d.Tier.String(), Clock: "host"}}
	defer func() { err = errors.Join(err, b.close()) }()
	if b.r, err = d.NewRecorder(); err != nil {
		return nil, err
	}
	if d.HasTimestamps() {
		b.report.Clock = "device"
		if b.timer, err = d.NewTimer(); err != nil {
			return nil, err
		}
	}
	cases := slices.Concat(b.peaks(), b.operations())
	if o.Kernels {
		cases = append(cases, b.kernels()...)
	}
	if o.Model != nil {
		m := o.Model
		b.report.Model = m.Name
		b.report.Details = &ModelInfo{Architecture: m.Config.Architecture, Layers: len(m.Layers), Parameters: m.Parameters(), Bytes: m.Bytes(), DType: m.Layers[0].Weights[arch.Q].DType.String()}
		cases = append(cases, b.models()...)
	}
	for _, c := range o.Extra {
		cases = append(cases, b.extra(c))
	}
	for i, c := range cases {
		// The peaks are always measured: the others are set against them.
		if !c.peak && len(o.Only) > 0 && !slices.ContainsFunc(o.Only, func(part string) bool { return strings.Contains(c.name, part) }) {
			continue
		}
		if progress != nil {
			progress(c.name, i, len(cases))
		}
		if err := b.run(c); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", c.name, err)
		}
	}
	return b.report, nil
}

// benchmark is one case: what prepare allocates is freed after it.
type benchmark struct {
	name, unit   string
	peak         bool
	flops, bytes float64 // of a call
	work         float64 // of a call, in the unit
	arithmetic   string  // which peak the flops are set against
	// prepare returns what records a call, or with host what does it, timed by the host.
	prepare func(p *pool) (record func() error, err error)
	host    bool
	kernels op.Kernels // forced for this case; nil leaves what is in use
	choice  *op.Choice // that prepare finds; nil where one kernel does it
}

// bencher is the state of a run.
type bencher struct {
	ctx    context.Context
	d      *vk.Device
	o      Options
	r      *vk.Recorder
	timer  *vk.Timer
	report *Report
}

func (b *bencher) close() error {
	var err error
	if b.r != nil {
		err = b.r.Close()
	}
	if b.timer != nil {
		b.timer.Close()
	}
	return err
}

// patience is the longest repetition that is taken on without Options.All.
const patience = 4 * time.Second

// expected is what a case takes at the measured peaks, and at half of them, which is what to reckon with.
func (b *bencher) expected(c benchmark) (floor, likely time.Duration, bound string) {
	memory, arithmetic := 0.0, 0.0
	if r := b.report.Get(readName); r != nil && r.Value > 0 {
		memory = c.bytes / (r.Value * 1e9)
	}
	if r := b.report.Get("peak " + c.arithmetic); r != nil && r.Value > 0 {
		arithmetic = c.flops / (r.Value * 1e9)
	}
	seconds, bound := memory, "memory"
	if arithmetic > memory {
		seconds, bound = arithmetic, c.arithmetic
	}
	floor = time.Duration(seconds * float64(time.Second))
	return floor, 2 * floor, bound
}

func (b *bencher) run(c benchmark) (err error) {
	floor, likely, bound := b.expected(c)
	if likely > patience && !b.o.All {
		b.report.LeftOut = append(b.report.LeftOut, fmt.Sprintf("%s: some %.0f s a repetition", c.name, likely.Seconds()))
		return nil
	}
	if c.kernels != nil {
		before, bad := op.KernelsOf(b.d)
		if bad = errors.Join(bad, c.kernels.Use(b.d)); bad != nil {
			return bad
		}
		defer func() { err = errors.Join(err, before.Use(b.d)) }()
	}
	p := &pool{b: b}
	defer func() { err = errors.Join(err, b.r.Wait(context.WithoutCancel(b.ctx))); p.close() }()
	call, err := c.prepare(p)
	if errors.Is(err, vk.ErrOutOfMemory) || errors.Is(err, vk.ErrLimit) {
		b.report.LeftOut = append(b.report.LeftOut, fmt.Sprintf("%s: %v", c.name, err))
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := b.time(c, call, 1); err != nil { // compiles
		return err
	}
	calls := 1
	if !c.host { // enough of them that what a submission costs does not count
		once, err := b.time(c, call, 1)
		if err != nil {
			return err
		}
		enough, most := 20*time.Millisecond, 100
		if c.peak { // all else is set against it: machines that are shared give more or less from one tenth of a second to the next
			enough, most = 100*time.Millisecond, 1000
		}
		calls = max(1, min(most, int(enough/max(once, time.Microsecond))))
	}
	seconds := make([]float64, b.o.Reps)
	for i := range seconds {
		t, err := b.time(c, call, calls)
		if err != nil {
			return err
		}
		seconds[i] = t.Seconds() / float64(calls)
	}
	b.report.Results = append(b.report.Results, c.result(seconds, floor, bound))
	return nil
}

// result turns the times of a call into the unit.
func (c benchmark) result(seconds []float64, floor time.Duration, bound string) Result {
	slices.Sort(seconds)
	n := len(seconds)
	median := (seconds[(n-1)/2] + seconds[n/2]) / 2
	r := Result{Name: c.name, Unit: c.unit, Seconds: seconds, GFlops: c.flops / median / 1e9, GBytes: c.bytes / median / 1e9}
	in := func(s float64) float64 {
		switch c.unit {
		case "s":
			return s
		case "GFLOP/s":
			return c.flops / s / 1e9
		case "GB/s":
			return c.bytes / s / 1e9
		}
		return c.work / s
	}
	r.Value, r.Low, r.High = in(median), in(seconds[n-1]), in(seconds[0])
	if c.unit == "s" {
		r.Low, r.High = r.High, r.Low
	}
	if c.choice != nil {
		r.Kernel, r.Why = c.choice.Kernel, c.choice.Why
	}
	if !c.peak && floor > 0 {
		r.Fraction, r.Bound = floor.Seconds()/median, bound
	}
	return r
}

// time is how long a number of calls takes.
func (b *bencher) time(c benchmark, call func() error, calls int) (time.Duration, error) {
	begin := time.Now()
	if b.timer != nil && !c.host {
		b.timer.Start(b.r)
	}
	for range calls {
		if err := call(); err != nil {
			return 0, err
		}
	}
	if b.timer != nil && !c.host {
		b.timer.Stop(b.r)
	}
	if err := b.r.Wait(b.ctx); err != nil {
		return 0, err
	}
	if b.timer == nil || c.host {
		return time.Since(begin), nil
	}
	t, err := b.timer.Elapsed()
	if err == nil && t <= 0 {
		err = fmt.Errorf("the device's clock says %v for %d calls", t, calls)
	}
	return t, err
}

// extra is a case of the caller's.
func (b *bencher) extra(c Case) benchmark {
	return benchmark{name: c.Name, unit: c.Unit, work: c.Work, host: true, prepare: func(*pool) (func() error, error) {
		return func() error { return c.Run(b.ctx) }, nil
	}}
}

// spread is the range of the repetitions around the median, as a fraction of it.
func (r Result) spread() float64 {
	if r.Value == 0 {
		return 0
	}
	return math.Max(r.High-r.Value, r.Value-r.Low) / r.Value
}
