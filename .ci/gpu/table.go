package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vkcome/vkcome/shaders"
)

// Kernel is what a compiler made of a kernel.
type Kernel struct {
	Kernel       string             `json:"kernel"`
	Spec         []uint32           `json:"spec,omitempty"`
	Subgroup     int                `json:"subgroup"`
	Shared       int64              `json:"shared,omitempty"` // bytes
	Registers    int                `json:"registers"`        // of an invocation; of a subgroup, of 32 bytes and before they are placed (Intel)
	Spills       int                `json:"spills,omitempty"` // instructions or bytes, as the driver counts: 0 is good
	Waves        int                `json:"waves,omitempty"`  // subgroups on a SIMD unit (AMD), an SM (NVIDIA), a core (Adreno); threads of a core (Apple); none (Intel)
	Instructions int                `json:"instructions"`
	Loop         *Loop              `json:"loop,omitempty"` // the one with most arithmetic, of those that hold no other
	More         map[string]float64 `json:"more,omitempty"`
}

// name tells a kernel from the others of a table.
func (k Kernel) name() string {
	words := []string{k.Kernel}
	for _, s := range k.Spec {
		words = append(words, fmt.Sprint(s))
	}
	return strings.Join(words, "-") + fmt.Sprintf("-w%d", k.Subgroup)
}

// Table is a family's.
type Table struct {
	Family  string   `json:"family"`
	What    string   `json:"gpu"`
	Device  string   `json:"device"`
	Driver  string   `json:"driver"`
	Kernels []Kernel `json:"kernels"`
}

// write writes the table, a line for each kernel, by name.
func (t *Table) write(path string) error {
	slices.SortFunc(t.Kernels, func(a, b Kernel) int { return cmp.Compare(a.name(), b.name()) })
	var text bytes.Buffer
	head, err := json.Marshal(Table{Family: t.Family, What: t.What, Device: t.Device, Driver: t.Driver, Kernels: []Kernel{}})
	if err != nil {
		return err
	}
	text.Write(bytes.TrimSuffix(head, []byte("]}")))
	for i, k := range t.Kernels {
		line, err := json.Marshal(k)
		if err != nil {
			return err
		}
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteByte('\n')
		text.Write(line)
	}
	text.WriteString("\n]}\n")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

func readTable(path string) (*Table, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &Table{}
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// worse is by how much a loop may get longer.
const worse = 1.05

// fours says whether the rows of a kernel are made of whole fours, so that it should read 16 bytes at a time (common/fours.glsl, and products).
func (k Kernel) fours() bool {
	takes := shaders.InterfaceOf(k.Kernel)
	if takes == nil {
		return false
	}
	for _, c := range takes.Spec {
		if c.Name == "BY_FOUR" && c.ID < len(k.Spec) {
			return k.Spec[c.ID] != 0
		}
	}
	return false
}

// compare lists what is wrong with what was made: spills that the table does not have, loops that got longer for their arithmetic, and those that load
// four bytes at a time where they could load 16.
func (f family) compare(made *Table, folder string) (bad []error) {
	path := filepath.Join(folder, f.Name+".json")
	table, err := readTable(path)
	if err != nil {
		return []error{fmt.Errorf("%w: make gpu-report writes it", err)}
	}
	if table.Driver != made.Driver {
		fmt.Fprintf(os.Stderr, "%s: the table is of %s, this is %s: kernels are compared as if they were one\n", f.Name, table.Driver, made.Driver)
	}
	known := map[string]Kernel{}
	for _, k := range table.Kernels {
		known[k.name()] = k
	}
	for _, k := range made.Kernels {
		was, ok := known[k.name()]
		switch {
		case k.Spills > was.Spills:
			bad = append(bad, fmt.Errorf("%s: %s spills: %d, the table has %d", f.Name, k.name(), k.Spills, was.Spills))
		case k.Loop != nil && k.Loop.Loads32 > 0 && k.fours():
			bad = append(bad, fmt.Errorf("%s: %s: its loop has %d loads of 4 bytes, where four elements of a row make 16", f.Name, k.name(), k.Loop.Loads32))
		case ok && was.Loop != nil && k.Loop == nil:
			bad = append(bad, fmt.Errorf("%s: %s has no loop any more, the table has one of %d instructions", f.Name, k.name(), was.Loop.Instructions))
		case ok && was.Loop != nil && k.Loop.cost() > worse*was.Loop.cost():
			bad = append(bad, fmt.Errorf("%s: %s: its loop has %d instructions of which %d are arithmetic, the table %d and %d", f.Name, k.name(), k.Loop.Instructions, k.Loop.math(), was.Loop.Instructions, was.Loop.math()))
		}
	}
	return bad
}

// cost is a loop's instructions for each of arithmetic.
func (l *Loop) cost() float64 { return float64(l.Instructions) / float64(max(1, l.math())) }

// print writes a table for people.
func (t *Table) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tregisters\tspills\twaves\tinstructions\tloop\tmatrix\tfma\tbranches\twaits\tserial\tld128/64/32\tshared\n", t.Family)
	for _, k := range t.Kernels {
		l := k.Loop
		if l == nil {
			l = &Loop{}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d/%d/%d\t%d\n", k.name(), k.Registers, k.Spills, k.Waves, k.Instructions,
			l.Instructions, l.Matrix, l.FMA, l.Branches, l.Waits, l.Serial, l.Loads128, l.Loads64, l.Loads32, l.Shared)
	}
	return w.Flush()
}

// few is how many waves are too few to hide memory behind, of kernels that multiply; 0: the driver's figure says something else.
func (f family) few() int {
	switch kind, _, _ := strings.Cut(f.Shim, ":"); kind {
	case "amd":
		return 4
	case "nv":
		return 16
	}
	return 0
}

// multiplies says whether a kernel is one of products of many rows or of attention.
func (k Kernel) multiplies() bool {
	return strings.HasPrefix(k.Kernel, "linear") && !strings.HasPrefix(k.Kernel, "linear_vec") || strings.HasPrefix(k.Kernel, "attention") && k.Kernel != "attention_combine"
}

// line writes the table's line of the summary.
func (t *Table) line(w io.Writer, f family) {
	spill, few, multiply := 0, 0, 0
	share := func(prefix string, of func(l *Loop) int) string {
		var all []float64
		for _, k := range t.Kernels {
			if strings.HasPrefix(k.Kernel, prefix) && k.Loop != nil && of(k.Loop) > 0 {
				all = append(all, float64(of(k.Loop))/float64(k.Loop.Instructions))
			}
		}
		if len(all) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f to %.2f", slices.Min(all), slices.Max(all))
	}
	for _, k := range t.Kernels {
		if k.Spills > 0 {
			spill++
		}
		if k.multiplies() {
			multiply++
			if k.Waves < f.few() {
				few++
			}
		}
	}
	waves := "-"
	if f.few() > 0 {
		waves = fmt.Sprintf("%d of %d below %d", few, multiply, f.few())
	}
	fmt.Fprintf(w, "| %s, `%s` | %s | %d | %d | %s | %s | %s | %s |\n", t.What, t.Family, t.Driver, len(t.Kernels), spill, waves,
		share("linear_coopmat", func(l *Loop) int { return l.Matrix }), share("linear_f32", func(l *Loop) int { return l.FMA }), share("attention", func(l *Loop) int { return l.math() }))
}

// begin and end bound what summarise writes in the file.
const begin, end = "<!-- table -->\n", "<!-- end -->\n"

// summarise writes the tables' summary into a file, between its marks.
func summarise(folder, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(raw, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return errors.New(path + ": the marks of the table are missing")
	}
	var text bytes.Buffer
	w := &text
	fmt.Fprintln(w, "| GPU | driver | kernels | that spill | waves of products and attention | matrix instructions in loops of cooperative matrices | FMA in f32 tiles | arithmetic in attention |")
	fmt.Fprintln(w, "|---|---|---:|---:|---:|---:|---:|---:|")
	for _, f := range families {
		t, err := readTable(filepath.Join(folder, f.Name+".json"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		t.line(w, f)
	}
	return os.WriteFile(path, slices.Concat(head, []byte(begin), text.Bytes(), []byte(end), tail), 0o644)
}
