package lsq

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// ErrAlike says that inputs are so much like one another that f32 cannot tell what each of them is worth.
var ErrAlike = errors.New("lsq: inputs that are nearly the same")

const eliminated = 96 // inputs that go at a time, at most: fewer choose better, more multiply faster

// Eliminate lists, ascending, the keep inputs that stay of a regression whose solution D corrects a weight w [out, in]: of W = w + D, one column
// after another goes to zero, each time with all others fitted again. That of input i goes whose removal raises the loss least, by
// W_i²/H_ii, with the squares summed over the outputs and H the inverse of G + λ·m·I over the inputs that are left. Up to 96 go at a time. An input
// for the bias stays and is not listed. Source: Hassibi & Stork 1993, Optimal Brain Surgeon.
//
// It fails with ErrLambda as Solve does, and with ErrAlike. Costs are good to about the condition of G + λ·m·I times 1e-7; of inputs whose costs are
// nearer to one another than that, either may go. The device holds what EliminateMemory says, and what it can of 4·n² bytes for n inputs and of
// 4·n·out for W; the rest streams from the host. Bits do not depend on that.
func Eliminate(ctx context.Context, d *vk.Device, q *Equations, w []float32, keep int, lambda float64) (kept []int, err error) {
	shape := q.shape
	if len(w) != shape.In*shape.Out || keep < 1 || keep > shape.In {
		return nil, fmt.Errorf("lsq: %d inputs to keep, and a weight of %d elements, of equations of %v", keep, len(w), shape)
	}
	if !(lambda >= 0) || math.IsInf(lambda, 0) {
		return nil, fmt.Errorf("lsq: lambda %v, it has to be a number from 0 on", lambda)
	}
	err = with(d, q, func(s *solver) (err error) {
		e := newElimination(s, w)
		if err = e.scope.Err(); err == nil {
			err = e.run(ctx, keep, lambda, eliminated)
		}
		kept = e.kept()
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// EliminateMemory is what Eliminate needs of a device's memory, in bytes.
func EliminateMemory(d *vk.Device, shape Shape) int64 {
	return d.DryRun(func(s *vk.Scope) {
		newSpace(s, shape)
		newEliminationSpace(s, shape)
	})
}

// EliminateHostBytes is the host memory that Eliminate takes at most beside the equations, where the device holds nothing that can stream: R and U,
// W, its w, and rows of these on their way.
func EliminateHostBytes(shape Shape) int64 {
	n, out := int64(ceilDiv(shape.inputs(), block)*block), int64(shape.Out)
	return 4*n*n + 8*n*out + 12*n*min(chunkRows, out) + 16*n*block
}

// elimination takes inputs out. It works on a factor of H and never has H as a whole, of which it needs no more than the diagonal and, once, each
// column of an input that goes. With n inputs, half of which go, it takes these flops, and 3·n²·out for W:
//
//	n³/3   the factor L of G + λ·m·I
//	n³/3   R = L⁻ᵀ: H = R·Rᵀ
//	n³/2   columns of R·Rᵀ, of the inputs that go
//	n³/4   what blocks that went before change of these. As in a left-looking Cholesky factorization of H with pivots, each takes U·Uᵀ from H, with
//	       U = −H_S·l⁻ᵀ and l·lᵀ = H_SS for the inputs S that went
//
// That is 17/12·n³, where H as a whole would take 2/3·n³ for R·Rᵀ and, changed block by block, 7/12·n³, in all 23/12·n³; products that know of
// symmetry, which op has none of, would bring that to 31/24. A block reads R and U once, 3·n² bytes on average, and writes 96 columns;
// the whole H would be read and written. Panels that are only read can stream from the host as well.
//
// Rows of inputs that went stay in R, U and W and are passed over. This costs about a quarter of the last two terms; to move the others
// together, every block would write all panels again.
type elimination struct {
	*solver
	*eliminationSpace
	w         []float32
	root      []panel   // R: block column k, its rows down to block k
	updates   []panel   // U: [padded, inputs that went together]
	weights   []panel   // rows of W, transposed: [padded, rows]
	squares   []float64 // of W's columns, summed
	hDiagonal []float64
	gone      []int  // in the order in which they went
	at        []bool // of each input, whether it is gone
}

// eliminationSpace is what an elimination works with beside a solver's space.
type eliminationSpace struct {
	hColumns *vk.Buffer // [padded, eliminated]: of H, with the other sign
	picked   *vk.Buffer // [eliminated, block]: rows of a panel
	ones     *vk.Buffer // [padded]
	sums     *vk.Buffer // [padded]: of squares
	index    *vk.Buffer // [eliminated]
	negative *vk.Buffer // [block, block]: −I
}

func newEliminationSpace(s *vk.Scope, shape Shape) *eliminationSpace {
	padded := ceilDiv(shape.inputs(), block) * block
	of := func(name string, floats int) *vk.Buffer { return s.Buffer(name, 4*int64(floats), vk.OnDevice) }
	return &eliminationSpace{of("columns of an inverse", padded*eliminated), of("rows of an inverse", eliminated*block), of("ones", padded),
		of("sums of squares", padded), of("inputs that go", eliminated), of("negative unit matrix", block*block)}
}

func newElimination(s *solver, w []float32) *elimination {
	n := s.q.shape.inputs()
	e := &elimination{solver: s, eliminationSpace: newEliminationSpace(s.scope, s.q.shape), w: w, squares: make([]float64, n), hDiagonal: make([]float64, n), at: make([]bool, n)}
	// W is in units of D, in which no element may be large.
	largest := 0.0
	for _, v := range w {
		largest = max(largest, math.Abs(float64(v)))
	}
	if _, unit := math.Frexp(largest); largest > 0 {
		s.crossUnit = max(s.crossUnit, unit+s.gramUnit)
	}
	return e
}

// kept are the inputs that are not gone, without that for the bias.
func (e *elimination) kept() (list []int) {
	for i := range e.q.shape.In {
		if !e.at[i] {
			list = append(list, i)
		}
	}
	return list
}

// run takes out inputs until keep are left, up to block of them at a time.
func (e *elimination) run(ctx context.Context, keep int, lambda float64, block int) error {
	if err := e.factor(ctx, lambda); err != nil {
		return fmt.Errorf("lsq: lambda %g: %w", lambda, err)
	}
	if err := e.invert(ctx); err != nil {
		return err
	}
	if err := e.solution(ctx); err != nil {
		return err
	}
	e.dropFactor()
	for {
		count := min(block, e.q.shape.In-len(e.gone)-keep)
		if count <= 0 {
			return nil
		}
		going, err := e.least(count)
		if err != nil {
			return err
		}
		for _, i := range going {
			e.at[i] = true
		}
		if e.gone = append(e.gone, going...); e.q.shape.In-len(e.gone) == keep {
			return nil
		}
		if err := e.remove(ctx, going); err != nil {
			return err
		}
	}
}

// least are the count inputs that cost least, ascending; of equal ones the first.
func (e *elimination) least(count int) ([]int, error) {
	costs, order := make([]float64, len(e.hDiagonal)), []int(nil)
	for i, sum := range e.squares[:e.q.shape.In] {
		if e.at[i] {
			continue
		}
		if !(sum <= math.MaxFloat64) {
			return nil, fmt.Errorf("lsq: the column of input %d, of the weight and what corrects it, is not finite: its squares are %v", i, sum)
		}
		if !(e.hDiagonal[i] > 0) {
			return nil, fmt.Errorf("%w: without %d others the inverse of their products has %v in the diagonal, for input %d", ErrAlike, len(e.gone), e.hDiagonal[i], i)
		}
		costs[i] = sum / e.hDiagonal[i]
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[a], costs[b]) })
	order = order[:count]
	slices.Sort(order)
	return order, nil
}

// panel is a matrix on the device or, where that has no room, on the host.
type panel struct {
	device     *vk.Buffer
	host       []byte
	rows, cols int
}

func (e *elimination) newPanel(name string, rows, cols int) (panel, error) {
	p := panel{rows: rows, cols: cols}
	var err error
	if p.device, err = e.scope.Device().NewBuffer(name, 4*int64(rows*cols), vk.OnDevice); errors.Is(err, vk.ErrOutOfMemory) {
		p.host, err = make([]byte, 4*rows*cols), nil
	}
	e.beside = append(e.beside, p.device)
	return p, err
}

// load gives a panel, by way of a buffer where it lies on the host: it is there until the next that goes this way.
func (e *elimination) load(ctx context.Context, p panel, staged *vk.Buffer) (op.Tensor, error) {
	if p.device != nil {
		return tensor(p.device, p.rows, p.cols), nil
	}
	if err := e.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	return tensor(staged, p.rows, p.cols), e.scope.Device().Upload(ctx, staged.View(0, int64(len(p.host))), p.host)
}

// store puts a panel where it belongs, if it lies on the host.
func (e *elimination) store(ctx context.Context, p panel, staged *vk.Buffer) error {
	if p.device != nil {
		return e.r.Flush(ctx)
	}
	if err := e.r.Wait(ctx); err != nil {
		return err
	}
	return e.scope.Device().Download(ctx, p.host, staged.View(0, int64(len(p.host))))
}

// invert makes R = L⁻ᵀ, block row after block row: forward substitution of a block row of I. With it comes the diagonal of H, the squares of
// R's rows.
func (e *elimination) invert(ctx context.Context) error {
	unit := make([]float32, block*block)
	for i := range block {
		unit[i*block+i] = -1
	}
	if err := e.upload(ctx, e.negative, unit); err != nil {
		return err
	}
	for k := range e.blocks {
		p, err := e.newPanel("inverse of a factor", (k+1)*block, block)
		if err != nil {
			return err
		}
		e.root = append(e.root, p)
	}
	rest, part := tensor(e.rest, e.padded, block), tensor(e.part, block, block)
	tiles := tensor(e.x, e.blocks*block, block) // for panels on the host
	for i := range e.blocks {
		for k := i; k < e.blocks; k++ {
			right := tensor(e.negative, block, block)
			if k > i {
				right = part
				op.Transpose(e.r, part, rest.RowRange(k*block, (k+1)*block))
			}
			to := tiles.RowRange(k*block, (k+1)*block)
			if p := e.root[k]; p.device != nil {
				to = tensor(p.device, p.rows, p.cols).RowRange(i*block, (i+1)*block)
			}
			op.LinearFused(e.r, to, right, e.inverse(k, 1), op.Fused{Batch: true})
			if k+1 == e.blocks {
				break
			}
			l, err := e.read(ctx, k)
			if err != nil {
				return err
			}
			below, fused := rest.RowRange((k+1)*block, e.padded), op.Fused{Batch: true}
			if k > i {
				fused.Residual = below
			}
			op.LinearFused(e.r, below, l, to, fused)
		}
		if err := e.keepTiles(ctx, i); err != nil {
			return err
		}
	}
	e.r.Fill(e.ones.All(), math.Float32bits(1))
	for _, p := range e.root {
		r, err := e.load(ctx, p, e.staged)
		if err != nil {
			return err
		}
		if err := e.addSquares(ctx, e.hDiagonal, r, 1); err != nil {
			return err
		}
	}
	return nil
}

// keepTiles puts what the panels on the host have of block row i of R there.
func (e *elimination) keepTiles(ctx context.Context, i int) error {
	first := slices.IndexFunc(e.root, func(p panel) bool { return p.device == nil })
	if first < 0 {
		return e.r.Flush(ctx)
	}
	if err := e.r.Wait(ctx); err != nil {
		return err
	}
	const tile = 4 * block * block
	for k := max(i, first); k < e.blocks; k++ {
		if p := e.root[k]; p.device == nil {
			if err := e.scope.Device().Download(ctx, p.host[i*tile:(i+1)*tile], e.x.View(int64(k)*tile, tile)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSquares adds the squares of the rows of x, times sign, to a sum of each input.
func (e *elimination) addSquares(ctx context.Context, to []float64, x op.Tensor, sign float64) error {
	op.WeightedSquares(e.r, tensor(e.sums, 1, x.Rows), x, tensor(e.ones, 1, x.Rows))
	if err := e.r.Wait(ctx); err != nil {
		return err
	}
	list, err := e.download(ctx, e.sums, x.Rows)
	if err != nil {
		return err
	}
	for i := range min(len(to), len(list)) { // those beyond are no inputs
		to[i] += sign * float64(list[i])
	}
	return nil
}

// solution makes W = w + C·R·Rᵀ, rows of it at a time and transposed, and the sums of its squares.
func (e *elimination) solution(ctx context.Context) error {
	shape := e.q.shape
	for begin := 0; begin < shape.Out; begin += chunkRows {
		c := e.chunk(begin)
		if err := e.residual(ctx, c, true); err != nil {
			return err
		}
		half := func(k int) op.Tensor {
			return tensor(e.forward, e.blocks*c.rows, block).RowRange(k*c.rows, (k+1)*c.rows)
		}
		if err := e.forwards(ctx, c.rows, func(k int, part op.Tensor) op.Tensor {
			op.LinearFused(e.r, half(k), part, e.inverse(k, 1), op.Fused{Batch: true})
			return half(k)
		}); err != nil {
			return err
		}
		p, err := e.newPanel("solution", e.padded, c.rows)
		if err != nil {
			return err
		}
		e.weights = append(e.weights, p)
		to := cmp.Or(p.device, e.rest)
		if err := e.upload(ctx, to, e.transposedWeight(c)); err != nil {
			return err
		}
		solution := tensor(to, e.padded, c.rows)
		for k, p := range e.root {
			r, err := e.load(ctx, p, e.staged)
			if err != nil {
				return err
			}
			top := solution.RowRange(0, r.Rows)
			op.LinearFused(e.r, top, r, half(k), op.Fused{Residual: top, Batch: true})
		}
		if err := errors.Join(e.store(ctx, p, e.rest), e.addSquares(ctx, e.squares, solution, 1)); err != nil {
			return err
		}
	}
	return nil
}

// transposedWeight are a chunk's rows of w, as columns, in units of D.
func (e *elimination) transposedWeight(c *chunk) []float32 {
	in, list := e.q.shape.In, make([]float32, e.padded*c.rows)
	for t := range c.rows {
		for i, v := range e.w[(c.begin+t)*in : (c.begin+t+1)*in] {
			list[i*c.rows+t] = float32(math.Ldexp(float64(v), e.gramUnit-e.crossUnit))
		}
	}
	return list
}

// remove fits all inputs that are left again, without those that go: U = −H_S·l⁻ᵀ with l·lᵀ = H_SS, W += W_S·l⁻ᵀ·Uᵀ, and of H the diagonal.
func (e *elimination) remove(ctx context.Context, going []int) error {
	count := len(going)
	columns, err := e.negativeColumns(ctx, going)
	if err != nil {
		return err
	}
	index := tensor(e.index, 1, count)
	corner, l := tensor(e.diagonal, count, count), tensor(e.transposed, count, count)
	inverses := tensor(e.inverses, 3*count, count)
	op.GatherRows(e.r, corner, 0, columns, index)
	op.Cholesky(e.r, l, corner, tensor(e.failed, 1, 1), 0)
	op.TriangularInverse(e.r, inverses, l)
	inverse := inverses.RowRange(0, count) // l⁻¹
	p, err := e.newPanel("change of an inverse", e.padded, count)
	if err != nil {
		return err
	}
	e.updates = append(e.updates, p)
	to := cmp.Or(p.device, e.staged)
	update := tensor(to, e.padded, count)
	op.LinearFused(e.r, update, columns, inverse, op.Fused{Batch: true})
	if err := errors.Join(e.store(ctx, p, e.staged), e.addSquares(ctx, e.hDiagonal, update, -1)); err != nil {
		return err
	}
	failed, err := e.download(ctx, e.failed, 1)
	if err != nil {
		return err
	}
	if failed[0] != 0 {
		return fmt.Errorf("%w: the inverse of the products of inputs %v is not positive definite in f32 after %d others went", ErrAlike, going, len(e.gone)-count)
	}
	clear(e.squares)
	for _, p := range e.weights {
		solution, err := e.load(ctx, p, e.rest)
		if err != nil {
			return err
		}
		rows, turned, share := tensor(e.part, count, p.cols), tensor(e.other, p.cols, count), tensor(e.cross[0], p.cols, count)
		op.GatherRows(e.r, rows, 0, solution, index)
		op.Transpose(e.r, turned, rows)
		op.LinearFused(e.r, share, turned, inverse, op.Fused{Batch: true})
		op.LinearFused(e.r, solution, update, share, op.Fused{Residual: solution, Batch: true})
		if err := errors.Join(e.store(ctx, p, e.rest), e.addSquares(ctx, e.squares, solution, 1)); err != nil {
			return err
		}
	}
	return nil
}

// negativeColumns makes columns of H, with the other sign, of inputs that ascend: −R·R_Sᵀ, and U·U_Sᵀ of each block that went.
func (e *elimination) negativeColumns(ctx context.Context, going []int) (op.Tensor, error) {
	raw := make([]byte, 0, 4*len(going))
	for _, i := range going {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(i))
	}
	if err := e.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	if err := e.scope.Device().Upload(ctx, e.index.View(0, int64(len(raw))), raw); err != nil {
		return op.Tensor{}, err
	}
	columns := tensor(e.hColumns, e.padded, len(going))
	e.r.Fill(columns.View, 0)
	add := func(p panel) error {
		within, _ := slices.BinarySearch(going, p.rows) // the others' rows are zero
		if within == 0 {
			return nil
		}
		all, err := e.load(ctx, p, e.staged)
		if err != nil {
			return err
		}
		rows := tensor(e.picked, len(going), p.cols)
		if within < len(going) {
			e.r.Fill(rows.RowRange(within, len(going)).View, 0)
		}
		op.GatherRows(e.r, rows, 0, all, tensor(e.index, 1, within))
		top := columns.RowRange(0, p.rows)
		op.LinearFused(e.r, top, all, rows, op.Fused{Residual: top, Batch: true})
		return nil
	}
	for _, p := range e.root {
		if err := add(p); err != nil {
			return op.Tensor{}, err
		}
	}
	op.AddScaled(e.r, columns, columns, columns, -2)
	for _, p := range e.updates {
		if err := add(p); err != nil {
			return op.Tensor{}, err
		}
	}
	return columns, nil
}
