package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/vkcome/vkcome/model/printable"
)

// Plots are drawn this wide, in units that are CSS pixels on a phone, and grow from there.
const (
	plotWidth  vg.Length = 360
	plotHeight vg.Length = 220
)

// maxDrawn bounds what is drawn: scales and their ticks need the difference of two values to be one too. Tables have what is beyond.
const maxDrawn = 1e15

// point is a value of a curve. Low and high are the ends of its error bar, both 0 without one.
type point struct {
	x, y      float64
	low, high float64
	title     string // what a pointer that rests on it is told
}

func (p point) drawn(log bool) bool {
	for _, v := range []float64{p.x, p.y, p.low, p.high} {
		if !(math.Abs(v) <= maxDrawn) {
			return false
		}
	}
	return !log || p.y > 0
}

func (p point) barred() bool { return p.low != 0 || p.high != 0 }

// curve is a series of points.
type curve struct {
	name   string
	points []point
	line   bool // joins them
	dots   bool // marks each
}

// chart is a plot of curves over two axes.
type chart struct {
	title, desc string
	x, y        string // what the axes are
	log         bool   // of y
	whole       bool   // x is counted
	curves      []curve
}

// figure is a plot as the page holds it.
type figure struct {
	ID, Title, Desc string
	Height          string
	Body            template.HTML // what is inside of the svg element
	Legend          []key
}

// key is an entry of a legend.
type key struct{ Ink, Dash, Name string }

func (f *figure) setID(id string) { f.ID = id }

// figure draws the curves. It is nil where there is nothing to draw.
func (c chart) figure() *figure {
	p := c.blank()
	fig := &figure{Title: c.title, Desc: c.desc}
	any := false
	for n, curve := range c.curves {
		var list []point
		for _, pt := range curve.points {
			if pt.drawn(c.log) {
				list = append(list, pt)
			}
		}
		if len(list) == 0 {
			continue
		}
		any = true
		dashes := dashesOf(n)
		if curve.line && len(list) > 1 {
			xys := make(plotter.XYs, len(list))
			for i, pt := range list {
				xys[i] = plotter.XY{X: pt.x, Y: pt.y}
			}
			line := &plotter.Line{XYs: xys, LineStyle: draw.LineStyle{Color: inkOf(n), Width: 1.5, Dashes: dashes}}
			p.Add(line)
		}
		if curve.dots || len(list) == 1 {
			p.Add(marks{points: list, ink: inkOf(n)})
		}
		fig.Legend = append(fig.Legend, keyOf(n, curve.name))
	}
	if !any {
		return nil
	}
	if len(fig.Legend) == 1 {
		fig.Legend = nil // the title says what it is
	}
	settle(&p.X, false)
	settle(&p.Y, c.log)
	return fig.draw(p, plotHeight)
}

// blank is a plot without data, in the page's manner.
func (c chart) blank() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color, a.Label.TextStyle.Color, a.Tick.Label.Color = inkAxis, inkAxis, inkText, inkText
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(12), sans(11)
		a.Tick.Length, a.Label.Padding = 3, 3
		a.Tick.Marker = ticks{}
	}
	p.X.Tick.Marker = ticks{whole: c.whole}
	if c.log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, ticks{log: true}
	}
	grid := plotter.NewGrid()
	for _, s := range []*draw.LineStyle{&grid.Vertical, &grid.Horizontal} {
		s.Color, s.Width = inkGrid, 0.5
	}
	p.Add(grid)
	return p
}

func sans(size vg.Length) font.Font {
	return font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
}

// settle gives an axis a range that can be drawn, also where all values are the same.
func settle(a *plot.Axis, log bool) {
	if log {
		if a.Max < 1.2*a.Min {
			a.Min, a.Max = a.Min/1.2, a.Max*1.2
		}
		return
	}
	if least := max(math.Abs(a.Min), math.Abs(a.Max)) * 1e-3; a.Max-a.Min <= least {
		if least == 0 {
			least = 1
		}
		a.Min, a.Max = a.Min-least, a.Max+least
	}
}

// draw puts a plot into the figure.
func (f *figure) draw(p *plot.Plot, height vg.Length) *figure {
	canvas := newSVG(height)
	p.Draw(draw.Crop(draw.NewCanvas(canvas, plotWidth, height), 1, -10, 1, -6))
	f.Height, f.Body = coordinate(float64(height)), template.HTML(canvas.content()) // the canvas escapes texts
	return f
}

func keyOf(n int, name string) key {
	k := key{Ink: string(inkOf(n)), Name: name}
	if d := dashesOf(n); d != nil {
		k.Dash = fmt.Sprintf("%v %v", float64(d[0]), float64(d[1]))
	}
	return k
}

// ticks are at steps of 1, 2 or 5 times a power of ten, and of a logarithmic axis at these numbers themselves.
type ticks struct{ log, whole bool }

const mostTicks = 7

// Ticks is plot.Ticker's.
func (t ticks) Ticks(low, high float64) (list []plot.Tick) {
	exponent := strings.NewReplacer("e+0", "e", "e+", "e", "e-0", "e-")
	add := func(v float64) {
		list = append(list, plot.Tick{Value: v, Label: exponent.Replace(strconv.FormatFloat(v, 'g', 6, 64))})
	}
	if t.log {
		first, last := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		factors := []float64{1, 2, 5}
		switch {
		case high < 10*low:
			factors = []float64{1, 1.5, 2, 3, 4, 5, 6, 8}
		case last-first > 3:
			factors = []float64{1}
		}
		every := math.Ceil((last - first) / mostTicks)
		for e := first; e <= last; e += max(1, every) {
			for _, f := range factors {
				if v := f * math.Pow(10, e); v >= low && v <= high {
					add(v)
				}
			}
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/mostTicks)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (high-low)/(f*step) <= mostTicks {
			step *= f
			break
		}
	}
	if t.whole {
		step = max(1, step)
	}
	for i := math.Ceil(low / step); i*step <= high && len(list) <= 2*mostTicks; i++ {
		v := math.Round(i*step/step*1e9) / 1e9 * step
		add(v + 0) // no -0
	}
	return list
}

// marks are dots with titles and error bars.
type marks struct {
	points []point
	ink    ink
}

// DataRange is plot.DataRanger's.
func (m marks) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, p := range m.points {
		xmin, xmax = min(xmin, p.x), max(xmax, p.x)
		ymin, ymax = min(ymin, p.y), max(ymax, p.y)
		if p.barred() {
			ymin, ymax = min(ymin, p.low), max(ymax, p.high)
		}
	}
	return xmin, xmax, ymin, ymax
}

const dot vg.Length = 2.7 // radius

// Plot is plot.Plotter's.
func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.SetColor(m.ink)
	for _, pt := range m.points {
		titled(c, pt.title, func() {
			var path vg.Path
			path.Arc(vg.Point{X: x(pt.x), Y: y(pt.y)}, dot, 0, 2*math.Pi)
			path.Close()
			c.Fill(path)
		})
	}
}

// titled draws something with a title, where there is one.
func titled(c draw.Canvas, title string, do func()) {
	inner := c.Canvas
	for { // a part of a canvas wraps it
		part, ok := inner.(draw.Canvas)
		if !ok {
			break
		}
		inner = part.Canvas
	}
	if s, ok := inner.(*svg); ok && title != "" {
		s.titled(title, do)
		return
	}
	do()
}

// bars is a plot of values by name, each name above its bars, so that long ones have room on a phone.
type bars struct {
	title, desc string
	x           string
	names       []string
	series      []string // of each: what it is
	values      [][]bar  // of each series, by name
	dots        bool     // with error bars, in the place of bars from 0 on
	inks        []ink    // of each name, in the place of one of each series; nil: of series
	legend      []key    // of these
	mark        *float64 // a line there
}

var nan = math.NaN()

// bar is one value. There is none where NaN is.
type bar struct {
	value     float64
	low, high float64 // the ends of the error bar, both 0 without one
	title     string
}

func (b bar) drawn() bool {
	return math.Abs(b.value) <= maxDrawn && math.Abs(b.low) <= maxDrawn && math.Abs(b.high) <= maxDrawn
}

// Heights of a name and of a bar, and what is left between names.
const (
	nameHeight vg.Length = 13
	barHeight  vg.Length = 9
	barGap     vg.Length = 5
	maxNameLen           = 56 // bytes, some 300 units wide
)

// figure draws the bars. It is nil where there is nothing to draw.
func (b bars) figure() *figure {
	p := chart{x: b.x}.blank()
	p.HideY()
	p.Y.Min, p.Y.Max = 0, 1
	any := false
	low, high := math.Inf(1), math.Inf(-1)
	for _, list := range b.values {
		for _, v := range list {
			if v.drawn() {
				any = true
				low, high = min(low, v.value), max(high, v.value)
				if v.low != 0 || v.high != 0 {
					low, high = min(low, v.low), max(high, v.high)
				}
			}
		}
	}
	if !any {
		return nil
	}
	if b.mark != nil {
		low, high = min(low, *b.mark), max(high, *b.mark)
	}
	if margin := 0.03 * (high - low); b.dots {
		low, high = low-margin, high+margin
	} else {
		low, high = min(low, 0), max(high, 0)
	}
	p.X.Min, p.X.Max = low, high
	settle(&p.X, false)
	p.Add(b)
	fig := &figure{Title: b.title, Desc: b.desc, Legend: b.legend}
	if len(b.series) > 1 {
		for n, name := range b.series {
			fig.Legend = append(fig.Legend, keyOf(n, name))
		}
	}
	return fig.draw(p, vg.Length(len(b.names))*b.pitch()+44)
}

// pitch is the height of a name with its bars.
func (b bars) pitch() vg.Length { return nameHeight + vg.Length(len(b.series))*barHeight + barGap }

// Plot is plot.Plotter's.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	if b.mark != nil {
		c.StrokeLine2(draw.LineStyle{Color: inkAxis, Width: 1, Dashes: []vg.Length{3, 3}}, x(*b.mark), c.Min.Y, x(*b.mark), c.Max.Y)
	}
	style := text.Style{Color: inkText, Font: sans(11), YAlign: draw.YTop, Handler: plot.DefaultTextHandler}
	zero := x(max(0, p.X.Min))
	for i, name := range b.names {
		top := c.Max.Y - vg.Length(i)*b.pitch()
		c.FillText(style, vg.Point{X: c.Min.X + 2, Y: top}, printable.Clip(name, maxNameLen))
		for n := range b.series {
			v := b.values[n][i]
			if !v.drawn() {
				continue
			}
			of := inkOf(n)
			if b.inks != nil {
				of = b.inks[i]
			}
			middle := top - nameHeight - (vg.Length(n)+0.5)*barHeight
			titled(c, v.title, func() { b.draw(c, v, of, zero, x, middle) })
		}
	}
}

// draw draws a bar, or a dot, around a height.
func (b bars) draw(c draw.Canvas, v bar, of ink, zero vg.Length, x func(float64) vg.Length, middle vg.Length) {
	c.SetColor(of)
	end := x(v.value)
	if b.dots {
		var path vg.Path
		path.Arc(vg.Point{X: end, Y: middle}, dot, 0, 2*math.Pi)
		path.Close()
		c.Fill(path)
	} else {
		half := barHeight/2 - 1
		var path vg.Path
		path.Move(vg.Point{X: zero, Y: middle - half})
		path.Line(vg.Point{X: zero, Y: middle + half})
		path.Line(vg.Point{X: end, Y: middle + half})
		path.Line(vg.Point{X: end, Y: middle - half})
		path.Close()
		c.Fill(path)
	}
	if v.low == 0 && v.high == 0 {
		return
	}
	style := draw.LineStyle{Color: of, Width: 1.2}
	if !b.dots {
		style.Color = inkText
	}
	c.StrokeLine2(style, x(v.low), middle, x(v.high), middle)
	for _, end := range []float64{v.low, v.high} {
		c.StrokeLine2(style, x(end), middle-2.5, x(end), middle+2.5)
	}
}
