package main

import (
	"strconv"
	"strings"
	"time"
)

// autoShard ends the help of --shard.
const autoShard = "auto or /N take the number from Slurm's array or step, or from Kubernetes' indexed job"

// lockPatience is how long a part of a run that is resumed waits for another process that does the same part, before that is an error. It is put
// on another node when its own is lost, and what was lost may go on for a while; a server of files keeps a lost node's locks, for 90 s usually.
const lockPatience = 3 * time.Minute

// shard reads --shard. What it leaves out comes from the variables of a job array, of the tasks of a step, or of an indexed job. auto takes the
// number of parts from them too; with /N or auto/N they have to agree, but for an array that has some of the parts alone.
func shard(text string, env func(string) string) (i, n int, err error) {
	number := func(name, text string) int {
		v, e := strconv.Atoi(text)
		if e != nil && err == nil {
			err = usagef("--shard: %s %q, expected a number", name, text)
		}
		return v
	}
	index, count, slash := strings.Cut(text, "/")
	auto := index == "auto" || slash && index == ""
	if slash {
		if n = number("number of parts", count); err == nil && n < 1 && auto {
			err = usagef("--shard: number of parts %d, expected 1 or more", n)
		}
	}
	variable := func(name string) int { return number(name, env(name)) }
	switch {
	case !auto && !slash:
		return 0, 0, usagef("--shard %q: expected I/N, /N or auto", text)
	case !auto:
		i = number("part", index)
	case err != nil:
	case env("SLURM_ARRAY_TASK_ID") != "":
		i, n, err = arrayShard(n, env)
	case env("SLURM_STEP_NUM_TASKS") != "" && env("SLURM_STEP_NUM_TASKS") != "1":
		tasks := variable("SLURM_STEP_NUM_TASKS")
		if i = variable("SLURM_PROCID"); n == 0 {
			n = tasks
		} else if n != tasks && err == nil {
			err = usagef("--shard: %d parts, and the step of Slurm has %d tasks; give both the same number", n, tasks)
		}
	case env("JOB_COMPLETION_INDEX") != "" && slash:
		i = variable("JOB_COMPLETION_INDEX")
	case env("JOB_COMPLETION_INDEX") != "":
		return 0, 0, usagef("--shard auto: Kubernetes tells the number of this part, not how many there are: give it as /N")
	default:
		return 0, 0, usagef("--shard %q: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set, nor is this a task of several of a step (srun); give the part as I/N", text)
	}
	if err == nil && (n < 1 || i < 0 || i >= n) {
		err = usagef("--shard: part %d of %d: expected 0 to %d", i, n, max(0, n-1))
	}
	return i, n, err
}

// arrayShard is the part that a task of Slurm's array does. An array of n tasks, or of any number where n is 0, may begin anywhere and go in
// steps; in one of another number of tasks, such as one that does a single part again, each has the number of its part.
func arrayShard(n int, env func(string) string) (i, of int, err error) {
	values := map[string]int{"SLURM_ARRAY_TASK_STEP": 1} // which an older Slurm lacks
	for _, name := range []string{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"} {
		text := env(name)
		if text == "" && values[name] != 0 {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil {
			return 0, 0, usagef("--shard: %s %q, expected a number", name, text)
		}
		values[name] = v
	}
	id, count, least, most, step := values["SLURM_ARRAY_TASK_ID"], values["SLURM_ARRAY_TASK_COUNT"], values["SLURM_ARRAY_TASK_MIN"], values["SLURM_ARRAY_TASK_MAX"], values["SLURM_ARRAY_TASK_STEP"]
	if tasks := env("SLURM_STEP_NUM_TASKS"); tasks != "" && tasks != "1" {
		return 0, 0, usagef("--shard: each task of the array starts %s processes (srun), which would all do the same part; give the part as I/N", tasks)
	}
	even := step > 0 && most == least+step*(count-1)
	switch {
	case even && (n == 0 || n == count):
		return (id - least) / step, count, nil
	case n == 0:
		return 0, 0, usagef("--shard auto: the array has %d tasks between %d and %d, which leave out some: number them one by one, or give the number of parts, as auto/N", count, least, most)
	case id < 0 || id >= n:
		return 0, 0, usagef("--shard: part %d of %d (SLURM_ARRAY_TASK_ID, as the array has %d tasks): expected 0 to %d", id, n, count, max(0, n-1))
	}
	return id, n, nil
}
