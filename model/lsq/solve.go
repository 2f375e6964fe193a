package lsq

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// ErrLambda says that equations cannot be solved in f32 with so small a lambda.
var ErrLambda = errors.New("lsq: lambda is too small")

// Solution is what minimises the loss with a lambda.
type Solution struct {
	Lambda float64
	D      []float32 // [out, in]
	Bias   []float32 // [out]; nil without
}

const (
	block     = op.CholeskyBlock
	chunkRows = 1024 // of D, solved together: what they take does not grow with the outputs

	// A solution is refined until what the last step left of its error, in proportion to what it left of the change before, is less than
	// nearEnough of every row. A step that leaves more than mostLeft shows that the factor is not worth much.
	nearEnough = 1e-6
	mostLeft   = 0.25
	maxSteps   = 20
)

// Solve gives the solution for lambda, with a relative error of about 1e-6. It fails with ErrLambda where G + λ·m·I is not positive
// definite or too near to that for f32, some 1e6 as its condition.
//
// The device holds what SolveMemory says, and what it can of the factor; the rest streams from the host. Bits do not depend on that.
func Solve(ctx context.Context, d *vk.Device, fit *Equations, lambda float64) (one *Solution, err error) {
	err = with(d, fit, func(s *solver) (err error) {
		one, err = s.solve(ctx, lambda, true)
		return err
	})
	return one, err
}

// ErrLoss says that the solution for no lambda has a loss that is a number.
var ErrLoss = errors.New("lsq: the loss on what is held out is no number, whatever the lambda")

// Choose gives the solution for the lambda, of those given, whose loss on other equations of the same shape is least, the first of equals.
// Solutions and losses in f32, good to about 1e-4, decide it; the one that is chosen is that of Solve.
func Choose(ctx context.Context, d *vk.Device, fit, held *Equations, lambdas []float64) (*Solution, error) {
	if fit.shape != held.shape {
		return nil, fmt.Errorf("lsq: a fit of %v and held-out equations of %v", fit.shape, held.shape)
	}
	if len(lambdas) == 1 {
		return Solve(ctx, d, fit, lambdas[0])
	}
	var rough []*Solution
	if err := with(d, fit, func(s *solver) error {
		for _, lambda := range lambdas {
			one, err := s.solve(ctx, lambda, false)
			if err != nil {
				return err
			}
			rough = append(rough, one)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	best, least := -1, math.Inf(1)
	if err := with(d, held, func(s *solver) error {
		for i, r := range rough {
			loss, err := s.total(ctx, r.D, r.Bias, s.roughProducts)
			if err != nil {
				return err
			}
			if loss < least {
				best, least = i, loss
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if best < 0 {
		return nil, ErrLoss
	}
	return Solve(ctx, d, fit, lambdas[best])
}

// with runs f on a solver of equations.
func with(d *vk.Device, q *Equations, f func(s *solver) error) (err error) {
	s, err := newSolver(d, q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return f(s)
}

// Loss gives Σ_t w_t ‖D·a_t − e_t‖² = T − 2⟨D, C⟩ + ⟨D·G, D⟩ of any D [out, in], and with a bias [out] added to it, to about 1e-7 of T
// and of the two other terms. bias is nil for equations without.
func Loss(ctx context.Context, d *vk.Device, q *Equations, dw []float32, bias []float32) (loss float64, err error) {
	shape := q.shape
	biases := 0
	if shape.Bias {
		biases = shape.Out
	}
	if len(dw) != shape.In*shape.Out || len(bias) != biases {
		return 0, fmt.Errorf("lsq: a weight of %d elements and a bias of %d for equations of %v", len(dw), len(bias), shape)
	}
	err = with(d, q, func(s *solver) (err error) {
		loss, err = s.total(ctx, dw, bias, s.exactProducts)
		return err
	})
	return loss, err
}

// total is the loss of D by some way to make products.
func (s *solver) total(ctx context.Context, dw, bias []float32, by products) (float64, error) {
	shape, loss := s.q.shape, s.q.Loss0()
	for begin := 0; begin < shape.Out; begin += chunkRows {
		c := s.chunk(begin)
		for t := range c.rows {
			row := c.d[t*s.padded:]
			copy(row, dw[(begin+t)*shape.In:(begin+t+1)*shape.In])
			if shape.Bias {
				row[shape.In] = bias[begin+t]
			}
		}
		terms, err := s.loss(ctx, c, by)
		if err != nil {
			return 0, err
		}
		loss += terms
	}
	return loss, nil
}

// SolveMemory is what Solve and Loss need of a device's memory, in bytes. With 2·in² more the factor lies there as well.
func SolveMemory(d *vk.Device, shape Shape) int64 {
	return d.DryRun(func(s *vk.Scope) { newSpace(s, shape) })
}

// chunk is some rows of D on the host, scaled as the equations are on the device.
type chunk struct {
	begin, rows int
	d           []float32 // [rows, padded]
}

func (s *solver) chunk(begin int) *chunk {
	rows := min(chunkRows, s.q.shape.Out-begin)
	return &chunk{begin, rows, make([]float32, rows*s.padded)}
}

// solve factors, and refines what comes out of it or leaves it as it is.
func (s *solver) solve(ctx context.Context, lambda float64, refined bool) (*Solution, error) {
	if !(lambda >= 0) || math.IsInf(lambda, 0) {
		return nil, fmt.Errorf("lsq: lambda %v, it has to be a number from 0 on", lambda)
	}
	if err := s.factor(ctx, lambda); err != nil {
		return nil, fmt.Errorf("lsq: lambda %g: %w", lambda, err)
	}
	shape := s.q.shape
	result := &Solution{Lambda: lambda, D: make([]float32, shape.Out*shape.In)}
	if shape.Bias {
		result.Bias = make([]float32, shape.Out)
	}
	for begin := 0; begin < shape.Out; begin += chunkRows {
		c := s.chunk(begin)
		if err := s.refine(ctx, c, refined); err != nil {
			return nil, fmt.Errorf("lsq: lambda %g: %w", lambda, err)
		}
		unit := math.Ldexp(1, s.crossUnit-s.gramUnit)
		for t := range c.rows {
			row := c.d[t*s.padded : (t+1)*s.padded]
			for i := range shape.In {
				result.D[(begin+t)*shape.In+i] = float32(float64(row[i]) * unit)
			}
			if shape.Bias {
				result.Bias[begin+t] = float32(float64(row[shape.In]) * unit)
			}
		}
	}
	return result, nil
}

// refine makes rows of D: what is left of the equations is solved for what D lacks, until that is little, or once unless it is to be refined.
// Source: Golub & Van Loan, Matrix Computations, 3.5.3 (mixed precision iterative improvement).
func (s *solver) refine(ctx context.Context, c *chunk, refined bool) error {
	before := make([]float64, c.rows)
	for step := range maxSteps {
		if err := s.residual(ctx, c, step == 0); err != nil {
			return err
		}
		change, err := s.substitute(ctx, c)
		if err != nil {
			return err
		}
		done := true
		for t := range c.rows {
			row := c.d[t*s.padded : (t+1)*s.padded]
			moved, size := 0.0, 0.0
			for i := range row {
				v := float64(change[t*s.padded+i])
				row[i] = float32(float64(row[i]) + v)
				moved += v * v
				size += float64(row[i]) * float64(row[i])
			}
			if moved == 0 || step > 0 && moved*(moved/before[t]) <= nearEnough*nearEnough*size {
				before[t] = moved
				continue
			}
			if math.IsNaN(moved) || math.IsInf(moved, 0) || step > 0 && !(moved <= mostLeft*mostLeft*before[t]) {
				return fmt.Errorf("%w: refinement does not converge", ErrLambda)
			}
			done, before[t] = false, moved
		}
		if done || !refined {
			return nil
		}
	}
	return fmt.Errorf("%w: refinement does not converge in %d steps", ErrLambda, maxSteps)
}
