package op

import "github.com/vkcome/vkcome/vk"

// Group records the pairs of a row and an expert that it chose, sorted by the expert and among those of one by their order: pair
// t·chosen + c goes to place[t,c], and what is there is of row[place[t,c]] = t. The pairs of expert e are those from offsets[e] up to
// offsets[e+1]. Nothing is read by the host.
//
//	choice   [rows, chosen]      32-bit words below experts
//	offsets  [1, experts+1]      32-bit words, as the next two
//	place    [rows, chosen]
//	row      [1, rows·chosen]
func Group(r *vk.Recorder, offsets, place, row, choice Tensor) {
	n, experts := choice.Elements(), offsets.Cols-1
	ok := n > 0 && words(offsets, place, row, choice) && offsets.Rows == 1 && experts > 0 && experts <= MaxExperts && place.Is(choice.Rows, choice.Cols) && row.Is(1, n)
	ok = ok && n <= rowGroup*linearDepth/2
	if !check(r, "group", ok, offsets, place, row, choice) {
		return
	}
	dispatch(r, "group", spec("WORKGROUP", rowGroup), [3]int{experts, 1, 1}, push("pairs", n, "chosen", choice.Cols, "experts", experts),
		float64(2*n*experts), vk.In(choice.View), vk.Out(offsets.View), vk.Out(place.View), vk.Out(row.View))
}
