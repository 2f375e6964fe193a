package op

import (
	"fmt"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// randomBound is of random.
var randomBound = optest.Bound{Max: 2e-7, Why: "two f32 roundings", Rounded: true}

func TestRandom(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		shapes := [][2]int{{1, 1}, {3, 37}, {120, 130}}
		if split {
			shapes = [][2]int{{701, 1001}}
		}
		for _, s := range shapes {
			for _, dt := range dtype.All {
				t.Run(fmt.Sprint(s, dt), func(t *testing.T) {
					b := newBench(t, d)
					y := b.empty(dt, s[0], s[1])
					Random(b.r, y, 0xfffffff0, 0.25)
					randomBound.Near(t, b.download(y), ref.Random(s[0], s[1], 0xfffffff0, 0.25).Data, dt)
				})
			}
		}
	})
	refused(t, vktest.Open(t, vk.Options{}), "nothing", func(r *vk.Recorder) { Random(r, Tensor{}, 1, 1) })
}
