package report

import (
	"math"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		of        ticks
	}{{0, 1, ticks{}}, {-3, 5.5, ticks{}}, {30.2, 31, ticks{}}, {1e-9, 2e-9, ticks{}}, {-1e15, 1e15, ticks{}}, {0, 29, ticks{whole: true}}, {0, 2, ticks{whole: true}}, {8, 12, ticks{whole: true}},
		{30, 140, ticks{log: true}}, {0.14, 0.5, ticks{log: true}}, {1e-12, 1e15, ticks{log: true}}, {1, 3.1, ticks{log: true}}, {5, 900, ticks{log: true}}} {
		list := c.of.Ticks(c.low, c.high)
		if len(list) < 2 || len(list) > 2*mostTicks {
			t.Errorf("%+v: %d ticks", c, len(list))
		}
		for i, k := range list {
			if k.Value < c.low || k.Value > c.high || i > 0 && k.Value <= list[i-1].Value || k.Label == "" || k.Label == "-0" || len(k.Label) > 8 || c.of.whole && k.Value != math.Trunc(k.Value) {
				t.Errorf("%+v: tick %+v", c, k)
			}
			if i > 0 && k.Label == list[i-1].Label {
				t.Errorf("%+v: label %s twice", c, k.Label)
			}
		}
	}
}

// TestSettle: ranges of axes can be drawn, whatever the values are.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		log       bool
	}{{0, 0, false}, {5, 5, false}, {-1e15, -1e15, false}, {1e14, 1e14 + 0.02, false}, {3, 3, true}, {1e-300, 1e-300, true}} {
		a := &plot.Axis{Min: c.low, Max: c.high}
		if settle(a, c.log); !(a.Max > a.Min) || a.Min > c.low || a.Max < c.high || c.log && !(a.Min > 0) {
			t.Errorf("%+v: %v to %v", c, a.Min, a.Max)
		}
	}
}

// TestCanvas compares places with those of the formulas of vg.Canvas, in float64: the y of SVG goes down.
func TestCanvas(t *testing.T) {
	s := newSVG(100)
	s.SetColor(ink("s3"))
	s.Push()
	s.Translate(vg.Point{X: 10, Y: 20})
	s.Rotate(math.Pi / 2)
	s.Scale(2, 3)
	var p vg.Path
	p.Move(vg.Point{X: 1, Y: 2}) // scaled (2, 6), turned (-6, 2), moved (4, 22), from above 78
	p.Line(vg.Point{X: 0, Y: 0})
	s.Stroke(p)
	s.Pop()
	s.Stroke(p) // of another width? no: the same path goes on
	s.SetLineWidth(0)
	s.Stroke(p) // nothing
	s.SetLineWidth(2)
	s.SetLineDash([]vg.Length{4, 2}, 0)
	s.SetColor(nil)
	s.Stroke(p)
	var circle vg.Path
	circle.Arc(vg.Point{X: 50, Y: 50}, 10, 0, 2*math.Pi)
	circle.Close()
	s.SetColor(ink("s1"))
	s.Fill(circle)
	want := `<path class="l s3" d="M4 78L10 80M1 98L0 100"/>` +
		`<path class="l tx" stroke-width="2" stroke-dasharray="4 2" d="M1 98L0 100"/>` +
		`<path class="f s1" d="M60 50A10 10 0 0 0 40 50A10 10 0 0 0 60 50Z"/>`
	if got := s.content(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	s = newSVG(100)
	s.titled("<a>", func() { s.Stroke(p) })
	if got := s.content(); got != `<g><title>&lt;a&gt;</title><path class="l tx" d="M1 98L0 100"/></g>` {
		t.Errorf("titled: %s", got)
	}
}

// TestBars: bars end where their values are, and the error bars where theirs are.
func TestBars(t *testing.T) {
	f := bars{names: []string{"a & b", "c"}, series: []string{"one"}, values: [][]bar{{{value: 10, low: 5, high: 20, title: "ten"}, {value: nan}}}}.figure()
	body := string(f.Body)
	if !strings.Contains(body, "a &amp; b") || strings.Count(body, "<title>") != 1 || !strings.Contains(body, "<title>ten</title>") {
		t.Error(body)
	}
	// The tick of 10 stands where the bar ends, those of 5 and 20 where its error bar does.
	for _, want := range []string{"M174.9 84.7L174.9 81.7", "M90.5 84.7L90.5 81.7", "M343.9 84.7L343.9 81.7", `<path class="f s0" d="M6 27L6 20L174.9 20L174.9 27Z"/>`, "M90.5 23.5L343.9 23.5"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
	if (bars{names: []string{"a"}, series: []string{"one"}, values: [][]bar{{{value: nan}}}}).figure() != nil || (chart{curves: []curve{{points: []point{{y: nan}}}}}).figure() != nil {
		t.Error("nothing is drawn")
	}
}
