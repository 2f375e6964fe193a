package ref

import (
	"cmp"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Surgeon is a ridge regression from which inputs are taken out, each time with all others fitted again. It keeps the inverse of the products
// of the inputs that are left, and the solution. Source: Hassibi & Stork 1993, Optimal Brain Surgeon.
type Surgeon struct {
	Left     []int // the inputs that are left, ascending
	in       int
	inverse  *mat.Dense // H [left, left], of G + λ·m·I
	solution *mat.Dense // W [out, left]
}

// NewSurgeon solves for the W that minimises Σ_t w_t ‖(W−w)·a_t − e_t‖² + λ·m·‖W−w‖², with m the mean of the diagonal of G over w's inputs; ok
// is false where G + λ·m·I is not positive definite. Inputs beyond w's, the bias', are not of those that Remove and Least may name.
//
//	gram [n, n] G = Σ w a aᵀ · cross [out, n] C = Σ w e aᵀ · w [out, in], in at most n
func NewSurgeon(gram, cross, w Mat, lambda float64) (s *Surgeon, ok bool) {
	check(gram.Rows == gram.Cols && cross.Cols == gram.Rows && cross.Rows == w.Rows && w.Cols <= gram.Rows, "surgeon", gram.shape(), cross.shape(), w.shape())
	n, in := gram.Rows, w.Cols
	mean := 0.0
	for i := range in {
		mean += gram.At(i, i) / float64(in)
	}
	g := symmetric(gram)
	for i := range n {
		g.SetSym(i, i, g.At(i, i)+lambda*mean)
	}
	var factor mat.Cholesky
	var inverse mat.SymDense
	if !factor.Factorize(g) || factor.InverseTo(&inverse) != nil {
		return nil, false
	}
	s = &Surgeon{in: in, inverse: mat.DenseCopyOf(&inverse), solution: new(mat.Dense)}
	s.solution.Mul(mat.NewDense(cross.Rows, n, cross.Data), s.inverse)
	for o := range w.Rows {
		for i, v := range w.Row(o) {
			s.solution.Set(o, i, s.solution.At(o, i)+v)
		}
	}
	for i := range n {
		s.Left = append(s.Left, i)
	}
	return s, true
}

// Costs are how much the loss rises without each of the inputs that are left, W_i²/H_ii, those of the bias included.
func (s *Surgeon) Costs() []float64 {
	costs := make([]float64, len(s.Left))
	rows, _ := s.solution.Dims()
	for o := range rows {
		for i, v := range s.solution.RawRowView(o) {
			costs[i] += v * v
		}
	}
	for i := range costs {
		costs[i] /= s.inverse.At(i, i)
	}
	return costs
}

// Least are the count inputs that cost least, ascending.
func (s *Surgeon) Least(count int) (inputs []int) {
	costs := s.Costs()
	var order []int // places in Left
	for at, i := range s.Left {
		if i < s.in {
			order = append(order, at)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[a], costs[b]) })
	for _, at := range order[:count] {
		inputs = append(inputs, s.Left[at])
	}
	slices.Sort(inputs)
	return inputs
}

// Remove takes out inputs that are left, which ascend: W −= W_S·(H_SS)⁻¹·H_S and H −= H_Sᵀ·(H_SS)⁻¹·H_S. It gives how much the loss rises,
// tr W_S·(H_SS)⁻¹·W_Sᵀ; ok is false where H_SS has no inverse, and s is of no use then.
func (s *Surgeon) Remove(inputs []int) (rise float64, ok bool) {
	var going, stay, left, outputs []int
	for at, i := range s.Left {
		if _, is := slices.BinarySearch(inputs, i); is {
			going = append(going, at)
		} else {
			stay, left = append(stay, at), append(left, i)
		}
	}
	check(len(going) == len(inputs) && len(stay) > 0, "surgeon", inputs, s.Left)
	rows, _ := s.solution.Dims()
	for o := range rows {
		outputs = append(outputs, o)
	}
	gone, corner := pick(s.solution, outputs, going), pick(s.inverse, going, going)
	var by, share, change, less mat.Dense
	if by.Solve(corner, pick(s.inverse, going, stay)) != nil || share.Solve(corner, gone.T()) != nil {
		return 0, false
	}
	for o := range rows {
		for i := range going {
			rise += gone.At(o, i) * share.At(i, o)
		}
	}
	change.Mul(gone, &by)
	less.Mul(pick(s.inverse, going, stay).T(), &by)
	s.solution, s.inverse, s.Left = pick(s.solution, outputs, stay), pick(s.inverse, stay, stay), left
	s.solution.Sub(s.solution, &change)
	s.inverse.Sub(s.inverse, &less)
	return rise, true
}

// Eliminate takes out the inputs that cost least, up to block of them at a time, until keep of w's are left, and gives how much the loss rises;
// ok is that of Remove.
func (s *Surgeon) Eliminate(keep, block int) (rise float64, ok bool) {
	for {
		count := min(block, len(s.Left)-(s.beyond()+keep))
		if count <= 0 {
			return rise, true
		}
		more, ok := s.Remove(s.Least(count))
		if !ok {
			return 0, false
		}
		rise += more
	}
}

// beyond is how many inputs are not w's.
func (s *Surgeon) beyond() (count int) {
	for _, i := range s.Left {
		if i >= s.in {
			count++
		}
	}
	return count
}

// Kept are the inputs that are left of w's.
func (s *Surgeon) Kept() []int { return s.Left[:len(s.Left)-s.beyond()] }

// pick is some rows and columns of a matrix.
func pick(m *mat.Dense, rows, cols []int) *mat.Dense {
	out := mat.NewDense(len(rows), len(cols), nil)
	for i, r := range rows {
		from, to := m.RawRowView(r), out.RawRowView(i)
		for j, c := range cols {
			to[j] = from[c]
		}
	}
	return out
}
