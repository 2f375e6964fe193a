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

// Solve gives the solution for each lambda, with a relative error of about 1e-6. It fails with ErrLambda where G + λ·m·I is not positive
// definite or too near to that for f32, some 1e6 as its condition.
//
// The device holds what SolveMemory says, and what it can of the factor; the rest streams from the host. Bits do not depend on that.
func Solve(ctx context.Context, d *vk.Device, fit *Equations, lambdas []float64) (list []*Solution, err error) {
	s, err := newSolver(d, fit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, lambda := range lambdas {
		one, err := s.solve(ctx, lambda)
		if err != nil {
			return nil, fmt.Errorf("lsq: lambda %g: %w", lambda, err)
		}
		list = append(list, one)
	}
	return list, nil
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
	s, err := newSolver(d, q)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	loss = q.Loss0()
	for begin := 0; begin < shape.Out; begin += chunkRows {
		c := s.chunk(begin)
		for t := range c.rows {
			row := c.d[t*s.padded:]
			copy(row, dw[(begin+t)*shape.In:(begin+t+1)*shape.In])
			if shape.Bias {
				row[shape.In] = bias[begin+t]
			}
		}
		terms, err := s.loss(ctx, c)
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

// solve factors and refines.
func (s *solver) solve(ctx context.Context, lambda float64) (*Solution, error) {
	if !(lambda >= 0) || math.IsInf(lambda, 0) {
		return nil, errors.New("lambda has to be a number from 0 on")
	}
	if err := s.factor(ctx, lambda); err != nil {
		return nil, err
	}
	shape := s.q.shape
	result := &Solution{Lambda: lambda, D: make([]float32, shape.Out*shape.In)}
	if shape.Bias {
		result.Bias = make([]float32, shape.Out)
	}
	for begin := 0; begin < shape.Out; begin += chunkRows {
		c := s.chunk(begin)
		if err := s.refine(ctx, c); err != nil {
			return nil, err
		}
		unit := s.crossUnit - s.gramUnit
		for t := range c.rows {
			row := c.d[t*s.padded : (t+1)*s.padded]
			for i := range shape.In {
				result.D[(begin+t)*shape.In+i] = float32(math.Ldexp(float64(row[i]), unit))
			}
			if shape.Bias {
				result.Bias[begin+t] = float32(math.Ldexp(float64(row[shape.In]), unit))
			}
		}
	}
	return result, nil
}

// refine makes rows of D: what is left of the equations is solved for what D lacks, until that is little.
// Source: Golub & Van Loan, Matrix Computations, 3.5.3 (mixed precision iterative improvement).
func (s *solver) refine(ctx context.Context, c *chunk) error {
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
		if done {
			return nil
		}
	}
	return fmt.Errorf("%w: refinement does not converge in %d steps", ErrLambda, maxSteps)
}
