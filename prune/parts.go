package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

// Part is one of several that a distillation is cut into.
type Part struct {
	Index int `json:"index"` // from 0 on
	Of    int `json:"of"`
}

func (p Part) String() string { return fmt.Sprintf("%d/%d", p.Index, p.Of) }

// cut leaves of a distillation what a part of it trains: every Of-th layer from number Index on.
func (p *Distillation) cut(part Part) error {
	o := p.Options.Distill.Options
	switch {
	case part.Of < 1 || part.Index < 0 || part.Index >= part.Of:
		return fmt.Errorf("prune: part %v of a distillation: expected 0 to %d", part, max(0, part.Of-1))
	case part.Of > len(p.Groups):
		return fmt.Errorf("prune: %d parts of a distillation of %d layers: expected as many layers at least", part.Of, len(p.Groups))
	case o.EndToEnd > 0:
		return errors.New("prune: parts of a distillation train their layers alone: train all weights (distill.Options.EndToEnd) after they were merged")
	case o.Input == distill.StudentInput:
		return errors.New("prune: a layer that learns from states of the student (distill.Options.Input) needs the trained layers below: that cannot be done in parts")
	case o.Budget > 0:
		return errors.New("prune: parts of a distillation do not share a budget of time: bound the tokens instead (distill.Options.Tokens)")
	}
	var own []distill.Group
	for i := part.Index; i < len(p.Groups); i += part.Of {
		own = append(own, p.Groups[i])
	}
	p.Groups = own
	return nil
}

// distilledPart is a part's model with its lineage.
type distilledPart struct {
	*model.Model
	lineage Lineage
	run     []byte // the lineage without what parts of one run differ in
}

func openPart(m *model.Model) (p distilledPart, err error) {
	p.Model = m
	_, _, raw, err := readLineage(m)
	if err != nil {
		return p, err
	}
	if raw != nil {
		l, err := ParseLineage(raw)
		if err != nil {
			return p, fmt.Errorf("prune: %s/%s: %w", m.Name, model.Lineage, err)
		}
		p.lineage = *l
	}
	if p.lineage.Distill == nil || p.lineage.Distill.Part == nil {
		return p, fmt.Errorf("prune: %s is no part of a distillation (prune.DistillationOptions.Part)", m.Name)
	}
	same, record := p.lineage, *p.lineage.Distill
	record.Part, record.Stages = nil, nil
	same.Distill = &record
	p.run, err = same.text()
	return p, err
}

// MergeParts joins the parts of a distillation, in any order, and writes the model that a machine which trained all layers would have written.
// It refuses parts that are not of one run, whose options, models, texts or devices differ, and sets that are not whole. progress may be nil.
func MergeParts(ctx context.Context, d *vk.Device, models []*model.Model, o Output, progress func(Status)) (*Lineage, error) {
	if progress == nil {
		progress = func(Status) {}
	}
	o = o.defaults()
	if len(models) == 0 {
		return nil, errors.New("prune: no parts of a distillation to merge")
	}
	parts := make([]distilledPart, len(models))
	for _, m := range models {
		p, err := openPart(m)
		if err != nil {
			return nil, err
		}
		part := *p.lineage.Distill.Part
		switch {
		case part.Of != len(models):
			return nil, fmt.Errorf("prune: %s is part %v of a distillation, and %d are to be merged", m.Name, part, len(models))
		case part.Index < 0 || part.Index >= part.Of:
			return nil, fmt.Errorf("prune: %s says that it is part %v", m.Name, part)
		case parts[part.Index].Model != nil:
			return nil, fmt.Errorf("prune: %s and %s are both part %v", parts[part.Index].Name, m.Name, part)
		}
		parts[part.Index] = p
	}
	for _, p := range parts[1:] {
		if what := difference(parts[0].run, p.run); what != "" {
			return nil, fmt.Errorf("prune: %s and %s are not parts of one distillation: %s differs", parts[0].Name, p.Name, what)
		}
	}
	r, err := joinParts(ctx, parts)
	if err != nil {
		return nil, err
	}
	tmp := o.temporary(o.Dir)
	if err := sweep(ctx, o.Dir, tmp); err != nil {
		return nil, fmt.Errorf("prune: %s: %w", o.Dir, err)
	}
	return &r.Lineage, r.write(ctx, o, tmp, progress, func(dir string) error { return verify(ctx, d, dir) })
}

// difference names what differs in two lineages: the innermost key, empty where they are the same.
func difference(a, b []byte) string {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		if bytes.Equal(a, b) {
			return ""
		}
		return "it"
	}
	for key := range y {
		if _, there := x[key]; !there {
			x[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(x)) {
		if bytes.Equal(x[key], y[key]) {
			continue
		}
		if inner := difference(x[key], y[key]); inner != "" && inner != "it" {
			return key + "." + inner
		}
		return key
	}
	return ""
}

// joinParts takes each layer from the part that trained it. What none trained is the same in all.
func joinParts(ctx context.Context, parts []distilledPart) (*Result, error) {
	out, owner := *parts[0].Model, map[int]int{}
	r := &Result{Lineage: parts[0].lineage}
	record := *r.Lineage.Distill
	record.Part, record.Stages = nil, nil
	losses := make([][]distill.Record, len(parts))
	for i, p := range parts {
		var err error
		if losses[i], err = readLosses(p.Model); err != nil {
			return nil, err
		}
	}
	for i := 0; ; i++ { // the groups went to the parts in turn
		part := parts[i%len(parts)]
		stages := part.lineage.Distill.Stages
		if i/len(parts) >= len(stages) {
			break
		}
		s := stages[i/len(parts)]
		if s.Group == nil || s.Group.Layer >= len(out.Layers) {
			return nil, fmt.Errorf("prune: %s/%s: a part's stage is not that of a layer", part.Name, model.Lineage)
		}
		owner[s.Group.Layer] = i % len(parts)
		record.Stages = append(record.Stages, s)
		for _, l := range losses[i%len(parts)] {
			if l.Layer != nil && *l.Layer == s.Group.Layer {
				r.Losses = append(r.Losses, l)
			}
		}
	}
	total := 0
	for _, p := range parts {
		total += len(p.lineage.Distill.Stages)
	}
	if total != len(record.Stages) || len(owner) != total {
		return nil, fmt.Errorf("prune: the parts have %d stages of %d layers, of which %d follow one another", total, len(owner), len(record.Stages))
	}
	out.Layers = slices.Clone(out.Layers)
	for l := range out.Layers {
		own, trained := owner[l]
		out.Layers[l] = parts[own].Layers[l]
		var others []distilledPart
		for i, p := range parts {
			if !trained || i != own {
				others = append(others, p)
			}
		}
		for role := range arch.LayerRoles {
			if err := sameWeight(ctx, others, func(m *model.Model) model.Weight { return m.Layers[l].Weights[role] }); err != nil {
				return nil, err
			}
		}
	}
	for i := range parts[0].OwnTop() {
		if err := sameWeight(ctx, parts, func(m *model.Model) model.Weight { return m.OwnTop()[i] }); err != nil {
			return nil, err
		}
	}
	r.Model, r.Lineage.Distill = &out, &record
	return r, nil
}

// sameWeight refuses parts that did not train a weight and have other values of it than the first of them.
func sameWeight(ctx context.Context, parts []distilledPart, of func(m *model.Model) model.Weight) error {
	var first model.Weight
	var want []byte
	for i, p := range parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, sum := of(p.Model), sha256.New()
		err := w.Pieces(func(_ int64, data []byte) error {
			_, err := sum.Write(data)
			return err
		})
		if err != nil {
			return err
		}
		got := sum.Sum(nil)
		if i == 0 {
			first, want = w, got
		} else if w.DType != first.DType || w.Rows != first.Rows || w.Cols != first.Cols || !bytes.Equal(got, want) {
			return fmt.Errorf("prune: tensor %s of %s is another than that of %s, and neither trained it: they are not parts of one distillation, or one is damaged", first.Name, p.Name, parts[0].Name)
		}
	}
	return nil
}

// maxLosses bounds the losses that a model keeps: 150 bytes for each of a million steps.
const maxLosses = 256 << 20

// readLosses reads the losses that a model keeps.
func readLosses(m *model.Model) (list []distill.Record, err error) {
	raw, err := files.ReadFS(m.Files, model.Losses, maxLosses)
	if err != nil {
		return nil, fmt.Errorf("prune: %s: %w", m.Name, err)
	}
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		var r distill.Record
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("prune: %s/%s: %w", m.Name, model.Losses, files.Plain(err))
		}
		list = append(list, r)
	}
}
