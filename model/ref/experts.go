package ref

import (
	"math"
	"slices"
)

// Route gives for each row of x the k experts of the largest softmax(x), in descending order and of equal ones the lower first, with their
// probabilities, divided by their sum where divide is set; and gates: the shares by expert, 0 for those that were not chosen.
//
//	x, gates [tokens, experts], choice, share [tokens, k]
func Route(x Mat, k int, divide bool) (choice, share, gates Mat) {
	choice, share, gates = NewMat(x.Rows, k), NewMat(x.Rows, k), NewMat(x.Rows, x.Cols)
	for t := range x.Rows {
		row := x.Row(t)
		top, sum, total := slices.Max(row), 0.0, 0.0
		for _, v := range row {
			sum += math.Exp(v - top)
		}
		order := sequence(0, x.Cols)
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case row[a] > row[b]:
				return -1
			case row[a] < row[b]:
				return 1
			}
			return 0
		})
		for c, e := range order[:k] {
			p := math.Exp(row[e]-top) / sum
			choice.Row(t)[c], share.Row(t)[c] = float64(e), p
			total += p
		}
		for c, e := range order[:k] {
			if divide {
				share.Row(t)[c] /= total
			}
			gates.Row(t)[e] = share.Row(t)[c]
		}
	}
	return choice, share, gates
}

// Group sorts the pairs of a token and an expert that it chose by the expert, those of one in their order: pair p goes to place[p],
// row[place[p]] is its token, and the pairs of expert e begin at offsets[e].
func Group(choice Mat, experts int) (offsets, place, row Mat) {
	offsets, place, row = NewMat(1, experts+1), NewMat(choice.Rows, choice.Cols), NewMat(1, len(choice.Data))
	at := 0
	for e := range experts {
		offsets.Data[e] = float64(at)
		for p, of := range choice.Data {
			if int(of) == e {
				place.Data[p], row.Data[at] = float64(at), float64(p/choice.Cols)
				at++
			}
		}
	}
	offsets.Data[experts] = float64(at)
	return offsets, place, row
}

// LinearGrouped gives x·wᵀ, or SwiGLU(x·wᵀ, x·upᵀ) where there is an up, with the part of w and up of each row's group.
//
//	x [rows, in], w, up [groups·out, in], offsets [1, groups+1], result [rows, out]
func LinearGrouped(x, w, up, offsets Mat) Mat {
	groups := offsets.Cols - 1
	out := w.Rows / groups
	y := NewMat(x.Rows, out)
	for g := range groups {
		begin, end := int(offsets.Data[g]), int(offsets.Data[g+1])
		part := func(m Mat, from, to int) Mat { return Mat{to - from, m.Cols, m.Data[from*m.Cols : to*m.Cols]} }
		if begin == end {
			continue
		}
		v := Linear(part(x, begin, end), part(w, g*out, (g+1)*out), nil)
		if up.Rows > 0 {
			v = SwiGLU(v, Linear(part(x, begin, end), part(up, g*out, (g+1)*out), nil))
		}
		copy(y.Data[begin*out:], v.Data)
	}
	return y
}

// Combine gives residual[t] + Σ_c share[t,c]·x[place[t,c]].
func Combine(x, share, place, residual Mat) Mat {
	y := Mat{residual.Rows, residual.Cols, slices.Clone(residual.Data)}
	for t := range y.Rows {
		for c, s := range share.Row(t) {
			for i, v := range x.Row(int(place.Row(t)[c])) {
				y.Row(t)[i] += s * v
			}
		}
	}
	return y
}

// Experts is a mixture of experts with residual: the experts that Route chooses for each row of x, which are SwiGLU MLPs.
//
//	x, residual [tokens, hidden], router [experts, hidden], gate, up [experts·ffn, hidden], down [experts·hidden, ffn]
func Experts(x, residual, router, gate, up, down Mat, k int, divide bool) (y, gates Mat) {
	choice, share, gates := Route(Linear(x, router, nil), k, divide)
	offsets, place, row := Group(choice, router.Rows)
	rows := make([]int, len(row.Data))
	for i, t := range row.Data {
		rows[i] = int(t)
	}
	none := Mat{}
	a := LinearGrouped(GatherRows(x, rows), gate, up, offsets)
	return Combine(LinearGrouped(a, down, none, offsets), share, place, residual), gates
}
