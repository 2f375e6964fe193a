// Package method holds the ways of making a model shallower.
package method

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Tree tells where a layer comes from: one layer of the original model, or several that were merged, in order.
type Tree struct {
	Layer  int
	Merged []Tree
}

// Limits of a tree that is read. A tree nests once for each merge that its layer went through, and a merge takes a layer away at least: it is
// no deeper than the original model, the largest of which have some 130 layers. Numbers are below what a config.json may say.
const (
	MaxTreeDepth = 1 << 10
	MaxLayers    = 1 << 14
)

// Originals is the number of the original model's layers inside.
func (t Tree) Originals() int {
	if t.Merged == nil {
		return 1
	}
	n := 0
	for _, m := range t.Merged {
		n += m.Originals()
	}
	return n
}

// First is the lowest original layer inside.
func (t Tree) First() int {
	if t.Merged == nil {
		return t.Layer
	}
	first := t.Merged[0].First()
	for _, m := range t.Merged[1:] {
		first = min(first, m.First())
	}
	return first
}

// CheckTrees refuses trees that are not those of a model's layers, which come from an original of so many: steps keep the order of layers, and
// take none twice.
func CheckTrees(trees []Tree, layers, originals int) error {
	if len(trees) != layers || originals < layers || originals > MaxLayers {
		return fmt.Errorf("its tree has %d layers of %d, the model %d", len(trees), originals, layers)
	}
	last := -1
	var in func(t Tree) error
	in = func(t Tree) error {
		if t.Merged == nil {
			if t.Layer <= last || t.Layer >= originals {
				return fmt.Errorf("its tree has layer %d behind layer %d, of %d: expected each once, in ascending order", t.Layer, last, originals)
			}
			last = t.Layer
		}
		for _, m := range t.Merged {
			if err := in(m); err != nil {
				return err
			}
		}
		return nil
	}
	for _, t := range trees {
		if err := in(t); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON writes a layer as its number and a merge as an array: [0,1,[2,3]].
func (t Tree) MarshalJSON() ([]byte, error) { return t.append(nil), nil }

func (t Tree) append(text []byte) []byte {
	if t.Merged == nil {
		return strconv.AppendInt(text, int64(t.Layer), 10)
	}
	text = append(text, '[')
	for i, m := range t.Merged {
		if i > 0 {
			text = append(text, ',')
		}
		text = m.append(text)
	}
	return append(text, ']')
}

// UnmarshalJSON reads what MarshalJSON writes, in one go however deep it is.
func (t *Tree) UnmarshalJSON(raw []byte) error {
	p := treeParser{text: raw}
	tree, err := p.tree(0)
	if err == nil && p.next() != 0 {
		err = p.wrong()
	}
	if err != nil {
		return fmt.Errorf("lineage: %w", err)
	}
	*t = tree
	return nil
}

// treeParser reads a tree from JSON.
type treeParser struct {
	text  []byte
	at    int
	count int // of layers so far
}

// next is the byte that comes next but for white space, 0 at the end.
func (p *treeParser) next() byte {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (p *treeParser) wrong() error {
	return fmt.Errorf("expected a layer's number or an array of merged layers, found %.40s", p.text)
}

func (p *treeParser) tree(depth int) (t Tree, err error) {
	if p.next() != '[' {
		begin := p.at
		for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
			p.at++
		}
		digits := string(p.text[begin:p.at])
		if t.Layer, err = strconv.Atoi(digits); err != nil || !json.Valid([]byte(digits)) {
			return t, p.wrong()
		}
		if p.count++; t.Layer >= MaxLayers || p.count > MaxLayers {
			return t, fmt.Errorf("layer %d, the %dth of a tree: expected less than %d", t.Layer, p.count, MaxLayers)
		}
		return t, nil
	}
	if depth == MaxTreeDepth {
		return t, fmt.Errorf("layers merged more than %d times over", MaxTreeDepth)
	}
	for {
		p.at++ // the bracket or a comma
		inner, err := p.tree(depth + 1)
		if err != nil {
			return t, err
		}
		t.Merged = append(t.Merged, inner)
		switch p.next() {
		case ',':
		case ']':
			p.at++
			return t, nil
		default:
			return t, p.wrong()
		}
	}
}
