package refit

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/prune/score"
)

// transformLambda is a ridge that changes next to nothing, and makes the equations of any corpus solvable.
const transformLambda = 1e-4

// Transform fits a layer of m, which below that layer is the scorer's model, as ReplaceMe does: what its down projection gives is multiplied by
// the T that is the minimiser of Σ_t ‖T z_t + r_t − y_t‖², with z_t what it gives of token t, r_t what that is added to and y_t the state wanted.
// T goes into the projection's weight. It gives the layer that takes its place, nil if the fit does not help on the windows that are held out.
// Source: ReplaceMe, arXiv 2505.02819, the variant of least squares.
func Transform(ctx context.Context, s *score.Scorer, m *model.Model, t Target) (fitted *model.Layer, record Fit, err error) {
	f, err := newTransform(s, m, t)
	if err != nil {
		return nil, record, err
	}
	if fitted, record, err = f.run(ctx); err != nil {
		return nil, record, f.failed(err)
	}
	return fitted, record, nil
}

// newTransform is the fit of a linear map of what a layer's down projection gives.
func newTransform(s *score.Scorer, m *model.Model, t Target) (*fit, error) {
	if m.Config.Sparse(t.Layer) {
		return nil, fmt.Errorf("refit: layer %d of %s has experts: there is no one projection to transform", t.Layer, m.Name)
	}
	o := Options{Lambdas: []float64{transformLambda}}.Defaults()
	windows, _ := s.Size()
	if o.HeldOut = min(o.HeldOut, windows); o.HeldOut < 2 {
		return nil, errOneWindow
	}
	return &fit{scorer: s, model: m, layer: m.Layers[t.Layer], role: arch.Down, target: t, options: o, transform: true}, nil
}

func (f *fit) failed(err error) error {
	return fmt.Errorf("refit: layer %d of %s: %w", f.target.Layer, f.model.Name, err)
}

// cosineRounds is how often TransformCosine fits at most. It converges in fewer, or does not get better on windows held out.
const cosineRounds = 8

// TransformCosine is Transform with the T that is a minimiser of Σ_t 1 − cos(T z_t + r_t, y_t). ReplaceMe finds it by Adam; this takes a
// least-squares fit for the squares that touch the sum at the T before (op.CosineTarget), as often as that helps on the windows that are held
// out. record.Before and After are means over these of sin²/cos of the angles, which is 2·(1 − cos) where they are small, a cosine below 0.1
// taken as 0.1. Models with a norm behind the MLP are refused: what it gives has no length of its own.
// Source: ReplaceMe, arXiv 2505.02819, the variant of the cosine.
func TransformCosine(ctx context.Context, s *score.Scorer, m *model.Model, t Target) (fitted *model.Layer, record Fit, err error) {
	if m.Config.OutputNorms {
		return nil, record, fmt.Errorf("refit: %s has a norm behind its MLP: no map of what that gives changes a cosine alone", m.Name)
	}
	f, err := newTransform(s, m, t)
	if err != nil {
		return nil, record, err
	}
	f.cosine = true
	best := f.layer
	for round := 0; ; round++ {
		made, now, err := f.run(ctx)
		if err != nil {
			return nil, record, f.failed(err)
		}
		if round == 0 {
			record = now
			record.After = now.Before
		} else if now.Before < record.After {
			record.After, record.Rounds, best = now.Before, round, f.layer
		} else {
			break
		}
		if made == nil || round == cosineRounds {
			break
		}
		f.layer, f.model = made, f.model.Replace(t.Layer, made)
	}
	if record.Taken = record.Rounds > 0; !record.Taken {
		return nil, record, nil
	}
	return best, record, nil
}

// transformed is the layer with D more than the identity in its projection.
func (f *fit) transformed(d []float32) (*model.Layer, error) {
	weights := map[arch.Role]model.Weight{}
	for _, role := range []arch.Role{f.role, f.bias()} {
		w := f.layer.Weights[role]
		if w.IsZero() {
			continue
		}
		rows := f.layer.Weights[f.role].Rows
		values, err := w.Floats()
		if err != nil {
			return nil, fmt.Errorf("refit: %w", err)
		}
		cols := len(values) / rows // of a bias 1
		by := blas32.General{Rows: rows, Cols: rows, Stride: rows, Data: d}
		of := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: values}
		more := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, len(values))}
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, by, of, 0, more)
		if weights[role], _, err = added(w, more.Data); err != nil {
			return nil, err
		}
	}
	return f.layer.With(weights), nil
}
