package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestShardFlag(t *testing.T) {
	array := func(id, least, most, step, count int) map[string]string {
		return map[string]string{"SLURM_ARRAY_TASK_ID": fmt.Sprint(id), "SLURM_ARRAY_TASK_MIN": fmt.Sprint(least), "SLURM_ARRAY_TASK_MAX": fmt.Sprint(most),
			"SLURM_ARRAY_TASK_STEP": fmt.Sprint(step), "SLURM_ARRAY_TASK_COUNT": fmt.Sprint(count), "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
	}
	slurm, steps, single, gaps := array(12, 10, 13, 1, 4), array(9, 1, 9, 4, 3), array(3, 3, 3, 1, 1), array(4, 1, 6, 1, 3)
	older := array(12, 10, 13, 1, 4)
	delete(older, "SLURM_ARRAY_TASK_STEP")
	each := array(12, 10, 13, 1, 4)
	each["SLURM_STEP_NUM_TASKS"] = "2"
	garbled := array(12, 10, 13, 1, 4)
	garbled["SLURM_ARRAY_TASK_MIN"] = "x"
	kubernetes := map[string]string{"JOB_COMPLETION_INDEX": "1"}
	step := map[string]string{"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "3"}
	batch := map[string]string{"SLURM_PROCID": "0", "SLURM_NTASKS": "3"} // srun was forgotten
	alone := map[string]string{"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
	for _, c := range []struct {
		text string
		env  map[string]string
		want string
	}{
		{"0/1", nil, "0 1"}, {"3/8", slurm, "3 8"}, {"auto", slurm, "2 4"}, {"/4", slurm, "2 4"}, {"auto/4", slurm, "2 4"}, {"auto", older, "2 4"}, {"/2", kubernetes, "1 2"},
		{"auto", steps, "2 3"}, {"/3", steps, "2 3"}, {"/10", steps, "9 10"}, {"/8", single, "3 8"}, {"/1", single, "0 1"}, {"auto", single, "0 1"}, {"/8", gaps, "4 8"},
		{"auto", gaps, "3 tasks between 1 and 6, which leave out some"}, {"/3", gaps, "part 4 of 3 (SLURM_ARRAY_TASK_ID"}, {"/5", slurm, "part 12 of 5 (SLURM_ARRAY_TASK_ID, as the array has 4 tasks)"},
		{"auto", each, "starts 2 processes"}, {"auto", garbled, `SLURM_ARRAY_TASK_MIN "x", expected a number`},
		{"auto", step, "2 3"}, {"/3", step, "2 3"}, {"/4", step, "4 parts, and the step of Slurm has 3 tasks"}, {"auto", batch, "nor is this a task of several"}, {"auto", alone, "nor is this a task of several"},
		{"auto", kubernetes, "give it as /N"}, {"auto", nil, "SLURM_ARRAY_TASK_ID"}, {"/4", nil, "give the part as I/N"}, {"3", nil, "expected I/N"}, {"x/3", nil, `part "x"`},
		{"1/", nil, `number of parts ""`}, {"/x", slurm, `number of parts "x"`}, {"4/4", nil, "expected 0 to 3"}, {"-1/4", nil, "expected 0 to 3"}, {"0/0", nil, "part 0 of 0"}, {"/0", kubernetes, "number of parts 0"},
		{"/0", slurm, "number of parts 0"},
	} {
		i, n, err := shard(c.text, func(name string) string { return c.env[name] })
		got := fmt.Sprint(i, n)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("--shard %s with %v: %s, want %s", c.text, c.env, got, c.want)
		}
	}
}
