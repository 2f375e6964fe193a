package model

import "github.com/vkcome/vkcome/vk"

// TrainingMemory is the device memory that training takes at most, states and all, phase by phase.
type TrainingMemory struct {
	Forward int64 `json:"forward"`         // while layers run for the states that are trained on
	Layer   int64 `json:"layer"`           // while the largest layer is trained
	Whole   int64 `json:"whole,omitempty"` // while all weights are trained together
}

// Peak is the most of the phases.
func (t TrainingMemory) Peak() int64 { return max(t.Forward, t.Layer, t.Whole) }

// PredictTraining is the device memory for layers of m that learn from teacher on so many windows, in batches as the options say. Student
// says that they learn from states of m, whole that all of m is trained in the end.
func PredictTraining(d *vk.Device, teacher, m *Model, layers []int, windows, window int, o ForwardOptions, objective Objective, student, whole bool) (t TrainingMemory, err error) {
	f := &Forward{d: d, config: teacher.Config, windows: make([][]uint32, windows), window: window}
	if err := f.plan(teacher, o); err != nil {
		return t, err
	}
	tokens := f.batch * window
	rest := fixedBytes(teacher, window) + 2*int64(f.batch)*f.stateBytes() // staging of states
	t.Forward = f.taken
	if student {
		t.Forward += rest
		rest *= 2
	}
	for _, l := range layers {
		t.Layer = max(t.Layer, rest+trainingBytes(d, teacher, m, l, window, tokens, objective))
	}
	if whole {
		t.Whole = rest + modelTrainingBytes(d, teacher, m, window, tokens)
	}
	return t, nil
}
