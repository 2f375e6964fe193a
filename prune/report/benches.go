package report

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/bench"
)

// benches is the section of what was measured on devices, side by side where there are several.
func (b *builder) benches(list []*bench.Report) {
	if len(list) == 0 {
		return
	}
	b.begin("Speed")
	devices := newTable("Devices", "#no.", "device", "kind", "driver", "version", "tier", "model", "clock", "vkcome")
	var names []string
	for i, r := range list {
		d := r.Device
		devices.row(whole(i+1), worded(d.Name), worded(d.KindName), worded(d.Driver), worded(d.DriverVersion), worded(r.Tier), worded(r.Model), worded(r.Clock), worded(r.Version))
		name := d.Name
		if len(list) > 1 {
			name = fmt.Sprintf("%d: %s", i+1, name)
		}
		names = append(names, name)
	}
	b.table(devices)
	rows := measured(list)
	var plots []*figure
	for _, unit := range units(rows) {
		plots = append(plots, rates(names, rows, unit).figure())
	}
	b.figures(append(plots, fractions(names, rows).figure())...)
	b.sizes(list)
	heads := []string{"what", "unit"}
	for i := range list {
		n := ""
		if len(list) > 1 {
			n = fmt.Sprintf(" %d", i+1)
		}
		heads = append(heads, "#value"+n, "#low"+n, "#high"+n, "#GFLOP/s"+n, "#GB/s"+n, "#of the peak"+n, "bound by"+n)
		if i > 0 {
			heads = append(heads, fmt.Sprintf("#%d ÷ 1", i+1))
		}
	}
	t := newTable("All that was measured", heads...)
	for _, r := range rows {
		line := []cell{worded(r.name), worded(r.unit)}
		for i, v := range r.of {
			if v == nil {
				v = &bench.Result{}
			}
			line = append(line, shown(v.Value), shown(v.Low), shown(v.High), shown(v.GFlops), shown(v.GBytes), zeroEmpty(v.Fraction, percent(v.Fraction).Text), worded(v.Bound))
			if i > 0 {
				line = append(line, r.ratio(i))
			}
		}
		t.row(line...)
	}
	b.table(t)
	for i, r := range list {
		for _, why := range r.LeftOut {
			b.add(block{Text: fmt.Sprintf("Left out on %s: %s.", names[i], why)})
		}
	}
}

// shown is a number that was measured, 0 where it was not.
func shown(v float64) cell { return zeroEmpty(v, num(v)) }

// measurement is one thing that was measured, on each device that has it.
type measurement struct {
	name, unit string
	of         []*bench.Result
}

// ratio is how many times as fast as the first device another is.
func (m measurement) ratio(i int) cell {
	a, b := m.of[0], m.of[i]
	if a == nil || b == nil || !(a.Value > 0) || !(b.Value > 0) {
		return cell{}
	}
	if m.unit == "s" {
		a, b = b, a
	}
	return numeric(b.Value / a.Value)
}

// measured joins what devices have in the order of the first's, then of what later ones have besides.
func measured(list []*bench.Report) (rows []measurement) {
	for _, r := range list {
		for _, x := range r.Results {
			if !slices.ContainsFunc(rows, func(m measurement) bool { return m.name == x.Name }) {
				m := measurement{name: x.Name, unit: x.Unit}
				for _, other := range list {
					m.of = append(m.of, other.Get(x.Name))
				}
				rows = append(rows, m)
			}
		}
	}
	return rows
}

const maxMeasured = 40 // rows of a plot

// units lists those of the rows, tokens/s first.
func units(rows []measurement) (list []string) {
	for _, r := range rows {
		if !slices.Contains(list, r.unit) {
			list = append(list, r.unit)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return rank(a) - rank(b) })
	return list[:min(len(list), 8)]
}

func rank(unit string) int {
	if unit == "tokens/s" {
		return 0
	}
	return 1
}

// rates are the values of one unit, with the slowest and the fastest repetition as error bars.
func rates(devices []string, rows []measurement, unit string) bars {
	b := bars{title: "Measured in " + unit, x: unit, series: devices, values: make([][]bar, len(devices)), desc: "The bar is the median, the line the range of the repetitions; the table has all values."}
	for _, r := range rows {
		if r.unit != unit || len(b.names) == maxMeasured {
			continue
		}
		b.names = append(b.names, r.name)
		for i, v := range r.of {
			one := bar{value: nan}
			if v != nil {
				one = bar{value: v.Value, low: v.Low, high: v.High, title: fmt.Sprintf("%s, %s: %s %s (%s to %s)", r.name, devices[i], num(v.Value), unit, num(v.Low), num(v.High))}
			}
			b.values[i] = append(b.values[i], one)
		}
	}
	return b
}

// fractions are how near to the measured peaks the operations come.
func fractions(devices []string, rows []measurement) bars {
	whole := 1.0
	b := bars{title: "Share of the device's measured peak", x: "share", series: devices, values: make([][]bar, len(devices)), mark: &whole,
		desc: "The time that memory or arithmetic would take at the measured peaks over the time taken; the dashed line is the peak."}
	for _, r := range rows {
		if len(b.names) == maxMeasured || !slices.ContainsFunc(r.of, func(x *bench.Result) bool { return x != nil && x.Fraction > 0 }) {
			continue
		}
		b.names = append(b.names, r.name)
		for i, v := range r.of {
			one := bar{value: nan}
			if v != nil && v.Fraction > 0 {
				one = bar{value: v.Fraction, title: fmt.Sprintf("%s, %s: %s %% of the %s peak", r.name, devices[i], num(100*v.Fraction), v.Bound)}
			}
			b.values[i] = append(b.values[i], one)
		}
	}
	return b
}
