package safetensors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model/safetensors"
)

func Example() {
	dir, err := os.MkdirTemp("", "safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "model.safetensors")
	w, err := safetensors.Create(path, []safetensors.Entry{{Name: "w", DType: "BF16", Shape: []int{2, 2}}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Write("w", []byte{0x80, 0x3f, 0, 0, 0, 0, 0x80, 0x3f}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	c, err := safetensors.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	t, _ := c.Lookup("w")
	fmt.Println(t.Name, t.DType, t.Shape, t.Size(), "bytes")
	// Output: w BF16 [2 2] 8 bytes
}
