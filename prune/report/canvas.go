package report

import (
	"fmt"
	"html"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// ink is the CSS class that gives a line, an area or a text its colour, so that a plot follows the page's light and dark.
type ink string

// RGBA makes an ink a color.Color, which gonum hands through to the canvas. No pixel has it.
func (ink) RGBA() (r, g, b, a uint32) { return 0, 0, 0, 0xffff }

// The inks of plots beside those of series.
const (
	inkAxis ink = "ax"
	inkGrid ink = "gr"
	inkText ink = "tx"
)

// series are the inks of curves, bars and ribbons, in the order in which they are taken.
var series = []ink{"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"}

// inkOf is the ink of the nth of several. Those beyond the last begin anew, and are dashed.
func inkOf(n int) ink { return series[n%len(series)] }

// dashesOf are the dashes of the nth of several.
func dashesOf(n int) []vg.Length {
	switch n / len(series) {
	case 0:
		return nil
	case 1:
		return []vg.Length{4, 2}
	}
	return []vg.Length{1, 2}
}

// svg is a vg.Canvas that writes what an <svg> holds: text stays text, colours are classes, and no element has a style of its own, which the
// page's policy would not allow. gonum's own canvas fixes colours and writes styles.
type svg struct {
	height vg.Length
	out    strings.Builder
	state  svgState
	stack  []svgState
	attrs  string // of the path that is open, to which a next one of the same kind is added
	open   bool
}

// svgState is what Push saves: a point (x, y) becomes (m[0]·x + m[2]·y + m[4], m[1]·x + m[3]·y + m[5]).
type svgState struct {
	m      [6]float64
	width  vg.Length
	dashes []vg.Length
	class  ink
}

func newSVG(height vg.Length) *svg {
	return &svg{height: height, state: svgState{m: [6]float64{1, 0, 0, 1, 0, 0}, width: 1, class: inkText}}
}

// SetLineWidth, and all that follow, are vg.Canvas's.
func (s *svg) SetLineWidth(w vg.Length) { s.state.width = w }

func (s *svg) SetLineDash(pattern []vg.Length, _ vg.Length) { s.state.dashes = pattern }

func (s *svg) SetColor(c color.Color) {
	s.state.class = inkText
	if named, ok := c.(ink); ok {
		s.state.class = named
	}
}

func (s *svg) Rotate(rad float64) {
	sin, cos := math.Sincos(rad)
	s.apply([6]float64{cos, sin, -sin, cos, 0, 0})
}

func (s *svg) Translate(pt vg.Point) { s.apply([6]float64{1, 0, 0, 1, float64(pt.X), float64(pt.Y)}) }

func (s *svg) Scale(x, y float64) { s.apply([6]float64{x, 0, 0, y, 0, 0}) }

// apply has a transform come before those that are there.
func (s *svg) apply(t [6]float64) {
	m := s.state.m
	s.state.m = [6]float64{
		m[0]*t[0] + m[2]*t[1], m[1]*t[0] + m[3]*t[1],
		m[0]*t[2] + m[2]*t[3], m[1]*t[2] + m[3]*t[3],
		m[0]*t[4] + m[2]*t[5] + m[4], m[1]*t[4] + m[3]*t[5] + m[5],
	}
}

func (s *svg) Push() { s.stack = append(s.stack, s.state) }

func (s *svg) Pop() {
	s.state = s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
}

// at is a point as SVG has it, whose y goes down.
func (s *svg) at(p vg.Point) string {
	x, y := s.place(p)
	return coordinate(x) + " " + coordinate(y)
}

func (s *svg) place(p vg.Point) (x, y float64) {
	m := s.state.m
	return m[0]*float64(p.X) + m[2]*float64(p.Y) + m[4], float64(s.height) - (m[1]*float64(p.X) + m[3]*float64(p.Y) + m[5])
}

// coordinate has a tenth of a unit, a third of a pixel on a phone.
func coordinate(v float64) string {
	v = math.Round(v*10) / 10
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "0" // also of -0
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func (s *svg) Stroke(p vg.Path) {
	if s.state.width <= 0 {
		return
	}
	attrs := fmt.Sprintf(` class="l %s"`, s.state.class)
	if w := s.state.width; w != 1 {
		attrs += fmt.Sprintf(` stroke-width="%s"`, coordinate(float64(w)))
	}
	if len(s.state.dashes) > 0 {
		var list []string
		for _, d := range s.state.dashes {
			list = append(list, coordinate(float64(d)))
		}
		attrs += fmt.Sprintf(` stroke-dasharray="%s"`, strings.Join(list, " "))
	}
	s.path(attrs, p)
}

func (s *svg) Fill(p vg.Path) { s.path(fmt.Sprintf(` class="f %s"`, s.state.class), p) }

func (s *svg) path(attrs string, p vg.Path) {
	var d strings.Builder
	for _, c := range p {
		switch c.Type {
		case vg.MoveComp:
			d.WriteString("M" + s.at(c.Pos))
		case vg.LineComp:
			d.WriteString("L" + s.at(c.Pos))
		case vg.CurveComp:
			d.WriteString("C")
			for _, control := range c.Control {
				d.WriteString(s.at(control) + " ")
			}
			d.WriteString(s.at(c.Pos))
		case vg.ArcComp:
			s.arc(&d, c)
		case vg.CloseComp:
			d.WriteString("Z")
		}
	}
	if s.open && s.attrs == attrs {
		s.out.WriteString(d.String())
		return
	}
	s.end()
	fmt.Fprintf(&s.out, `<path%s d="%s`, attrs, d.String())
	s.open, s.attrs = true, attrs
}

// arc draws an arc as arcs of at most half a circle, since one of a whole circle begins where it ends.
func (s *svg) arc(d *strings.Builder, c vg.PathComp) {
	point := func(angle float64) vg.Point {
		sin, cos := math.Sincos(angle)
		return vg.Point{X: c.Pos.X + vg.Length(cos)*c.Radius, Y: c.Pos.Y + vg.Length(sin)*c.Radius}
	}
	move := "L"
	if d.Len() == 0 || strings.HasSuffix(d.String(), "Z") {
		move = "M"
	}
	d.WriteString(move + s.at(point(c.Start)))
	sweep := 0 // against the clock, which SVG, whose y goes down, calls 0
	if c.Angle < 0 {
		sweep = 1
	}
	parts := max(1, int(math.Ceil(math.Abs(c.Angle)/math.Pi)))
	for i := 1; i <= parts; i++ {
		r := coordinate(float64(c.Radius))
		fmt.Fprintf(d, "A%s %s 0 0 %d %s", r, r, sweep, s.at(point(c.Start+c.Angle*float64(i)/float64(parts))))
	}
}

// end closes the path that is open.
func (s *svg) end() {
	if s.open {
		s.out.WriteString(`"/>`)
	}
	s.open = false
}

func (s *svg) FillString(f font.Face, pt vg.Point, text string) {
	if f.Font.Size <= 0 || text == "" {
		return
	}
	s.end()
	x, y := s.place(pt)
	turned := ""
	if angle := math.Atan2(s.state.m[1], s.state.m[0]); math.Abs(angle) > 1e-9 {
		turned = fmt.Sprintf(` transform="rotate(%s %s %s)"`, coordinate(-angle*180/math.Pi), coordinate(x), coordinate(y))
	}
	fmt.Fprintf(&s.out, `<text class="%s" x="%s" y="%s" font-size="%s"%s>%s</text>`, s.state.class, coordinate(x), coordinate(y), coordinate(float64(f.Font.Size)), turned, html.EscapeString(text))
}

// DrawImage draws nothing: no plot here has an image.
func (s *svg) DrawImage(vg.Rectangle, image.Image) {}

// titled puts what draw draws into a group with a title, which browsers show where a pointer rests on it.
func (s *svg) titled(title string, draw func()) {
	s.end()
	fmt.Fprintf(&s.out, `<g><title>%s</title>`, html.EscapeString(title))
	draw()
	s.end()
	s.out.WriteString("</g>")
}

// content is all that was drawn.
func (s *svg) content() string {
	s.end()
	return s.out.String()
}
