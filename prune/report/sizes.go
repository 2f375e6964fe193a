package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/vk"
)

const maxTests = 6 // tests of models that have a plot each

// sized is a model that was measured on a device.
type sized struct {
	device string
	memory int64 // of the device; 0: unknown
	bench.Rates
}

// test is the model's measure of a name, nil without one.
func (s sized) test(name string) *bench.Measure {
	i := slices.IndexFunc(s.Tests, func(m bench.Measure) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Tests[i]
}

// share is the part of the device's memory that the model's weights take, 0 where either is unknown.
func (s sized) share() float64 {
	if s.memory <= 0 {
		return 0
	}
	return float64(s.Bytes) / float64(s.memory)
}

// sizes are the speeds of models by their size, against the memory of the devices: what a device can run, and how fast.
func (b *builder) sizes(list []*bench.Report) {
	var devices, tests []string
	var models []sized
	entries := bench.Survey(list...).Devices
	for _, e := range entries {
		name := e.Name // reports of one device are one curve; of one name with other drivers they are several
		if slices.ContainsFunc(entries, func(other bench.Entry) bool {
			return other.Name == e.Name && other.DriverVersion+other.Tier != e.DriverVersion+e.Tier
		}) {
			name = fmt.Sprintf("%s, %s, %s", e.Name, e.DriverVersion, e.Tier)
		}
		for _, m := range e.Models {
			models = append(models, sized{name, e.Memory, m})
			for _, t := range m.Tests {
				if !slices.Contains(tests, t.Name) {
					tests = append(tests, t.Name)
				}
			}
		}
		if !slices.Contains(devices, name) {
			devices = append(devices, name)
		}
	}
	if len(models) == 0 {
		return
	}
	slices.SortStableFunc(models, func(a, b sized) int { return cmp.Compare(a.Bytes, b.Bytes) })
	heads := []string{"model", "#parameters", "#weights", "device", "#memory", "#weights ÷ memory"}
	for _, name := range tests {
		heads = append(heads, "#"+name+", tokens/s")
	}
	t := newTable("Speed of models by their size", heads...)
	for _, m := range models {
		line := []cell{worded(m.Model), zeroEmpty(float64(m.Parameters), fmt.Sprint(m.Parameters)), size(m.Bytes), worded(m.device), size(m.memory), zeroEmpty(m.share(), percent(m.share()).Text)}
		for _, name := range tests {
			if x := m.test(name); x != nil {
				line = append(line, shown(x.Value))
			} else {
				line = append(line, cell{})
			}
		}
		t.row(line...)
	}
	var plots []*figure
	for _, name := range tests[:min(len(tests), maxTests)] {
		plots = append(plots, speeds(name, devices, models).figure())
	}
	b.figures(plots...)
	b.table(t)
}

// speeds are the values of a test by the size of the model's weights, a curve for each device. Models of unknown size are in the table alone.
func speeds(test string, devices []string, models []sized) chart {
	const MiB = 1 << 20
	c := chart{title: "Speed by size of the model: " + test, x: "MiB of weights", y: "tokens/s",
		desc: "A dot is a model on a device, with the range of the repetitions; the table has all values, and what of the device's memory the weights take."}
	var all []point
	for _, device := range devices {
		of := curve{name: device, line: true, dots: true}
		for _, m := range models {
			x := m.test(test)
			if m.device != device || x == nil || m.Bytes <= 0 {
				continue
			}
			p := point{x: float64(m.Bytes) / MiB, y: x.Value, low: x.Low, high: x.High, title: fmt.Sprintf("%s, %s: %s tokens/s", m.Model, device, num(x.Value))}
			if m.share() > 0 {
				p.title += fmt.Sprintf("; %s of %s of memory", vk.Bytes(m.Bytes), vk.Bytes(m.memory))
			}
			of.points = append(of.points, p)
		}
		all = append(all, of.points...)
		c.curves = append(c.curves, of)
	}
	c.log = wide(all)
	return c
}
