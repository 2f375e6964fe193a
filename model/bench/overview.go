package bench

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/vk"
)

// OverviewSchema is the version of Overview's JSON. It changes when a field changes its meaning.
const OverviewSchema = 1

// Overview is many reports by device: for each what memory and arithmetic can do, and how fast models are.
type Overview struct {
	Schema  int     `json:"schema"`
	Devices []Entry `json:"devices"`
}

// Entry is what a file says of a device, with its driver and tier. Reports of one device stand beside one another, in the order in which they
// were given; they are not merged, as drivers and settings differ. Tests of several models of one llama-bench file are one Entry.
type Entry struct {
	Source        string `json:"source"` // name of the file, without its folder
	Name          string `json:"name"`
	Kind          string `json:"kind"`
	Driver        string `json:"driver"` // empty in llama-bench's files
	DriverVersion string `json:"driver_version"`
	Tier          string `json:"tier"` // of llama-bench: its backends
	System        string `json:"system,omitempty"`
	Tool          string `json:"tool"`    // vkcome or llama-bench
	Version       string `json:"version"` // of the tool
	Memory        int64  `json:"memory"`  // bytes of the device; 0 where the file does not say, as llama-bench's do not

	Device []Measure `json:"measures"` // those of DeviceMeasures that the file has, in that order
	Models []Rates   `json:"models"`
}

// Rates are the tests of a model on a device.
type Rates struct {
	Model      string    `json:"model"`
	Parameters int64     `json:"parameters"` // 0: unknown, as in files of older versions
	Bytes      int64     `json:"bytes"`      // of its weights; 0: unknown
	Tests      []Measure `json:"tests"`      // in tokens/s: pp512 and the like, by llama-bench's names
}

// Measure is a figure of an Overview.
type Measure struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Value    float64 `json:"value"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Fraction float64 `json:"of_floor,omitempty"` // of the measured peak, see Result
	Bound    string  `json:"floor_bound,omitempty"`
	Of       string  `json:"of,omitempty"` // where the measure is the best of several results, which
}

// DeviceMeasures are the measures of a device that an Overview may have. gemm and gemv of a type are the fastest of that type's results,
// whatever their shape; those of kernels that were forced do not count.
var DeviceMeasures = []string{readName, "copy device memory", "upload", "download", "peak " + peakF32, "peak " + peakF16, "peak " + peakCoop,
	"gemm F32", "gemm F16", "gemm BF16", "gemv F32", "gemv F16", "gemv BF16"}

// Survey puts reports together by device.
func Survey(reports ...*Report) *Overview {
	o := &Overview{Schema: OverviewSchema, Devices: []Entry{}}
	for i, r := range reports {
		rates := r.rates()
		if i > 0 && r.Tool == LlamaBench && r.continues(reports[i-1]) {
			last := &o.Devices[len(o.Devices)-1]
			last.Models = append(last.Models, rates...)
			continue
		}
		e := Entry{Source: r.Source, Name: r.Device.Name, Kind: r.Device.KindName, Driver: r.Device.Driver, DriverVersion: r.Device.DriverVersion, Tier: r.Tier, System: r.System,
			Tool: cmp.Or(r.Tool, "vkcome"), Version: r.Version, Memory: r.Device.Limits.DeviceMemory, Device: r.deviceMeasures(), Models: rates}
		o.Devices = append(o.Devices, e)
	}
	first := map[string]int{} // where a device comes first
	for i, e := range slices.Backward(o.Devices) {
		first[e.Name] = i
	}
	slices.SortStableFunc(o.Devices, func(a, b Entry) int { return cmp.Compare(first[a.Name], first[b.Name]) })
	return o
}

// continues says whether a report is of the same file and device as another.
func (r *Report) continues(other *Report) bool {
	return r.Source == other.Source && r.Tool == other.Tool && r.Version == other.Version && r.Device.Name == other.Device.Name && r.Tier == other.Tier
}

// deviceMeasures are those of DeviceMeasures that the report has.
func (r *Report) deviceMeasures() []Measure {
	found := map[string]Measure{}
	for _, x := range r.Results {
		name, of := x.Name, ""
		if kind, rest, ok := strings.Cut(x.Name, " "); ok && (kind == "gemm" || kind == "gemv") {
			if strings.Contains(rest, " by ") {
				continue
			}
			name, of = kind+" "+rest[strings.LastIndexByte(rest, ' ')+1:], x.Name // the type is the last word
		}
		if before, ok := found[name]; !ok || of != "" && x.Value > before.Value {
			m := x.measure()
			m.Name, m.Of = name, of
			found[name] = m
		}
	}
	list := []Measure{}
	for _, name := range DeviceMeasures {
		if m, ok := found[name]; ok {
			list = append(list, m)
		}
	}
	return list
}

func (x Result) measure() Measure {
	return Measure{Name: x.Name, Unit: x.Unit, Value: x.Value, Low: x.Low, High: x.High, Fraction: x.Fraction, Bound: x.Bound}
}

// rates are the report's tests of its model, none where it has none.
func (r *Report) rates() []Rates {
	m := Rates{Model: r.Model}
	if r.Details != nil {
		m.Parameters, m.Bytes = r.Details.Parameters, r.Details.Bytes
	}
	seen := map[string]bool{}
	for _, x := range r.Results {
		if x.Unit == "tokens/s" && !seen[x.Name] {
			seen[x.Name] = true
			m.Tests = append(m.Tests, x.measure())
		}
	}
	if len(m.Tests) == 0 {
		return []Rates{}
	}
	return []Rates{m}
}

// fewDevices is up to how many devices tables have them side by side; of more each has a row.
const fewDevices = 4

// Format writes the overview as md, csv or json. Markdown has a table of the devices, one of their measures, and one for each model.
func (o *Overview) Format(format string) ([]byte, error) {
	var out bytes.Buffer
	switch format {
	case "md":
		err := o.markdown(&out)
		return out.Bytes(), err
	case "csv":
		rows, err := o.rows()
		if err != nil {
			return nil, err
		}
		err = csv.NewWriter(&out).WriteAll(rows)
		return out.Bytes(), err
	case "json":
		enc := json.NewEncoder(&out)
		enc.SetIndent("", " ")
		err := enc.Encode(o)
		return out.Bytes(), err
	}
	return nil, fmt.Errorf("bench: format %q, expected one of %s", format, strings.Join(ComparedFormats, ", "))
}

// grid is a table of measures: a row for each device, a column for each measure that any of them has.
type grid struct {
	heads  []string // of the rows
	names  []string // of the columns, in the order in which they are met
	units  map[string]string
	values []map[string]Measure // of a row, by name
}

// add adds a row.
func (g *grid) add(head string, measures []Measure) {
	row := map[string]Measure{}
	for _, m := range measures {
		if g.units == nil {
			g.units = map[string]string{}
		}
		if _, ok := g.units[m.Name]; !ok {
			g.units[m.Name] = m.Unit
			g.names = append(g.names, m.Name)
		}
		row[m.Name] = m
	}
	g.heads, g.values = append(g.heads, head), append(g.values, row)
}

// markdown writes the grid, with a column for each device where these are few.
func (g *grid) markdown(out *bytes.Buffer) error {
	if err := checkCells(len(g.heads), len(g.names)); err != nil {
		return err
	}
	cell := func(row int, name string) string {
		m, ok := g.values[row][name]
		switch {
		case !ok:
			return ""
		case m.Bound != "":
			return fmt.Sprintf("%s (%.0f %%)", short(m.Value), 100*m.Fraction)
		}
		return short(m.Value)
	}
	named := func(name string) string { return name + ", " + g.units[name] }
	if len(g.heads) <= fewDevices {
		table(out, append([]string{""}, g.heads...), "lr", func(add func(...string)) {
			for _, name := range g.names {
				cells := []string{named(name)}
				for row := range g.heads {
					cells = append(cells, cell(row, name))
				}
				add(cells...)
			}
		})
		return nil
	}
	header := []string{""}
	for _, name := range g.names {
		header = append(header, named(name))
	}
	table(out, header, "lr", func(add func(...string)) {
		for row, head := range g.heads {
			cells := []string{head}
			for _, name := range g.names {
				cells = append(cells, cell(row, name))
			}
			add(cells...)
		}
	})
	return nil
}

func (o *Overview) markdown(out *bytes.Buffer) error {
	table(out, []string{"", "device", "kind", "memory", "driver", "tier", "measured by", "file"}, "lll", func(add func(...string)) {
		for i, e := range o.Devices {
			memory := ""
			if e.Memory > 0 {
				memory = vk.Bytes(e.Memory)
			}
			add(strconv.Itoa(i+1), e.Name, e.Kind, memory, strings.TrimSpace(e.Driver+" "+e.DriverVersion), e.Tier, e.Tool+" "+e.Version, e.Source)
		}
	})
	var devices grid
	for i, e := range o.Devices {
		if len(e.Device) > 0 {
			devices.add(fmt.Sprintf("%d: %s", i+1, e.Name), e.Device)
		}
	}
	devices.order(DeviceMeasures)
	if len(devices.heads) > 0 {
		fmt.Fprint(out, "\nOf the device; gemm and gemv: the fastest of each type. In brackets: the part of the measured peak.\n\n")
		if err := devices.markdown(out); err != nil {
			return err
		}
	}
	cells := 0
	for _, m := range o.models() {
		if cells += len(m.grid.heads) * len(m.grid.names); cells > maxCells {
			return checkCells(cells, 1)
		}
		fmt.Fprintf(out, "\n%s\n\n", printable.Line(m.title()))
		if err := m.grid.markdown(out); err != nil {
			return err
		}
	}
	return nil
}

// order puts the columns of a list first, in its order.
func (g *grid) order(list []string) {
	at := map[string]int{}
	for i, name := range list {
		at[name] = i - len(list) // the others are 0
	}
	slices.SortStableFunc(g.names, func(a, b string) int { return cmp.Compare(at[a], at[b]) })
}

// surveyed is a model and its tests on the devices that have any.
type surveyed struct {
	Rates // without tests
	grid  grid
}

func (m *surveyed) title() string {
	title := m.Model
	if m.Parameters > 0 {
		title += ": " + count(m.Parameters) + " parameters"
	}
	if m.Bytes > 0 {
		title += ", " + vk.Bytes(m.Bytes)
	}
	return title
}

// models are the models of all devices, the smallest first. Two of one name and of different size are two.
func (o *Overview) models() (list []*surveyed) {
	type key struct {
		name              string
		parameters, bytes int64
	}
	at := map[key]*surveyed{}
	for i, e := range o.Devices {
		for _, r := range e.Models {
			k := key{r.Model, r.Parameters, r.Bytes}
			m := at[k]
			if m == nil {
				m = &surveyed{Rates: Rates{Model: r.Model, Parameters: r.Parameters, Bytes: r.Bytes}}
				at[k] = m
				list = append(list, m)
			}
			m.grid.add(fmt.Sprintf("%d: %s", i+1, e.Name), r.Tests)
		}
	}
	slices.SortStableFunc(list, func(a, b *surveyed) int {
		return cmp.Or(cmp.Compare(a.Parameters, b.Parameters), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Model, b.Model))
	})
	return list
}

// rows are the overview as one table with a row for each device.
func (o *Overview) rows() ([][]string, error) {
	var all grid
	for _, e := range o.Devices {
		measures := slices.Clone(e.Device)
		for _, r := range e.Models {
			for _, m := range r.Tests {
				m.Name = r.Model + " " + m.Name
				measures = append(measures, m)
			}
		}
		all.add("", measures)
	}
	if err := checkCells(len(all.heads), 2*len(all.names)); err != nil {
		return nil, err
	}
	all.order(DeviceMeasures)
	header := []string{"device", "kind", "memory_bytes", "driver", "driver_version", "tier", "system", "tool", "version", "file"}
	for _, name := range all.names {
		header = append(header, name+" "+all.units[name], name+" of_floor")
	}
	rows := [][]string{header}
	for i, e := range o.Devices {
		memory := ""
		if e.Memory > 0 {
			memory = strconv.FormatInt(e.Memory, 10)
		}
		cells := []string{e.Name, e.Kind, memory, e.Driver, e.DriverVersion, e.Tier, e.System, e.Tool, e.Version, e.Source}
		for _, name := range all.names {
			value, fraction := "", ""
			if m, ok := all.values[i][name]; ok {
				value = number(m.Value)
				if m.Bound != "" {
					fraction = number(m.Fraction)
				}
			}
			cells = append(cells, value, fraction)
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// count is a number of parameters in three digits, as in 6.74 B.
func count(n int64) string {
	v, unit := float64(n), ""
	for _, u := range []string{"k", "M", "B", "T"} {
		if math.Abs(v) < 999.5 {
			break
		}
		v, unit = v/1000, " "+u
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g%s", v, unit))
}
