package eval_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Choices of a question share it: four cost less than half of what they would cost one by one, be questions alone or in batches.
func TestSharing(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	for _, name := range lmevalModels {
		m := openLMEval(t, name)
		for _, of := range []string{"arc_easy", "arc_challenge", "openbookqa", "hellaswag", "mmlu_anatomy", "mmlu_philosophy"} {
			tasks, _, err := task.Find([]string{of})
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 0} {
				r, err := eval.RunTasks(t.Context(), d, m, tasks, nil, eval.TaskOptions{Batch: batch, Source: task.Source{Dir: fixtures}})
				if err != nil {
					t.Fatal(err)
				}
				s := r.Run.Speed
				if s.Rows == 0 || s.RowsAlone == 0 || float64(s.Rows) > 0.45*float64(s.RowsAlone) || s.Padded != 0 {
					t.Errorf("%s, %s, batches of %d: %d rows of %d, %v padded", name, of, batch, s.Rows, s.RowsAlone, s.Padded)
				}
				t.Logf("%s, %s, batches of %d: %.1f %%", name, of, batch, 100*float64(s.Rows)/float64(s.RowsAlone))
			}
		}
	}
}
