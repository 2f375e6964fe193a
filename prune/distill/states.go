package distill

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// split puts windows into the order in which they are trained on, and those that are held out behind them. A rest of fewer windows than
// a step's is left out.
func split(windows [][]uint32, o Options) (ordered [][]uint32, trained int) {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6865616c)) // another stream than that which samples the windows
	for _, i := range rng.Perm(len(windows)) {
		ordered = append(ordered, windows[i])
	}
	trained = (len(windows) - o.HeldOut) / o.Batch * o.Batch
	return append(ordered[:trained:trained], ordered[len(windows)-o.HeldOut:]...), trained
}

// boundaries gives the hidden states of a model at its boundaries, layer by layer as they are wanted. Those that are kept lie in host memory,
// or in files beyond what that may hold.
type boundaries struct {
	f    *run.Forward
	m    *model.Model
	at   int // boundary that the run is at; -1 before the embeddings
	keep bool
}

func newBoundaries(d *vk.Device, m *model.Model, windows [][]uint32, o run.Options, keep bool) (*boundaries, error) {
	f, err := run.NewWith(d, m, windows, o)
	if err != nil {
		return nil, err
	}
	return &boundaries{f: f, m: m, at: -1, keep: keep}, f.Rest(context.Background())
}

// reach makes the states of a boundary, unless they are there. Of the boundaries on the way only those listed are kept, unless all are.
func (s *boundaries) reach(ctx context.Context, boundary int, wanted []int, progress func(done, total int)) error {
	if s.f.States().Has(boundary) && s.at >= boundary {
		return nil
	}
	if s.at > boundary {
		return errors.New("distill: states below those that the run is at are not kept")
	}
	if s.at < 0 {
		if err := s.f.Embed(ctx, s.m); err != nil {
			return err
		}
		s.at = 0
	}
	first := s.at
	for ; s.at < boundary; s.at++ {
		progress(s.at-first, boundary-first)
		if err := s.f.Layer(ctx, s.m, s.at, nil); err != nil {
			return err
		}
		if !s.keep && !slices.Contains(wanted, s.at) {
			s.f.States().Drop(s.at)
		}
	}
	progress(boundary-first, boundary-first)
	return s.f.Rest(ctx)
}

// forget drops boundaries below one, unless all are kept.
func (s *boundaries) forget(below int) {
	for b := range below {
		if !s.keep {
			s.f.States().Drop(b)
		}
	}
}
