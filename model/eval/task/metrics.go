package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"slices"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// Sample is what the answers to a document's requests, in their order, come to.
func (s *Set) Sample(doc int, answers []Answer) (Sample, error) {
	if doc < 0 || doc >= len(s.docs) {
		return Sample{}, fmt.Errorf("%s: document %d, expected 0 to %d", s.Task.Name, doc, len(s.docs)-1)
	}
	d := &s.docs[doc]
	it := &d.item
	if len(answers) != len(it.continuations) {
		return Sample{}, fmt.Errorf("%s: document %d: %d answers, expected %d", s.Task.Name, doc, len(answers), len(it.continuations))
	}
	out := Sample{Doc: slices.Concat(d.record, it.added), Target: it.target, Metrics: map[string]any{}, Choices: len(it.choices)}
	text, err := pythonJSON(out.Doc)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: document %d: %w", s.Task.Name, doc, err)
	}
	sum := sha256.Sum256([]byte(text))
	out.DocHash = hex.EncodeToString(sum[:])
	for _, m := range s.Task.Metrics {
		out.Metrics[m.Name] = measure(m.Name, it, answers)
	}
	return out, nil
}

func measure(metric string, it *item, answers []Answer) any {
	switch metric {
	case "word_perplexity":
		return Weighted{answers[0].LogLikelihood, it.words}
	case "byte_perplexity", "bits_per_byte":
		return Weighted{answers[0].LogLikelihood, it.bytes}
	case "perplexity":
		return answers[0].LogLikelihood
	}
	if it.choices == nil { // acc of one continuation
		if answers[0].Greedy {
			return 1
		}
		return 0
	}
	scores := make([]float64, len(answers))
	for i, a := range answers {
		scores[i] = a.LogLikelihood
		switch metric {
		case "acc_norm":
			scores[i] /= float64(utf8.RuneCountInString(it.choices[i]))
		case "acc_bytes":
			scores[i] /= float64(len(it.choices[i]))
		}
	}
	if argmax(scores) == it.gold {
		return 1.0
	}
	return 0.0
}

// argmax is NumPy's: the first of the largest; a NaN is larger than any number.
func argmax(v []float64) int {
	best := 0
	for i, x := range v {
		if math.IsNaN(x) {
			return i
		}
		if x > v[best] {
			best = i
		}
	}
	return best
}

// Aggregate gives a task's metrics over samples: NAME,none and NAME_stderr,none. A standard error that lm-eval has as "N/A" is NaN: with a
// bootstrap of 0, of one sample, and of metrics over words or bytes. That of perplexity is over so many resamples (lm-eval takes 100000),
// drawn as lm-eval draws them.
func (t *Task) Aggregate(samples []Sample, bootstrap int) map[string]float64 {
	out := map[string]float64{}
	if len(samples) == 0 {
		return out
	}
	for _, m := range t.Metrics {
		values, weights := make([]float64, len(samples)), 0.0
		for i, s := range samples {
			switch v := s.Metrics[m.Name].(type) {
			case float64:
				values[i] = v
			case int:
				values[i] = float64(v)
			case Weighted:
				values[i] = v.LogLikelihood
				weights += float64(v.Weight)
			}
		}
		var value float64
		stderr := math.NaN()
		switch m.Aggregation {
		case meanOf:
			value = mean(values)
			if bootstrap > 0 {
				stderr = deviation(values) / math.Sqrt(float64(len(values)))
			}
		case perplexityOf:
			value = math.Exp(-mean(values))
			if bootstrap > 0 && len(values) > 1 {
				stderr = bootstrapped(values, bootstrap)
			}
		case weightedPerplexity:
			value = math.Exp(-sum(values) / weights)
		case bitsPerByte:
			value = -(sum(values) / weights) / math.Ln2
		}
		out[m.Name+filter], out[m.Name+"_stderr"+filter] = value, stderr
	}
	return out
}

// Chance is the accuracy that guessing has, in expectation, on documents with so many choices: the mean of 1/choices. ok is false where some
// have none.
func Chance(choices []int) (chance float64, ok bool) {
	for _, n := range choices {
		if n == 0 {
			return 0, false
		}
		chance += 1 / float64(n)
	}
	return chance / float64(len(choices)), len(choices) > 0
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

func mean(v []float64) float64 { return sum(v) / float64(len(v)) }

// deviation is the sample standard deviation, NaN of one value.
func deviation(v []float64) float64 {
	mu, squares := mean(v), 0.0
	for _, x := range v {
		squares += (x - mu) * (x - mu)
	}
	return math.Sqrt(squares / float64(len(v)-1))
}

const bootstrapChunk = 1000 // resamples that lm-eval draws from one seed

// bootstrapped is the standard error of the perplexity: its deviation over resamples of the log-likelihoods. Chunks of them are drawn at
// the same time, each from its own seed, its number; a last one that is not whole is left out.
func bootstrapped(logs []float64, iterations int) float64 {
	size := min(bootstrapChunk, iterations)
	chunks := iterations / size
	all := make([]float64, chunks*size)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for chunk := range chunks {
		g.Go(func() error {
			random, n := newPythonRandom(int64(chunk)), float64(len(logs))
			for i := range size {
				total := 0.0
				for range logs {
					total += logs[int(random.random()*n)]
				}
				all[chunk*size+i] = math.Exp(-(total / n))
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	return deviation(all)
}
