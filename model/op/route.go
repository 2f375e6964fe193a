package op

import "github.com/vkcome/vkcome/vk"

// The most experts that a token can choose among, and choose: what shared memory and loops of the kernels are made for.
const (
	MaxExperts = 1 << 10
	MaxChosen  = 64
)

// Route records, for every row of x, the experts of the largest softmax(x), of equal ones the lower first, and their probabilities, divided
// by their sum if divide says so. x becomes these shares at the experts chosen and 0 elsewhere.
//
//	x       [rows, experts]  F32
//	choice  [rows, chosen]   32-bit words, in the order of descending probability
//	share   [rows, chosen]   F32
//
// torch.topk leaves open which of equal probabilities it takes. Rows that hold NaN give NaN shares, and experts that there are. Sources:
// Shazeer et al. 2017, arXiv 1701.06538; Jiang et al. 2024, arXiv 2401.04088.
func Route(r *vk.Recorder, x, choice, share Tensor, divide bool) {
	k := choice.Cols
	ok := x.Elements() > 0 && words(x, choice, share) && k > 0 && k <= min(MaxChosen, x.Cols) && x.Cols <= MaxExperts && choice.Is(x.Rows, k) && share.Is(x.Rows, k)
	if !check(r, "route", ok, x, choice, share) {
		return
	}
	pieces(r, "route", x.Rows, maxGroups, func(begin, end int) {
		dispatch(r, "route", spec("WORKGROUP", reduceGroup(r.Device()), "DIVIDE", divide), [3]int{end - begin, 1, 1}, push("experts", x.Cols, "chosen", k),
			float64((2+k)*x.Cols*(end-begin)), vk.InOut(x.RowRange(begin, end).View), vk.Out(choice.RowRange(begin, end).View), vk.Out(share.RowRange(begin, end).View))
	}, x.RowBytes(), choice.RowBytes())
}
