package task

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

func ExampleTask_Load() {
	dir, err := os.MkdirTemp("", "data")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "baber", "piqa", "validation.jsonl")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, []byte(`{"goal":"keep bread","sol1":"in a box","sol2":"in a lake","label":0}`), 0o644); err != nil {
		panic(err)
	}

	tasks, _, err := Find([]string{"piqa"})
	if err != nil {
		panic(err)
	}
	set, err := tasks[0].Load(context.Background(), Source{Dir: dir})
	if err != nil {
		panic(err)
	}
	requests, err := set.Requests([]int{0}, 0, 1234)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q\n%q\n", requests[0][0], requests[0][1])
	sample, err := set.Sample(0, []Answer{{LogLikelihood: -9}, {LogLikelihood: -10}})
	if err != nil {
		panic(err)
	}
	fmt.Println(tasks[0].Aggregate([]Sample{sample}, 0)["acc_norm,none"])
	// Output:
	// {"Question: keep bread\nAnswer:" " in a box"}
	// {"Question: keep bread\nAnswer:" " in a lake"}
	// 0
}
