package task

import "math"

// Group is several tasks that have a score in common.
type Group struct {
	Name, Alias string
	Version     string
	Members     []string // tasks and groups that it names
	Tasks       []*Task  // all tasks in it
	Groups      []*Group // the groups in it

	metrics []groupMetric
}

// groupMetric is one score of a group.
type groupMetric struct {
	name     string
	from     []string // the metric of a task that counts: the first of these that it has
	weighted bool     // by the tasks' documents
}

// Result is a task's or a group's aggregated metrics: "acc,none", "acc_stderr,none" and so on; NaN is lm-eval's "N/A".
type Result struct {
	Metrics   map[string]float64
	Documents int            // that were evaluated
	Counts    map[string]int // of a group: of documents behind each metric
}

// filter is what lm-eval calls the way from a model's output to an answer; these tasks have none.
const filter = ",none"

// Aggregate gives the group's metrics of its tasks' results, by name. Tasks that are not there are left out, as lm-eval does.
//
// A weighted mean has the pooled standard error of lm-eval's pooled_sample_stderr, a plain one that of its unweighted_mean_stderr.
func (g *Group) Aggregate(results map[string]Result) Result {
	out := Result{Metrics: map[string]float64{}, Counts: map[string]int{}}
	for _, t := range g.Tasks {
		out.Documents += results[t.Name].Documents
	}
	for _, m := range g.metrics {
		var mean, total, variance float64
		n, count := 0, 0
		for _, t := range g.Tasks {
			r, ok := results[t.Name]
			if !ok {
				continue
			}
			metric, ok := m.of(r)
			if !ok {
				continue
			}
			n++
			count += r.Documents
			size := float64(r.Documents)
			stderr, ok := r.Metrics[metric+"_stderr"+filter]
			if !ok {
				stderr = math.NaN()
			}
			if m.weighted {
				variance += (size - 1) * (stderr * stderr) * size
			} else {
				variance += stderr * stderr
				size = 1
			}
			mean += r.Metrics[metric+filter] * size
			total += size
		}
		if n == 0 {
			continue
		}
		out.Metrics[m.name+filter], out.Counts[m.name+filter] = mean/total, count
		stderr := math.Sqrt(variance) / float64(n)
		if m.weighted {
			stderr = math.Sqrt(variance / (total - float64(n)) / total)
		}
		out.Metrics[m.name+"_stderr"+filter] = stderr
	}
	return out
}

// of is the metric of a task's result that counts.
func (m groupMetric) of(r Result) (string, bool) {
	for _, name := range m.from {
		if _, ok := r.Metrics[name+filter]; ok {
			return name, true
		}
	}
	return "", false
}
