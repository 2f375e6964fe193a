package op

import (
	"errors"
	"testing"

	"github.com/vkcome/vkcome/vk"
)

// The loop limit of one driver binds no other: neither a GPU nor a newer release refuses long windows.
func TestLoops(t *testing.T) {
	mesa := func(version string) vk.Info { return vk.Info{Kind: vk.CPU, Driver: "llvmpipe", DriverVersion: version} }
	long := AttentionShape{Windows: 1, QueryLen: 1 << 17, KeyLen: 1 << 17, KeyStride: 1 << 17, Heads: 1, KVHeads: 1, HeadDim: 256}
	for _, c := range []struct {
		info    vk.Info
		limited bool
	}{
		{mesa("Mesa 22.3.6 (LLVM 15.0.6)"), true}, {mesa("Mesa 26.1.6 (LLVM 19.1.7)"), false}, {vk.Info{Kind: vk.CPU, Driver: "SwiftShader driver"}, false},
		{vk.Info{Kind: vk.Discrete, Driver: "NVIDIA", DriverVersion: "550.54"}, false},
	} {
		d := &vk.Device{Info: c.info}
		_, forward := long.way(d, false)
		_, ofQueries := long.backwardWay(d, false)
		_, ofKeys := long.backwardWay(d, true)
		for what, err := range map[string]error{"forward": forward, "by queries": ofQueries, "by keys": ofKeys} {
			if errors.Is(err, vk.ErrLimit) != c.limited || !c.limited && err != nil {
				t.Errorf("%s %s, attention %s: %v, limited is %t", c.info.Driver, c.info.DriverVersion, what, err, c.limited)
			}
		}
		if !loops(d, 5, 5) || loops(d, 6, 5) == c.limited {
			t.Errorf("%s %s: 5 of 5 %t, 6 of 5 %t", c.info.Driver, c.info.DriverVersion, loops(d, 5, 5), loops(d, 6, 5))
		}
	}
}
