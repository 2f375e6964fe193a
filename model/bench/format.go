package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/vk"
)

// Formats are the names that Format knows.
var Formats = []string{"md", "csv", "json", "jsonl", "benchstat"}

// Format writes the report: as a Markdown table, CSV with a header, JSON, JSON of one result a line with the device in each, or the lines
// of Go's benchmarks, which benchstat compares.
func (r *Report) Format(format string) ([]byte, error) {
	var out bytes.Buffer
	switch format {
	case "md":
		r.markdown(&out)
	case "csv":
		w := csv.NewWriter(&out)
		rows := [][]string{{"device", "driver", "tier", "model", "name", "value", "unit", "low", "high", "reps", "gflops", "gbytes", "of_floor", "floor_bound", "kernel"}}
		for _, x := range r.Results {
			rows = append(rows, []string{r.Device.Name, r.Device.Driver + " " + r.Device.DriverVersion, r.Tier, r.Model, x.Name, number(x.Value), x.Unit, number(x.Low),
				number(x.High), strconv.Itoa(len(x.Seconds)), number(x.GFlops), number(x.GBytes), number(x.Fraction), x.Bound, x.Kernel})
		}
		if err := w.WriteAll(rows); err != nil {
			return nil, err
		}
	case "json":
		enc := json.NewEncoder(&out)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
	case "jsonl":
		for _, x := range r.Results {
			line := struct {
				Device string `json:"device"`
				Driver string `json:"driver"`
				Tier   string `json:"tier"`
				Model  string `json:"model,omitempty"`
				Result
			}{r.Device.Name, r.Device.Driver + " " + r.Device.DriverVersion, r.Tier, r.Model, x}
			if err := json.NewEncoder(&out).Encode(line); err != nil {
				return nil, err
			}
		}
	case "benchstat":
		fmt.Fprintf(&out, "goos: vulkan\ndevice: %s\ndriver: %s %s\n", r.Device.Name, r.Device.Driver, r.Device.DriverVersion)
		for _, x := range r.Results {
			for _, s := range x.Seconds { // benchstat makes the statistics
				fmt.Fprintf(&out, "Benchmark%s 1 %s ns/op", identifier(x.Name), number(s*1e9))
				if x.Unit != "s" && x.Low > 0 {
					fmt.Fprintf(&out, " %s %s", number(x.High*x.Seconds[0]/s), x.Unit)
				}
				fmt.Fprintln(&out)
			}
		}
	default:
		return nil, fmt.Errorf("bench: format %q, expected one of %s", format, strings.Join(Formats, ", "))
	}
	return out.Bytes(), nil
}

func (r *Report) markdown(out *bytes.Buffer) {
	l := r.Device.Limits
	fmt.Fprintf(out, "%s (%s), %s %s, Vulkan %s, tier %s, %s of memory, %s in a binding, subgroups of %d, %s shared; clock: %s\n\n", r.Device.Name, r.Device.KindName,
		r.Device.Driver, r.Device.DriverVersion, r.Device.API, r.Tier, vk.Bytes(l.DeviceMemory), vk.Bytes(l.StorageRange), l.SubgroupSize, vk.Bytes(l.SharedMemory), r.Clock)
	if r.Model != "" {
		fmt.Fprintf(out, "model: %s\n\n", r.Model)
	}
	table(out, []string{"", "median", "", "±", "GFLOP/s", "GB/s", "of the floor"}, "lrlrrrr", func(add func(...string)) {
		for _, x := range r.Results {
			of := ""
			if x.Bound != "" {
				of = fmt.Sprintf("%.0f %% (%s)", 100*x.Fraction, x.Bound)
			}
			add(x.Name, short(x.Value), x.Unit, fmt.Sprintf("%.0f %%", 100*x.spread()), positive(x.GFlops), positive(x.GBytes), of)
		}
	})
	r.choices(out)
	for _, s := range r.LeftOut {
		fmt.Fprintf(out, "\nleft out: %s", s)
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintln(out)
	}
}

// choices says which kernels ran, and why: those of a kernel and a reason on one line.
func (r *Report) choices(out *bytes.Buffer) {
	var order []op.Choice
	names := map[op.Choice][]string{}
	for _, x := range r.Results {
		c := op.Choice{Kernel: x.Kernel, Why: x.Why}
		if c.Kernel == "" {
			continue
		}
		if names[c] == nil {
			order = append(order, c)
		}
		names[c] = append(names[c], x.Name)
	}
	if len(order) > 0 {
		fmt.Fprintln(out, "\nkernels that ran, and why:")
	}
	for _, c := range order {
		fmt.Fprintf(out, "\n- %s", printable.Line(fmt.Sprintf("`%s`: %s (%s)", c.Kernel, c.Why, strings.Join(names[c], "; "))))
	}
	if len(order) > 0 {
		fmt.Fprintln(out)
	}
}

// table writes a Markdown table; align has an l or r for each column.
func table(out *bytes.Buffer, header []string, align string, rows func(add func(cells ...string))) {
	line := func(cells ...string) { fmt.Fprintf(out, "| %s |\n", printable.Line(strings.Join(cells, " | "))) }
	line(header...)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = map[byte]string{'l': "---", 'r': "---:"}[align[min(i, len(align)-1)]]
	}
	line(rule...)
	rows(line)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// short is a number of three digits or all of those before the point.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func positive(v float64) string {
	if v <= 0 {
		return ""
	}
	return short(v)
}

// identifier is a name as Go's benchmarks are called: letters, digits and dashes.
func identifier(name string) string {
	var out strings.Builder
	up := true
	for _, c := range strings.ReplaceAll(name, "×", "x") {
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c):
			if up {
				c = unicode.ToUpper(c)
			}
			out.WriteRune(c)
			up = false
		case c == '-' || c == '/':
			out.WriteRune('-')
		default:
			up = true
		}
	}
	return out.String()
}
