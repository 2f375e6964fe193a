package eval

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// Estimate is a figure of a sample of tokens, and its standard error.
type Estimate struct {
	Value float64 `json:"value"`
	Error float64 `json:"error"`
}

// Quantiles are of a sample x of n values in ascending order: quantile q is at position q·(n−1), between two values by linear
// interpolation.
type Quantiles struct {
	Maximum float64 `json:"maximum"`
	P999    float64 `json:"p99.9"`
	P99     float64 `json:"p99"`
	P95     float64 `json:"p95"`
	P90     float64 `json:"p90"`
	P75     float64 `json:"p75"`
	Median  float64 `json:"median"`
	P25     float64 `json:"p25"`
	P10     float64 `json:"p10"`
	P5      float64 `json:"p5"`
	P1      float64 `json:"p1"`
	P01     float64 `json:"p0.1"`
	Minimum float64 `json:"minimum"`
}

// KLD is what the probabilities q of a model say beside p of its base, over tokens that have a predecessor in their window. The figures
// are those of llama.cpp's perplexity --kl-divergence, which scores the second half of each chunk only.
//
// Of n values x, the mean is Σx/n with the standard error √((Σx²/n − mean²)/(n−1)).
type KLD struct {
	Windows      int `json:"windows"`
	TokensScored int `json:"tokens_scored"`

	Perplexity     Estimate `json:"perplexity"`      // of the model: exp of the mean NLL; its error is that mean's times the perplexity
	BasePerplexity Estimate `json:"base_perplexity"` // of the base
	// LogRatio is ln(Perplexity/BasePerplexity), the mean of d = NLL − NLL of the base. Its error is that of the mean of d, which is
	// √(var + var of the base − 2·cov) of the two mean NLLs: they go up and down together, so that it is far below the perplexities'.
	LogRatio   Estimate `json:"ln_perplexity_ratio"`
	Ratio      Estimate `json:"perplexity_ratio"`      // exp of LogRatio; its error is that of LogRatio times the ratio
	Difference Estimate `json:"perplexity_difference"` // Perplexity − BasePerplexity; its error has the covariance as LogRatio's has it
	// Correlation of the two NLLs, cov/√(var·var of the base), which is that of ln PPL too; 1 where the NLLs are the same.
	Correlation float64 `json:"ln_perplexity_correlation"`

	KL          Estimate  `json:"kl"`           // mean of Σ p·ln(p/q) over the vocabulary, nats a token
	KLQuantiles Quantiles `json:"kl_quantiles"` // of tokens
	// DeltaP is the mean of q − p of the right token, from −1 to 1: below 0 the model is the worse one.
	DeltaP          Estimate  `json:"delta_p"`
	DeltaPQuantiles Quantiles `json:"delta_p_quantiles"`
	RMSDeltaP       Estimate  `json:"rms_delta_p"` // √ of the mean m of (q − p)²; its error is that of m over 2·√m
	// SameTop is the part s of tokens where p and q are largest for the same token; its error is √(s·(1−s)/(n−1)).
	SameTop Estimate `json:"same_top"`

	Tokens [][]run.Divergence `json:"-"` // by window: element t is of token t+1
}

// RunKLD compares m with base on windows of equal length that do not overlap: each goes layer by layer, then both LM heads in one pass.
// They may be of any depths, but have one vocabulary. progress may be nil.
func RunKLD(ctx context.Context, d *vk.Device, m, base *model.Model, windows [][]uint32, o run.Options, progress func(done, total int)) (k *KLD, err error) {
	if err := model.SameVocabulary(m, base); err != nil {
		return nil, err
	}
	layers := len(m.Layers) + len(base.Layers)
	through := func(m *model.Model, before int) (*run.Forward, error) {
		o := o
		// Twice the states of a boundary beside the other model's layers: an eighth of the memory, or none of it.
		if len(windows) > 0 && 2*4*int64(len(windows))*int64(len(windows[0]))*int64(m.Config.HiddenSize) > d.MemoryLimit()/8 {
			o.StatesOnHost = true
		}
		f, err := run.NewWith(d, m, windows, o)
		if err != nil {
			return nil, err
		}
		err = f.Run(ctx, m, func(done, _ int) {
			if progress != nil {
				progress(before+done, layers)
			}
		})
		if err == nil {
			err = f.Rest(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	b, err := through(base, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	f, err := through(m, len(base.Layers))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	tokens, err := run.Divergences(ctx, f, m, b, base)
	if err != nil {
		return nil, err
	}
	return NewKLD(tokens)
}

// NewKLD makes the figures of tokens, by window. It wants two of them at least, as errors do.
func NewKLD(tokens [][]run.Divergence) (*KLD, error) {
	all := slices.Concat(tokens...)
	if len(all) < 2 {
		return nil, errors.New("eval: KL divergence: fewer than two tokens with a predecessor in their window; use more text")
	}
	var nll, base, difference, kl, delta, square []float64
	same := 0.0
	for _, v := range all {
		p := math.Exp(-v.NLL) - math.Exp(-v.BaseNLL)
		nll, base, difference = append(nll, v.NLL), append(base, v.BaseNLL), append(difference, v.NLL-v.BaseNLL)
		kl, delta, square = append(kl, v.KL), append(delta, p), append(square, p*p)
		if v.Same {
			same++
		}
	}
	n := float64(len(all))
	m, b, d := mean(nll), mean(base), mean(difference)
	k := &KLD{
		Windows: len(tokens), TokensScored: len(all), Tokens: tokens,
		Perplexity: exponential(m), BasePerplexity: exponential(b), LogRatio: d, Ratio: exponential(d),
		KL: mean(kl), KLQuantiles: quantiles(kl), DeltaP: mean(delta), DeltaPQuantiles: quantiles(delta),
		Correlation: 1, SameTop: Estimate{same / n, math.Sqrt(same / n * (1 - same/n) / (n - 1))},
	}
	// 2·cov = var + var of the base − var of the difference: of the means, as their errors are.
	cov := (m.Error*m.Error + b.Error*b.Error - d.Error*d.Error) / 2
	if d.Error > 0 && m.Error > 0 && b.Error > 0 {
		k.Correlation = cov / (m.Error * b.Error)
	}
	k.Difference.Value = k.Perplexity.Value - k.BasePerplexity.Value
	if k.Difference.Value != 0 {
		x, y := k.Perplexity.Error, k.BasePerplexity.Error
		k.Difference.Error = math.Sqrt(max(0, x*x+y*y-2*k.Perplexity.Value*k.BasePerplexity.Value*cov))
	}
	if squares := mean(square); squares.Value > 0 {
		root := math.Sqrt(squares.Value)
		k.RMSDeltaP = Estimate{root, squares.Error / (2 * root)}
	}
	return k, nil
}

// mean is that of two values or more.
func mean(x []float64) Estimate {
	n, sum, squares := float64(len(x)), 0.0, 0.0
	for _, v := range x {
		sum += v
	}
	for _, v := range x {
		squares += (v - sum/n) * (v - sum/n)
	}
	return Estimate{sum / n, math.Sqrt(squares / n / (n - 1))}
}

// exponential is exp of an estimate, its error in first order.
func exponential(e Estimate) Estimate {
	v := math.Exp(e.Value)
	return Estimate{v, v * e.Error}
}

func quantiles(x []float64) Quantiles {
	x = slices.Sorted(slices.Values(x))
	at := func(q float64) float64 {
		position := q * float64(len(x)-1)
		i := min(int(position), len(x)-2)
		return x[i] + (position-float64(i))*(x[i+1]-x[i])
	}
	return Quantiles{x[len(x)-1], at(0.999), at(0.99), at(0.95), at(0.9), at(0.75), at(0.5), at(0.25), at(0.1), at(0.05), at(0.01), at(0.001), x[0]}
}
