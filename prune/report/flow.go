package report

import (
	"fmt"
	"strings"
)

// flow is the picture of layers: those of the original on the left, those that are left on the right, and between them a ribbon for each share.
type flow struct {
	ID, Title, Desc string
	Width, Height   string
	Old, New        []box
	Ribbons         []ribbon
}

func (f *flow) setID(id string) { f.ID = id }

// box is a layer.
type box struct {
	X, Y, Height   string
	LabelX, LabelY string
	Label          string
	Class          string // old, kept, merged or gone
	Title          string
}

// ribbon is what a new layer has of an old one, or, fading, that nothing has it.
type ribbon struct {
	Path  string
	Class string // kept, gone, or the ink of a merge
	Title string
	Focus bool // it can be reached by the keyboard
}

// Measures of the picture, in units that are CSS pixels on a phone.
const (
	flowWidth = 360.0
	flowTop   = 24.0 // of the first row; above it are the headings
	flowRow   = 18.0
	flowBox   = 13.0 // height of a layer, and of a ribbon of share 1
	oldRight  = 82.0 // where ribbons begin
	newLeft   = 236.0
	boxWidth  = 26.0
)

// newFlow draws a history.
func newFlow(h *history) *flow {
	f := &flow{Title: "Layers", Width: coordinate(flowWidth), Height: coordinate(flowTop + flowRow*float64(h.originals) + 6)}
	scores := firstScores(h)
	old := func(l int) float64 { return flowTop + flowRow*float64(l) }
	to := map[int]int{} // new layers by old ones
	for n, o := range h.layers {
		for _, p := range o.parts {
			to[p.layer] = n
		}
	}
	for l := range h.originals {
		b := newBox(oldRight-boxWidth, old(l), oldRight-boxWidth-5, fmt.Sprint(l), "old")
		b.Title = fmt.Sprintf("layer %d of the original%s", l, scores[l])
		if _, ok := to[l]; !ok {
			b.Class = "gone"
			f.Ribbons = append(f.Ribbons, h.lost(l, old(l), scores[l]))
		}
		f.Old = append(f.Old, b)
	}
	merges := 0
	for n, o := range h.layers {
		y := 0.0
		for _, p := range o.parts {
			y += old(p.layer) / float64(len(o.parts))
		}
		class, label := "kept", fmt.Sprint(n)
		if len(o.parts) > 1 {
			class, label = string(inkOf(merges)), fmt.Sprintf("%d = %s", n, o.from())
			merges++
		}
		b := newBox(newLeft, y, newLeft+boxWidth+5, clipLabel(label), class)
		b.Title = h.told(n)
		f.New = append(f.New, b)
		at := y
		for _, p := range o.parts {
			share := p.share
			if !h.faithful {
				share = 1 / float64(len(o.parts))
			}
			r := ribbon{Class: class, Title: h.given(n, p) + scores[p.layer], Focus: class != "kept"}
			r.Path = band(oldRight, old(p.layer), newLeft, at, max(share, 0.04)*flowBox)
			at += share * flowBox
			f.Ribbons = append(f.Ribbons, r)
		}
	}
	f.Desc = fmt.Sprintf("From %d layers on the left to %d on the right: %d made of several, %d dropped. A ribbon is as wide as the share of the new layer that comes from the old one. The table below says the same in words.",
		h.originals, len(h.layers), merges, h.originals-len(to))
	return f
}

func newBox(x, y, labelX float64, label, class string) box {
	return box{X: coordinate(x), Y: coordinate(y), Height: coordinate(flowBox), LabelX: coordinate(labelX), LabelY: coordinate(y + flowBox - 3), Label: label, Class: class}
}

// band is a ribbon of a width from a point at the left to one at the right, both the upper corners.
func band(x0, y0, x1, y1, width float64) string {
	middle := (x0 + x1) / 2
	c := coordinate
	return fmt.Sprintf("M%s %sC%s %s %s %s %s %sV%sC%s %s %s %s %s %sZ", c(x0), c(y0), c(middle), c(y0), c(middle), c(y1), c(x1), c(y1),
		c(y1+width), c(middle), c(y1+width), c(middle), c(y0+width), c(x0), c(y0+width))
}

const maxLabel = 17 // letters beside a new layer; its title has all

func clipLabel(text string) string {
	if len(text) <= maxLabel {
		return text
	}
	return text[:maxLabel-1] + "…"
}

// lost is the ribbon of an old layer that no new one has.
func (h *history) lost(l int, y float64, scores string) ribbon {
	title := fmt.Sprintf("layer %d of the original: dropped", l)
	if no, ok := h.dropped[l]; ok {
		title += fmt.Sprintf(" in step %d by %s", no+1, h.method[no])
		if s := h.steps[no].Scale; s != 0 {
			title += ", what the layers above add multiplied by " + num(s)
		}
	}
	return ribbon{Path: band(oldRight, y, oldRight+90, y, flowBox), Class: "gone", Title: title + scores, Focus: true}
}

// given says what a new layer has of an old one.
func (h *history) given(n int, p part) string {
	o := h.layers[n]
	if len(o.parts) == 1 {
		return fmt.Sprintf("layer %d of the original is layer %d", p.layer, n)
	}
	text := fmt.Sprintf("layer %d of the original is in layer %d", p.layer, n)
	if h.faithful {
		text += ", ratio " + num(p.share)
	}
	return text + ": " + h.did(o)
}

// told is all about a new layer.
func (h *history) told(n int) string {
	o := h.layers[n]
	text := fmt.Sprintf("layer %d, from %s: %s", n, o.from(), h.did(o))
	if s := h.shares(o); s != "" {
		text += ", ratio " + s
	}
	for _, f := range o.fits {
		text += fmt.Sprintf("; %s fitted, loss %s", f.Projection, change(f.Before, f.After))
		if !f.Taken {
			text += ", not taken"
		}
	}
	for _, s := range o.stages {
		text += fmt.Sprintf("; trained, held-out loss %s", change(s.Before, s.After))
	}
	return text
}

// firstScores is, for each original layer, what the first step went by, in words, where that was of single layers.
func firstScores(h *history) map[int]string {
	scores := map[int]string{}
	if len(h.steps) == 0 || h.steps[0].From != h.originals {
		return scores
	}
	for _, kind := range kindsOf(h.steps[0]) {
		if len(kind.values) != h.originals {
			continue
		}
		for l, v := range kind.values {
			if text := num(v); text != "" {
				scores[l] += fmt.Sprintf("; %s %s", strings.ToLower(kind.name), text)
			}
		}
	}
	return scores
}
