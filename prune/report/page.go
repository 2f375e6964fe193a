package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

// Page is a report for people: one HTML file that needs no network, with pictures, and tables that can be sorted and copied. What is empty is
// left out. The same page gives the same bytes.
type Page struct {
	Title       string // empty: of what is shown
	Runs        []Run
	Outputs     []Output
	Comparisons []*prune.Comparison
	Accuracy    []Accuracy
	Benches     []*bench.Report // one, or several side by side
}

// Run is a run of vkcome that made something of what the page shows.
type Run struct {
	Command string  // as it was typed
	Note    string  // to its reader; empty: none
	Seconds float64 // that it took; 0: not known
	Device  int64   // bytes of the device's memory that it took at most; 0: not known
	Host    int64   // bytes of the host's, of a run that counted them; 0: not known
}

// Output is a model that vkcome wrote.
type Output struct {
	Name    string
	Lineage *prune.Lineage
	Losses  []distill.Record // of its training, in their order
	Files   []WeightFile     // of its weights
}

// WeightFile is the name and the size of a file of weights.
type WeightFile struct {
	Name  string
	Bytes int64
}

// Accuracy is results of tasks, of models side by side or of one.
type Accuracy struct {
	Results []*eval.Results
	Side    *eval.Side // of the same, see eval.NewSide
}

// MaxPage bounds a page, in bytes.
const MaxPage = 500_000

// Generator is how a page names what made it, so that vkcome knows its own pages. A version follows.
const Generator = "vkcome report"

// ErrTooMuch is that not even the coarsest page of what is to be shown has less than MaxPage bytes.
var ErrTooMuch = fmt.Errorf("report: more than a page of %d bytes holds: show less at a time", MaxPage)

// ErrNothing is a page without anything to show.
var ErrNothing = errors.New("report: there is nothing to show")

// Write writes the page. Where it would have more than MaxPage bytes, tables of scores and curves of losses become coarser, which the page
// says; ErrTooMuch is that even that is too large.
func (p Page) Write(w io.Writer) error {
	if err := p.check(); err != nil {
		return err
	}
	for d := full; d <= coarsest; d++ {
		text, err := p.render(d)
		if err != nil {
			return err
		}
		if len(text) <= MaxPage {
			_, err = w.Write(text)
			return err
		}
	}
	return ErrTooMuch
}

// Bounds of what is shown, far beyond what models and devices give: a page of more would be too large, and only found to be so when it is made.
const (
	maxLayers = 1 << 10
	maxSteps  = 1 << 12
	maxScores = 1 << 12 // of one kind in a step
	maxRows   = 1 << 12 // of a comparison, or of what was measured on a device
)

// check refuses what is beyond the bounds.
func (p Page) check() error {
	for _, c := range p.Comparisons {
		if n := len(c.Rows); n > maxRows {
			return fmt.Errorf("report: a comparison of %d rows, expected at most %d", n, maxRows)
		}
	}
	for _, r := range p.Benches {
		if n := max(len(r.Results), len(r.LeftOut)); n > maxRows {
			return fmt.Errorf("report: %d measurements on a device, expected at most %d", n, maxRows)
		}
	}
	return nil
}

// detail is how much of what could be shown is shown.
type detail int

const (
	full detail = iota
	coarse
	coarsest
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// content is what the template takes.
type content struct {
	Title, Generator, Policy string
	Style                    template.CSS
	Script                   template.JS
	Sections                 []*section
}

// section is a part of the page under a heading.
type section struct {
	ID, Title string
	Parts     []block
}

// block is one thing in a section: one of its fields is set.
type block struct {
	Text    string
	Facts   []fact
	Command *Run
	Flow    *flow
	Figures []*figure
	Table   *table
}

// fact is a name and what goes with it.
type fact struct{ Name, Text string }

// policy lets nothing be fetched, sent or run but the page's own style and script, whose hashes it has.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(pageStyle) + "; script-src " + hash(pageScript) + "; base-uri 'none'; form-action 'none'"
}

func (p Page) render(d detail) ([]byte, error) {
	c := content{Title: p.Title, Generator: Generator + " " + prune.Version, Policy: policy(), Style: template.CSS(pageStyle), Script: template.JS(pageScript)}
	b := builder{detail: d}
	b.runs(p.Runs)
	for _, o := range p.Outputs {
		if err := b.output(o); err != nil {
			return nil, err
		}
	}
	for _, of := range p.Comparisons {
		b.comparison(of)
	}
	for _, a := range p.Accuracy {
		b.accuracy(a)
	}
	b.benches(p.Benches)
	if len(b.sections) == 0 {
		return nil, ErrNothing
	}
	if c.Title == "" {
		c.Title = b.title()
	}
	c.Sections = b.sections
	giveIDs(c.Sections)
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, c); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return []byte(printable.Text(out.String())), nil // names may have control characters, which turn the order of letters round
}

// builder makes sections.
type builder struct {
	detail   detail
	sections []*section
}

// title names the page after the first section that is not about how it was made.
func (b *builder) title() string {
	of := b.sections
	if of[0].Title == made && len(of) > 1 {
		of = of[1:]
	}
	title := "Report: " + printable.Clip(of[0].Title, 80)
	if n := len(of) - 1; n > 0 {
		title += fmt.Sprintf(", and %d more", n)
	}
	return title
}

const made = "How it was made"

// begin begins a section.
func (b *builder) begin(title string) {
	b.sections = append(b.sections, &section{Title: title})
}

// add adds a block to the section that was begun last.
func (b *builder) add(list ...block) {
	s := b.sections[len(b.sections)-1]
	s.Parts = append(s.Parts, list...)
}

// figures adds plots, but for those that have nothing to show.
func (b *builder) figures(list ...*figure) {
	var shown []*figure
	for _, f := range list {
		if f != nil {
			shown = append(shown, f)
		}
	}
	if len(shown) > 0 {
		b.add(block{Figures: shown})
	}
}

// ided is what has an id in the page.
type ided interface{ setID(id string) }

// giveIDs gives everything its id.
func giveIDs(sections []*section) {
	count := map[string]int{}
	give := func(kind string, to ided) {
		count[kind]++
		to.setID(kind + strconv.Itoa(count[kind]))
	}
	for i, s := range sections {
		s.ID = "s" + strconv.Itoa(i+1)
		for _, part := range s.Parts {
			switch {
			case part.Flow != nil:
				give("flow", part.Flow)
			case part.Table != nil:
				give("table", part.Table)
			}
			for _, f := range part.Figures {
				give("plot", f)
			}
		}
	}
}

func (b *builder) runs(runs []Run) {
	if len(runs) == 0 {
		return
	}
	b.begin(made)
	for _, r := range runs {
		b.add(block{Command: &r})
		var took []fact
		add := func(name, text string, is bool) {
			if is {
				took = append(took, fact{name, text})
			}
		}
		add("Time", num(math.Round(10*r.Seconds)/10)+" s", r.Seconds >= 0.05)
		add("Device memory at most", vk.Bytes(r.Device), r.Device > 0)
		add("Host memory at most, of what was counted", vk.Bytes(r.Host), r.Host > 0)
		if len(took) > 0 {
			b.add(block{Facts: took})
		}
	}
}

// Words are those of the command, which lines are not broken within.
func (r Run) Words() []string { return strings.Split(r.Command, " ") }

// num is a number as the page has it: four digits, or all of a whole one. It is empty for NaN.
func num(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// table is rows under a heading, which the page's script sorts and copies.
type table struct {
	ID, Caption string
	Columns     []column
	Rows        [][]cell
	All         bool // every cell is a number
}

func (t *table) setID(id string) { t.ID = id }

// column is the head of a column: its class is n for numbers, which stand at the right, and long for texts of several lines.
type column struct{ Name, Class string }

// cell is what a row has in a column, and where that is no plain number, the number to sort by.
type cell struct{ Text, Value string }

// newTable is a table whose columns have these names; # before one says that it holds numbers, ~ that it holds texts which may be long.
func newTable(caption string, names ...string) *table {
	t := &table{Caption: caption}
	for _, name := range names {
		c := column{Name: name}
		switch name[0] {
		case '#':
			c = column{name[1:], "n"}
		case '~':
			c = column{name[1:], "long"}
		}
		t.Columns = append(t.Columns, c)
	}
	return t
}

func (t *table) row(cells ...cell) { t.Rows = append(t.Rows, cells) }

// table adds a table that has rows, without columns that say nothing.
func (b *builder) table(t *table) {
	if len(t.Rows) == 0 {
		return
	}
	for i := len(t.Columns) - 1; i > 0; i-- {
		if slices.ContainsFunc(t.Rows, func(row []cell) bool { return row[i] != cell{} }) {
			continue
		}
		t.Columns = slices.Delete(t.Columns, i, i+1)
		for r := range t.Rows {
			t.Rows[r] = slices.Delete(t.Rows[r], i, i+1)
		}
	}
	b.add(block{Table: t})
}

func worded(s string) cell    { return cell{Text: s} }
func whole(n int) cell        { return cell{Text: strconv.Itoa(n)} }
func numeric(v float64) cell  { return cell{Text: num(v)} }
func percent(v float64) cell  { return valued(strconv.FormatFloat(100*v, 'f', 1, 64)+" %", v) }
func duration(s float64) cell { return zeroEmpty(s, strconv.FormatFloat(s, 'f', 1, 64)) }
func size(n int64) cell       { return zeroEmpty(float64(n), vk.Bytes(n)) }

// valued is a text that is sorted by a number.
func valued(text string, by float64) cell {
	return cell{text, strconv.FormatFloat(by, 'g', 6, 64)}
}

func zeroEmpty(v float64, text string) cell {
	if v == 0 {
		return cell{}
	}
	return valued(text, v)
}
