// Package lsq solves weighted ridge regressions on a device: the D [out, in] that minimises
//
//	Σ_t w_t ‖D·a_t − e_t‖² + λ·m·‖D‖²,    m the mean of the diagonal of G = Σ_t w_t a_t a_tᵀ
//
// over tokens t, from the normal equations D·(G + λ·m·I) = C with C = Σ_t w_t e_t a_tᵀ.
//
// The sums are made on the device (Sums) and kept on the host (Equations) as integers of 128 bits, into which every block of tokens goes
// as it is: neither batches, nor memory, nor the machines that shared the work change a bit. Solve factors the equations on the device
// in f32 and refines what comes out of it with residuals in double-floats. Eliminate takes out the inputs that a regression needs least.
package lsq

import (
	"fmt"

	"github.com/vkcome/vkcome/model/op"
)

// Shape is the size of a regression.
type Shape struct {
	In, Out int
	Bias    bool // one more input, which is always 1
}

const (
	panelRows = op.CholeskyBlock // of a panel of the sums
	maxSize   = 1 << 24          // of inputs and outputs
)

func (s Shape) check() error {
	if s.In < 1 || s.Out < 1 || s.In > maxSize || s.Out > maxSize {
		return fmt.Errorf("lsq: %d inputs and %d outputs, each has to be 1 to %d", s.In, s.Out, maxSize)
	}
	return nil
}

// inputs are those with the one for the bias.
func (s Shape) inputs() int {
	if s.Bias {
		return s.In + 1
	}
	return s.In
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// gramPanels are the panels of G, which come before those of C.
func (s Shape) gramPanels() int { return ceilDiv(s.inputs(), panelRows) }

// Panels is the number of parts of the sums that can be made by themselves: groups of rows of G, of which those up to the diagonal, and
// of C. A part takes 16 bytes of an element; all of G about 8·in².
func (s Shape) Panels() int { return s.gramPanels() + ceilDiv(s.Out, panelRows) }

// panel says which rows of G (or of C, where ofC) panel p has, and how many columns.
func (s Shape) panel(p int) (begin, end, cols int, ofC bool) {
	n := s.inputs()
	if g := s.gramPanels(); p >= g {
		return (p - g) * panelRows, min(s.Out, (p-g+1)*panelRows), n, true
	}
	end = min(n, (p+1)*panelRows)
	return p * panelRows, end, end, false
}

// elements are those of panel p.
func (s Shape) elements(p int) int {
	begin, end, cols, _ := s.panel(p)
	return (end - begin) * cols
}

func (s Shape) String() string {
	if s.Bias {
		return fmt.Sprintf("%d inputs and a bias, %d outputs", s.In, s.Out)
	}
	return fmt.Sprintf("%d inputs, %d outputs", s.In, s.Out)
}
