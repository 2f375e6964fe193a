package vk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vkcome/vkcome/vk"
)

// The best device doubles eight numbers and adds one to each.
func Example() {
	ctx := context.Background()
	dev, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	numbers, err := dev.NewBuffer("numbers", 8*4, vk.OnDevice)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Free(numbers)
	if err := dev.Upload(ctx, numbers.All(), encode([]uint32{0, 1, 2, 3, 4, 5, 6, 7})); err != nil {
		log.Fatal(err)
	}
	kernel, err := dev.Kernel(vk.Source{Name: "affine", SPIRV: affineSPIRV, Bindings: 2, Spec: []uint32{64}})
	if err != nil {
		log.Fatal(err)
	}

	rec, err := dev.NewRecorder()
	if err != nil {
		log.Fatal(err)
	}
	defer rec.Close()
	push := []uint32{8, 1, 1, 1, 2, 1} // 8 elements in a grid of 1 × 1, one round of v·2 + 1
	rec.Dispatch(kernel, [3]int{1, 1, 1}, push, 8, vk.In(numbers.All()), vk.Out(numbers.All()))
	if err := rec.Wait(ctx); err != nil {
		log.Fatal(err)
	}

	result := make([]byte, numbers.Size())
	if err := dev.Download(ctx, result, numbers.All()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(decode(result))
	// Output: [1 3 5 7 9 11 13 15]
}
