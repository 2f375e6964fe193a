package bench_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/vk"
)

// Measure what a device's memory can do, and read it from the report.
func Example() {
	d, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	report, err := bench.Run(context.Background(), d, bench.Options{Reps: 1, Only: []string{"rmsnorm"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Get("read device memory").Unit, report.Get("read device memory").Value > 0)
	// Output: GB/s true
}
