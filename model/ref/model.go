package ref

import (
	"math"
	"runtime"
	"slices"
	"sync"
)

// Model is a decoder-only transformer of the Llama family, or an OPT.
type Model struct {
	Config
	Embed     Mat // [vocab, hidden]
	Positions Mat // [.., hidden], learned: that of the first token is row positionOffset; empty elsewhere
	Layers    []Layer
	Norm      []float64 // [hidden], final
	NormBias  []float64 // of a LayerNorm
	Head      Mat       // [vocab, hidden]; the same as Embed when tied
}

// positionOffset is where OPT's table of positions starts.
const positionOffset = 2

// embed gives what enters the first layer for tokens at positions from first on.
func (m *Model) embed(tokens []int, first int) Mat {
	x := Embedding(m.Embed, tokens)
	if m.EmbeddingScale != 0 {
		x = Scale(x, m.EmbeddingScale)
	}
	if m.Positions.Rows > 0 {
		x = AddPositions(x, m.Positions, sequence(positionOffset+first, len(tokens)))
	}
	return x
}

// LogitsOf is the LM head of what the final norm makes of states that leave the last layer.
func (m *Model) LogitsOf(x Mat) Mat {
	scale := m.LogitScale
	if scale == 0 {
		scale = 1
	}
	return SoftCap(Linear(m.finalNorm(x), m.Head, nil), scale, m.LogitCap)
}

func (m *Model) finalNorm(x Mat) Mat { return m.norm(x, m.Norm, m.NormBias) }

// HiddenStates gives the residual stream at every boundary: [0] the embeddings, [l] what enters layer l, [len(Layers)]
// what leaves the last layer, before the final norm.
func (m *Model) HiddenStates(tokens []int) []Mat {
	states := []Mat{m.embed(tokens, 0)}
	for l := range m.Layers {
		y, _ := m.Layers[l].Forward(m.Config, states[l])
		states = append(states, y)
	}
	return states
}

// Logits gives the logits after every token: [tokens, vocab].
func (m *Model) Logits(tokens []int) Mat {
	return m.LogitsOf(m.HiddenStates(tokens)[len(m.Layers)])
}

// NLL gives −log p of tokens 1..n−1, each given those before it.
func (m *Model) NLL(tokens []int) []float64 {
	last := m.HiddenStates(tokens)[len(m.Layers)]
	return CrossEntropy(m.LogitsOf(last), shifted(tokens))[:len(tokens)-1]
}

// shifted gives every token's successor as its target; the last token has none.
func shifted(tokens []int) []int {
	return append(append([]int{}, tokens[1:]...), -1)
}

// Loss is the mean over windows of the mean NLL of each window's positions from 1 on. Windows run in parallel.
func (m *Model) Loss(windows [][]int) float64 {
	means := make([]float64, len(windows))
	parallel(len(windows), func(w int) { means[w] = mean(m.NLL(windows[w])) })
	return mean(means)
}

// Perplexity is exp(Loss).
func (m *Model) Perplexity(windows [][]int) float64 { return math.Exp(m.Loss(windows)) }

// Generate continues the prompt by n tokens, each the most probable one (the lowest id among equals).
func (m *Model) Generate(prompt []int, n int) []int {
	caches := make([]Cache, len(m.Layers))
	var tokens []int
	seen := 0
	for next := prompt; len(tokens) < n; next = tokens[len(tokens)-1:] {
		if s := m.RopeScaling; s.Type == "longrope" && seen <= s.OriginalMaxPosition && seen+len(next) > s.OriginalMaxPosition {
			next, seen, caches = slices.Concat(prompt, tokens), 0, make([]Cache, len(m.Layers)) // all positions are turned otherwise from here on
		}
		x := m.embed(next, seen)
		seen += len(next)
		for l := range m.Layers {
			x, _ = m.Layers[l].Continue(m.Config, x, &caches[l])
		}
		last := Mat{1, x.Cols, x.Row(x.Rows - 1)}
		tokens = append(tokens, argmax(m.LogitsOf(last).Data))
	}
	return tokens
}

// Windows cuts tokens into runs of size; a shorter rest is dropped.
func Windows(tokens []int, size int) [][]int {
	var windows [][]int
	for ; len(tokens) >= size; tokens = tokens[size:] {
		windows = append(windows, tokens[:size])
	}
	return windows
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// argmax is the index of the first of the largest elements.
func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// parallel calls f(0..n−1) on as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	var group sync.WaitGroup
	tickets := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := range tickets {
				f(i)
			}
		})
	}
	for i := range n {
		tickets <- i
	}
	close(tickets)
	group.Wait()
}
