package method

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vkcome/vkcome/model"
)

// snapshot is a State without its model, device, scorer and options.
type snapshot struct {
	Tree      []Tree          `json:"tree"`
	Protected []bool          `json:"protected"`
	Ends      []int           `json:"ends"`
	Memo      json.RawMessage `json:"memo,omitempty"`
	Valid     int             `json:"valid"`
	Merged    int             `json:"merged"`
	Known     bool            `json:"known"`
}

// check refuses what is not of a model of so many layers, which was made of one of more.
func (b *snapshot) check(layers, opened int) error {
	if err := CheckTrees(b.Tree, layers, MaxLayers); err != nil {
		return err
	}
	switch {
	case b.Protected != nil && len(b.Protected) != layers:
		return fmt.Errorf("%d layers are protected or not, the model has %d", len(b.Protected), layers)
	case b.Ends != nil && len(b.Ends) != layers:
		return fmt.Errorf("%d layers have an end, the model has %d", len(b.Ends), layers)
	case b.Valid < 0 || b.Valid > layers || b.Merged < 0 || b.Merged > opened:
		return fmt.Errorf("layer %d of %d, made of %d", b.Valid, layers, b.Merged)
	}
	for l, end := range b.Ends {
		if end < 1 || end > opened || l > 0 && end <= b.Ends[l-1] {
			return fmt.Errorf("layer %d stands for those below %d of %d, after the one before it for those below %d", l, end, opened, b.Ends[max(0, l-1)])
		}
	}
	return nil
}

// Changed is the first layer that the scorer has not seen as it is now, and how many layers of the model that it knows this one was made
// of, 0 if that is not so simple.
func (s *State) Changed() (first, merged int) { return s.valid, s.merged }

// Checkpoint is all that a state between two steps is besides its model, which is kept apart, and what its scorer knows, nil without
// one.
func (s *State) Checkpoint() (state json.RawMessage, scores []byte, err error) {
	if s.Scorer != nil {
		if scores, err = s.Scorer.Checkpoint(); err != nil {
			return nil, nil, err
		}
	}
	state, err = json.Marshal(snapshot{s.Tree, s.Protected, s.Ends, s.Memo, s.valid, s.merged, s.Known})
	return state, scores, err
}

// Restore makes a state before its first step, with its options, device and new scorer, what another was when it made a checkpoint with
// model m.
func (s *State) Restore(ctx context.Context, m *model.Model, state json.RawMessage, scores []byte) error {
	var before snapshot
	if err := json.Unmarshal(state, &before); err != nil {
		return err
	}
	if err := before.check(len(m.Layers), len(s.Tree)); err != nil {
		return err
	}
	s.Model, s.Tree, s.Protected, s.Ends, s.Memo = m, before.Tree, before.Protected, before.Ends, before.Memo
	s.valid, s.merged, s.Known = before.Valid, before.Merged, before.Known
	if s.Scorer == nil {
		return nil
	}
	from := s.valid
	if s.Known {
		from = len(m.Layers)
	}
	return s.Scorer.Restore(ctx, m, from, scores)
}
