package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/printable"
)

// Comparison is reports side by side.
type Comparison struct {
	Devices []string        `json:"devices"`
	Rows    []ComparisonRow `json:"rows"`
}

// ComparisonRow is one measurement on each device; a device that lacks it has null.
type ComparisonRow struct {
	Name   string     `json:"name"`
	Unit   string     `json:"unit"`
	Values []*float64 `json:"values"`
	Ratios []*float64 `json:"ratios"` // how many times as fast as the first device
}

// ComparedFormats are the names that Format of a Comparison and of an Overview know.
var ComparedFormats = []string{"md", "csv", "json"}

// device is what a report is called beside others.
func (r *Report) device() string {
	text := fmt.Sprintf("%s, %s %s, %s", r.Device.Name, r.Device.Driver, r.Device.DriverVersion, r.Tier)
	if r.Tool != "" {
		text = fmt.Sprintf("%s, %s, %s %s", r.Device.Name, r.Tier, r.Tool, r.Version)
	}
	if r.Model != "" {
		text += ", " + r.Model
	}
	return text
}

// Compare puts reports side by side, in the order of the first's results, then of what only later ones have.
func Compare(reports ...*Report) (*Comparison, error) {
	if len(reports) < 2 {
		return nil, errors.New("bench: compare takes two reports or more")
	}
	c := &Comparison{}
	var names []string
	seen := map[string]string{}
	for _, r := range reports {
		c.Devices = append(c.Devices, r.device())
		for _, x := range r.Results {
			if _, ok := seen[x.Name]; !ok {
				seen[x.Name] = x.Unit
				names = append(names, x.Name)
			}
		}
	}
	if err := checkCells(len(names), len(reports)); err != nil {
		return nil, err
	}
	values := make([]map[string]*float64, len(reports)) // by name, the first of each
	for i, r := range reports {
		values[i] = map[string]*float64{}
		for k := range slices.Backward(r.Results) {
			values[i][r.Results[k].Name] = &r.Results[k].Value
		}
	}
	for _, name := range names {
		row := ComparisonRow{Name: name, Unit: seen[name]}
		for _, of := range values {
			value := of[name]
			var ratio *float64
			if first := values[0][name]; first != nil && value != nil && *first > 0 && *value > 0 {
				times := *value / *first
				if row.Unit == "s" {
					times = 1 / times
				}
				ratio = &times
			}
			row.Values, row.Ratios = append(row.Values, value), append(row.Ratios, ratio)
		}
		c.Rows = append(c.Rows, row)
	}
	return c, nil
}

// Format writes the comparison as md, csv or json.
func (c *Comparison) Format(format string) ([]byte, error) {
	var out bytes.Buffer
	switch format {
	case "md":
		header := []string{"", ""}
		for i, d := range c.Devices {
			fmt.Fprintf(&out, "%d: %s\n", i+1, printable.Line(d))
			header = append(header, fmt.Sprint(i+1))
			if i > 0 {
				header = append(header, fmt.Sprintf("%d ÷ 1", i+1))
			}
		}
		fmt.Fprintln(&out)
		table(&out, header, "llr", func(add func(...string)) {
			for _, r := range c.Rows {
				cells := []string{r.Name, r.Unit}
				for i, v := range r.Values {
					cells = append(cells, cell(v, short))
					if i > 0 {
						cells = append(cells, cell(r.Ratios[i], short))
					}
				}
				add(cells...)
			}
		})
	case "csv":
		w := csv.NewWriter(&out)
		rows := [][]string{append([]string{"name", "unit"}, c.Devices...)}
		for _, r := range c.Rows {
			cells := []string{r.Name, r.Unit}
			for _, v := range r.Values {
				cells = append(cells, cell(v, number))
			}
			rows = append(rows, cells)
		}
		if err := w.WriteAll(rows); err != nil {
			return nil, err
		}
	case "json":
		enc := json.NewEncoder(&out)
		enc.SetIndent("", " ")
		if err := enc.Encode(c); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("bench: format %q, expected one of %s", format, strings.Join(ComparedFormats, ", "))
	}
	return out.Bytes(), nil
}

func cell(v *float64, format func(float64) string) string {
	if v == nil {
		return ""
	}
	return format(*v)
}
