//go:build big

package main

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
)

// TestLimitedMemory3GB is TestLimitedMemory for a model of 3 GB, pruned twice, under 512 MiB of device memory and 1 GiB of host memory.
func TestLimitedMemory3GB(t *testing.T) {
	spec := modeltest.Spec{Hidden: 2048, Intermediate: 5632, Layers: 28, Heads: 16, KVHeads: 16, HeadDim: 128, Vocab: 32000, Context: 2048, DType: dtype.BF16, ShardBytes: 1_000_000_000}
	testLimited(t, spec, 8, 128, 512<<20, 1<<30, 27, false) // a corpus whose states fit
}
