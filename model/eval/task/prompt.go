package task

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Select gives the documents that are evaluated: the first limit of them; of a limit below 1, that part, rounded up; with 0 all. Or samples,
// by index from 0, in the order of the documents.
func (s *Set) Select(limit float64, samples []int) ([]int, error) {
	switch n := s.Len(); {
	case len(samples) > 0 && limit != 0:
		return nil, fmt.Errorf("%s: both a limit and samples are given; choose one", s.Task.Name)
	case len(samples) > 0:
		chosen := slices.Clone(samples)
		slices.Sort(chosen)
		chosen = slices.Compact(chosen)
		if chosen[0] < 0 || chosen[len(chosen)-1] >= n {
			return nil, fmt.Errorf("%s: samples %d to %d, expected 0 to %d", s.Task.Name, chosen[0], chosen[len(chosen)-1], n-1)
		}
		return chosen, nil
	case limit < 0 || math.IsNaN(limit):
		return nil, fmt.Errorf("%s: a limit of %v documents, expected 0 or more", s.Task.Name, limit)
	default:
		if limit > 0 && limit < 1 {
			limit = math.Ceil(float64(n) * limit)
		}
		if limit > 0 && limit < float64(n) {
			n = int(limit)
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
}

// Turn is a message of a conversation.
type Turn struct{ Role, Content string }

// Prompting says how a question and what comes before it become a context. The zero value joins the texts.
type Prompting struct {
	System string // lm-eval's system_instruction: before a task's own description
	// Render makes the context of the conversation, which ends where an answer begins: lm-eval's apply_chat_template. With nil there is none.
	Render func(turns []Turn) (string, error)
	// Multiturn makes turns of few-shot examples and their answers, lm-eval's fewshot_as_multiturn; else they are in the turn of the question.
	Multiturn bool
}

// Requests gives what is asked about these documents: of each, a request for every choice, or one. Few-shot examples are drawn for one
// document after the other, so which a document has depends on those before it. lm-eval's seed is 1234.
func (s *Set) Requests(docs []int, shots int, seed int64) ([][]Request, error) {
	return s.Prompted(docs, shots, seed, Prompting{})
}

// Prompted is Requests with contexts made otherwise.
func (s *Set) Prompted(docs []int, shots int, seed int64, p Prompting) ([][]Request, error) {
	if shots < 0 {
		return nil, fmt.Errorf("%s: %d few-shot examples, expected 0 or more", s.Task.Name, shots)
	}
	random := newPythonRandom(seed)
	out := make([][]Request, len(docs))
	for i, doc := range docs {
		if doc < 0 || doc >= len(s.docs) {
			return nil, fmt.Errorf("%s: document %d, expected 0 to %d", s.Task.Name, doc, len(s.docs)-1)
		}
		it := &s.docs[doc].item
		if s.Task.Output == Rolling {
			out[i] = []Request{{Continuation: it.continuations[0]}}
			continue
		}
		examples, err := s.examples(random, doc, shots)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Task.Name, err)
		}
		contexts := make([]string, len(it.prompts))
		for j, prompt := range it.prompts {
			if contexts[j], err = p.context(s.Task.description, examples, prompt); err != nil {
				return nil, fmt.Errorf("%s: document %d: %w", s.Task.Name, doc, err)
			}
		}
		for j, continuation := range it.continuations {
			if p.Render != nil && s.Task.Output == MultipleChoice { // the answer is a turn of its own
				continuation = strings.TrimPrefix(continuation, targetDelimiter)
			}
			out[i] = append(out[i], Request{contexts[min(j, len(contexts)-1)], continuation})
		}
	}
	return out, nil
}

// context puts a description, examples and a question together.
func (p *Prompting) context(description string, examples []shot, question string) (string, error) {
	system := delimited(p.System, description, shotDelimiter)
	var b strings.Builder
	for _, e := range examples {
		b.WriteString(e.text())
	}
	joined := b.String() + question
	if p.Render == nil {
		return system + joined, nil
	}
	var turns []Turn
	if system != "" {
		turns = append(turns, Turn{"system", system})
	}
	if !p.Multiturn {
		return p.Render(append(turns, Turn{"user", joined}))
	}
	for _, e := range examples {
		turns = append(turns, Turn{"user", e.question})
		if e.answered {
			turns = append(turns, Turn{"assistant", e.answer})
		}
	}
	return p.Render(append(turns, Turn{"user", question}))
}

// delimited joins two texts, with a delimiter where neither has white space there and neither is empty.
func delimited(a, b, delimiter string) string {
	if a == "" || b == "" {
		return a + b
	}
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	if isSpace(last) || isSpace(first) {
		return a + b
	}
	return a + delimiter + b
}

// examples are a document's few-shot examples.
func (s *Set) examples(random pythonRandom, doc, n int) ([]shot, error) {
	if n == 0 {
		return nil, nil
	}
	if !s.shotsRead {
		return nil, fmt.Errorf("%d few-shot examples, but their split was not read; set Source.Shots", n)
	}
	need := n
	if s.Task.excludeSelf {
		need++ // one that may be the document itself
	}
	if need > len(s.shots) {
		more := ""
		if need > n {
			more = fmt.Sprintf(", and %d are needed, as one may be the question", need)
		}
		return nil, fmt.Errorf("%d few-shot examples, but split %s has %d documents%s", n, s.Task.Dataset.Shots, len(s.shots), more)
	}
	var chosen []int
	if s.Task.firstShots {
		for i := range n {
			chosen = append(chosen, i)
		}
	} else {
		chosen = random.sample(len(s.shots), need)
	}
	if s.Task.excludeSelf {
		same := func(i int) bool { return reflect.DeepEqual(s.shots[i].record, s.docs[doc].record) }
		chosen = slices.DeleteFunc(chosen, same)
		if len(chosen) < n { // the document is there more than once
			var pool []int
			for i := range s.shots {
				if !same(i) {
					pool = append(pool, i)
				}
			}
			if len(pool) < n {
				return nil, fmt.Errorf("%d few-shot examples, but split %s has %d documents other than document %d", n, s.Task.Dataset.Shots, len(pool), doc)
			}
			chosen = chosen[:0]
			for _, i := range random.sample(len(pool), n) {
				chosen = append(chosen, pool[i])
			}
		}
		chosen = chosen[:n]
	}
	examples := make([]shot, len(chosen))
	for j, i := range chosen {
		examples[j] = s.shots[i].item.shot
	}
	return examples, nil
}
