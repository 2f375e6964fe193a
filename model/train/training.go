package train

import (
	"context"
	"io"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// training is what the training of a layer and of a model share: steps over sets of weights, on the recorder of a Forward.
type training struct {
	f     *run.Forward // nil in predictions
	scope *vk.Scope
	sets  []*trained
	opt   *optimizer
	loss  *vk.Buffer // [1, rows]
}

// Begin starts a step: gradients and loss are 0.
func (t *training) Begin() {
	for _, s := range t.sets {
		s.zero(t.f.Recorder())
	}
	t.opt.begin()
}

// Step takes the step that the batches since Begin make, and waits for it.
func (t *training) Step(ctx context.Context, clip float64, p op.AdamWParams) (StepResult, error) {
	return t.opt.step(ctx, t.f.Recorder(), float32(clip), p, t.sets)
}

// Loss waits for the batches since Begin and gives their loss.
func (t *training) Loss(ctx context.Context) (float64, error) {
	control, err := t.opt.read(ctx, t.f.Recorder())
	if err != nil {
		return 0, err
	}
	return float64(control[0]), nil
}

// Gradients waits for the batches since Begin and reads the gradients of all weights, in the order of Values; those of absent ones are nil.
// Where updates are trained, it reads those of A and of B transposed, of one matrix after the other.
func (t *training) Gradients(ctx context.Context) (list [][]float32, err error) {
	if err := t.f.Recorder().Wait(ctx); err != nil {
		return nil, err
	}
	for _, s := range t.sets {
		var params []parameter
		for _, p := range s.params {
			params = append(params, p.parameter)
		}
		values, err := s.gradientsOf(params, s.low != nil, func(p int, values []float32) error {
			return graph.Read(ctx, t.f.Recorder().Device(), values, s.params[p].grad)
		})
		if err != nil {
			return nil, err
		}
		list = append(list, values...)
	}
	return list, nil
}

// Values are all weights as they are now, in host memory: of a layer by arch.Role; of a model layer by layer, then those outside the layers.
func (t *training) Values(ctx context.Context) (list []model.Weight, err error) {
	for _, s := range t.sets {
		values, err := s.values(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, values...)
	}
	return list, nil
}

// Save writes the weights and moments for Load: all that training goes on from.
func (t *training) Save(ctx context.Context, to io.Writer) error {
	for _, s := range t.sets {
		if err := s.save(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// Load reads what Save wrote of weights of the same shapes.
func (t *training) Load(ctx context.Context, from io.Reader) error {
	for _, s := range t.sets {
		if err := s.load(ctx, from); err != nil {
			return err
		}
	}
	return nil
}

// gradients lists the gradient tensors of all sets.
func (t *training) gradients() (list []op.Tensor) {
	for _, s := range t.sets {
		list = append(list, s.gradients()...)
	}
	return list
}

// finish ends the allocations: what they recorded is waited for, as nothing may use what goes where one of them failed.
func (t *training) finish(ctx context.Context) error {
	t.scope.Fail(t.f.Recorder().Wait(context.WithoutCancel(ctx)))
	return t.scope.Close()
}

// Close waits for what was recorded, since nothing of that may use what goes, and frees what the training holds. An error is told by
// whoever waits next.
func (t *training) Close() {
	t.f.Recorder().Wait(context.Background())
	t.scope.Free()
}
