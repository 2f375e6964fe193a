package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// StreamedTraining trains a model against a teacher's logits with one layer's weights, gradients and activations of one batch on the device
// at a time. All batches of a step go forward through a layer, then through the next; the states between layers are kept, and each layer runs
// once more for its gradients (activation checkpoints: Chen et al. 2016, arXiv 1604.06174). Masters, moments and gradients lie in host memory,
// and beyond what that may hold in files. The bits are those of ModelTraining.
type StreamedTraining struct {
	streamPlan
	ctx     context.Context // of what Begin and Close do
	f       *run.Forward
	scope   *vk.Scope
	opt     *optimizer
	sets    []*shelved // of the layers, and of those outside
	shelf   *states.Shelf
	release func() // of host memory
	queue   []queued
	ran     bool
}

// queued is a batch of the step on its way.
type queued struct {
	batch  int
	target Target
	train  bool
}

// shelved is a set of weights in host memory, with parameters on the shelf.
type shelved struct {
	weightSet // as the weights are now, but for updates
	params    []shelvedParameter
}

// shelvedParameter says where a parameter is kept.
type shelvedParameter struct {
	parameter
	block   int // number of the first on the shelf: for each piece of rows one of each kind
	partial int // place of the first partial sum of its gradients
}

// The kinds of blocks, in the order of tensors.state without the weights.
const (
	shelfMaster = iota
	shelfM
	shelfV
	shelfGrad
	shelfKinds
)

// streamPiece is how many elements of a parameter take a step together, at least a row.
const streamPiece = 1 << 24

// pieceRows is how many rows of a weight are one piece.
func pieceRows(w model.Weight) int { return min(w.Rows, max(1, streamPiece/w.Cols)) }

// pieces calls f for each piece of a parameter: its rows, and the number of its first block.
func (p shelvedParameter) pieces(f func(begin, end, block int) error) error {
	step, block := pieceRows(p.weight), p.block
	for begin := 0; begin < p.weight.Rows; begin += step {
		if err := f(begin, min(p.weight.Rows, begin+step), block); err != nil {
			return err
		}
		block += shelfKinds
	}
	return nil
}

// streamPlan is what the phases of a StreamedTraining allocate by.
type streamPlan struct {
	teacher, m   *model.Model
	setup        Setup
	window, rows int
}

// layerPhase is what a layer takes: its weights, with gradients, and what is around them.
type layerPhase struct {
	pass    backprop
	out, dy *vk.Buffer
}

func (p streamPlan) layers(ctx context.Context, s *vk.Scope, r *vk.Recorder) layerPhase {
	shared := graph.NewShared(ctx, s, r, p.m, p.window)
	hidden := 4 * int64(p.rows) * int64(p.m.Config.HiddenSize)
	return layerPhase{newBackprop(s, r, p.m, p.m.Layers, shared, p.window, p.rows, 1, p.setup.Rank), s.Buffer("layer's output", hidden, vk.OnDevice),
		s.Buffer("gradients of hidden states", hidden, vk.OnDevice)}
}

// headRoles and embeddingRoles are the weights outside the layers that are on the device together.
func (p streamPlan) headRoles() []arch.Role {
	if p.m.Config.TieWordEmbeddings {
		return []arch.Role{arch.Embed, arch.FinalNorm, arch.FinalNormBias}
	}
	return []arch.Role{arch.FinalNorm, arch.FinalNormBias, arch.Head}
}

var embeddingRoles = []arch.Role{arch.Embed, arch.Positions}

// some is a set of the weights outside the layers without the others.
func some(of weightSet, roles []arch.Role) weightSet {
	out := of
	out.weights = make([]model.Weight, len(of.weights))
	for _, r := range roles {
		out.weights[r-of.first] = of.weights[r-of.first]
	}
	return out
}

// headPhase is what losses take.
type headPhase struct {
	teacher graph.Lens
	logits  *graph.LensPass
	y, loss *vk.Buffer
}

func (p streamPlan) head(ctx context.Context, s *vk.Scope, r *vk.Recorder) headPhase {
	hidden := 4 * int64(p.rows) * int64(p.m.Config.HiddenSize)
	return headPhase{graph.NewLens(ctx, s, r, p.teacher), graph.NewLensPass(s, p.m, p.rows, true, p.setup.Rank == 0), s.Buffer("the teacher's states", hidden, vk.OnDevice),
		s.Buffer("losses", 4*int64(p.rows), vk.OnDevice)}
}

// stepPhase is what the step of one piece of a parameter takes.
func (o Setup) stepPhase(s *vk.Scope, p parameter) tensors {
	w, n := p.weight, pieceRows(p.weight)
	floats := func(name string) op.Tensor {
		return graph.Floats(s.Buffer(name, 4*int64(n)*int64(w.Cols), vk.OnDevice), n, w.Cols)
	}
	bytes := int64(n) * int64(w.Cols) * int64(w.DType.Size())
	return tensors{parameter: p, copy: op.Of(s.Buffer("trained weights", bytes, vk.OnDevice).All(), w.DType, n, w.Cols), master: floats("master weights"),
		grad: floats("gradients"), m: o.moments(s, "first moments", n, w.Cols), v: o.moments(s, "second moments", n, w.Cols)}
}

// optimizer allocates what lasts: the words of a step, and a place for the partial sums of all gradients.
func (p streamPlan) optimizer(s *vk.Scope) *optimizer {
	var like []op.Tensor
	for _, set := range p.weightSets() {
		for _, x := range set.parameters(p.setup, false) {
			like = append(like, op.Tensor{Rows: x.weight.Rows, Cols: x.weight.Cols})
		}
	}
	return newOptimizer(s, like)
}

// weightSets are all weights.
func (p streamPlan) weightSets() (list []weightSet) {
	for l := range p.m.Layers {
		list = append(list, layerSet(p.m, l))
	}
	return append(list, topSet(p.m))
}

// place counts what a set takes that has gradients.
func (p streamPlan) place(ctx context.Context, s *vk.Scope, r *vk.Recorder, set weightSet) {
	newTrained(ctx, s, r, set, p.setup, set.parameters(p.setup, false), forGradient)
}

// device is the device memory that training takes at most: dry runs of the phases.
func (p streamPlan) device(d *vk.Device) int64 {
	ctx := context.Background()
	var layer, most int64
	top := topSet(p.m)
	for l := range p.m.Layers {
		layer = max(layer, d.DryRun(func(s *vk.Scope) { p.place(ctx, s, nil, layerSet(p.m, l)) }))
	}
	most = layer + d.DryRun(func(s *vk.Scope) { p.layers(ctx, s, nil) })
	most = max(most, d.DryRun(func(s *vk.Scope) {
		p.head(ctx, s, nil)
		p.place(ctx, s, nil, some(top, p.headRoles()))
	}), d.DryRun(func(s *vk.Scope) {
		newTokenIDs(s, p.rows)
		p.place(ctx, s, nil, some(top, embeddingRoles))
	}), d.DryRun(func(s *vk.Scope) {
		graph.EmbedBytes(s, p.m.Top[arch.Embed], p.rows)
		graph.PutNew(ctx, s, p.m.Top[arch.Positions])
	}))
	for _, set := range p.weightSets() {
		for _, x := range set.parameters(p.setup, false) {
			most = max(most, d.DryRun(func(s *vk.Scope) { p.setup.stepPhase(s, x) }))
		}
	}
	return most + d.DryRun(func(s *vk.Scope) { p.optimizer(s) })
}

// host is the host memory that weights take, which is reserved, and what parameters take on the shelf.
func (p streamPlan) host() (weights, shelf int64) {
	if p.setup.Rank == 0 {
		weights = p.m.Bytes()
	}
	for _, set := range p.weightSets() {
		for _, x := range set.parameters(p.setup, false) {
			shelf += int64(2*dtype.F32.Size()+2*p.setup.Moments.Size()) * x.weight.Elements()
		}
	}
	return weights, shelf
}

// NewStreamed prepares to train what setup says of m against teacher, whose states f has at its last boundary. host bounds host memory, and
// may be nil. The caller closes it before f.
func NewStreamed(ctx context.Context, f *run.Forward, teacher, m *model.Model, setup Setup, host *states.HostMemory) (t *StreamedTraining, err error) {
	if err := m.Config.CheckGradients(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t = &StreamedTraining{streamPlan: streamPlan{teacher, m, setup, f.Corpus.Window, f.Corpus.Most}, ctx: context.WithoutCancel(ctx), f: f}
	weights, _ := t.host()
	if t.release, err = host.Reserve("the weights in training", weights); err != nil {
		return nil, err
	}
	t.scope = f.Recorder().Device().NewScope()
	t.opt = t.optimizer(t.scope)
	blocks, partial := 0, 0
	for _, set := range t.weightSets() {
		set.weights = slices.Clone(set.weights) // not the model's
		s := &shelved{weightSet: set}
		for _, p := range set.parameters(setup, true) {
			x := shelvedParameter{p, blocks, partial}
			s.params = append(s.params, x)
			blocks += shelfKinds * ((p.weight.Rows + pieceRows(p.weight) - 1) / pieceRows(p.weight))
			partial += op.GradNormScratch(op.Tensor{Rows: p.weight.Rows, Cols: p.weight.Cols})
		}
		t.sets = append(t.sets, s)
	}
	t.shelf = states.NewShelf(f.Recorder().Device(), blocks, host)
	if err = t.scope.Close(); err == nil {
		err = t.fill(ctx)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// fill makes the first state: weights of the training's own, masters, and moments of 0.
func (t *StreamedTraining) fill(ctx context.Context) error {
	r := t.f.Recorder()
	for _, set := range t.sets {
		for i := range set.params {
			p := &set.params[i]
			own, err := t.fetch(ctx, p.weight)
			if err != nil {
				return err
			}
			if p.weight = own; t.setup.Rank == 0 {
				set.weights[p.of] = own
			}
			err = t.eachPiece(ctx, *p, func(x tensors, _, _, block int) error {
				op.FromDType(r, x.master, x.copy)
				if err := errors.Join(blankOut(ctx, r.Device(), x.m), blankOut(ctx, r.Device(), x.v)); err != nil {
					return err
				}
				return t.keepPiece(ctx, x, block)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch is a weight in memory of its own.
func (t *StreamedTraining) fetch(ctx context.Context, w model.Weight) (model.Weight, error) {
	out := blank(w)
	if !w.Made() {
		return out, w.Pieces(func(at int64, data []byte) error {
			copy(out.Data[at:], data)
			return nil
		})
	}
	s := t.f.Recorder().Device().NewScope()
	defer s.Free()
	x := graph.PutNew(ctx, s, w)
	if err := s.Err(); err != nil {
		return out, err
	}
	return out, s.Device().Download(ctx, out.Data, x.View)
}

// eachPiece calls f with each piece of a parameter, its copy on the device and places for the rest; where its bytes begin and end, and the
// number of its first block.
func (t *StreamedTraining) eachPiece(ctx context.Context, p shelvedParameter, f func(x tensors, begin, end, block int) error) (err error) {
	r := t.f.Recorder()
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	whole := t.setup.stepPhase(s, p.parameter)
	if err := s.Err(); err != nil {
		return err
	}
	rowBytes := p.weight.Cols * p.weight.DType.Size()
	return p.pieces(func(begin, end, block int) error {
		if err := r.Wait(ctx); err != nil {
			return err
		}
		x := whole
		for _, part := range []*op.Tensor{&x.copy, &x.master, &x.grad, &x.m, &x.v} {
			*part = part.RowRange(0, end-begin)
		}
		if err := r.Device().Upload(ctx, x.copy.View, p.weight.Data[begin*rowBytes:end*rowBytes]); err != nil {
			return err
		}
		return f(x, begin*rowBytes, end*rowBytes, block)
	})
}

// keepPiece waits for what changes a piece, and keeps that.
func (t *StreamedTraining) keepPiece(ctx context.Context, x tensors, block int) error {
	if err := t.f.Recorder().Wait(ctx); err != nil {
		return err
	}
	for kind, part := range []op.Tensor{x.master, x.m, x.v} { // in the order of the kinds
		if err := t.shelf.Keep(ctx, block+kind, part.View); err != nil {
			return err
		}
	}
	return nil
}

// loadPiece loads what a piece is, with its gradient where that is wanted.
func (t *StreamedTraining) loadPiece(ctx context.Context, x tensors, block int, gradient bool) error {
	for kind, part := range []op.Tensor{x.master, x.m, x.v, x.grad} {
		if kind == shelfGrad && !gradient {
			continue
		}
		if err := t.shelf.Load(ctx, block+kind, part.View); err != nil {
			return err
		}
	}
	return nil
}

// Begin starts a step: gradients and loss are 0.
func (t *StreamedTraining) Begin() {
	t.opt.begin()
	t.queue, t.ran = nil, false
}

// Add puts a batch, by its number, among those of the step: its loss, and the gradients of what is trained, are added to the step's. Target has
// the tokens and the temperature. Nothing is computed before Step, Loss or Gradients.
func (t *StreamedTraining) Add(_ context.Context, batch int, target Target) error {
	t.queue = append(t.queue, queued{batch, target, true})
	return nil
}

// Measure puts a batch among those whose loss alone is wanted.
func (t *StreamedTraining) Measure(_ context.Context, batch int, target Target) error {
	t.queue = append(t.queue, queued{batch, target, false})
	return nil
}

// state and gradient are the boundaries of f where the student's states at a boundary are, and their gradients: behind the teacher's.
func (t *StreamedTraining) state(l int) int    { return len(t.teacher.Layers) + 1 + l }
func (t *StreamedTraining) gradient(l int) int { return t.state(len(t.m.Layers)+1) + l }

// run computes the batches of the queue.
func (t *StreamedTraining) run(ctx context.Context) (err error) {
	if t.ran || len(t.queue) == 0 {
		return nil
	}
	t.ran = true
	train := t.queue[0].train
	var batches []int
	for _, q := range t.queue {
		if q.train != train {
			return errors.New("model: a step of batches that are trained on and of others")
		}
		batches = append(batches, q.batch)
	}
	defer func() { err = errors.Join(err, t.f.Recorder().Wait(t.ctx)) }()
	defer t.drop()
	last := len(t.m.Layers)
	if err := t.embed(ctx, batches); err != nil {
		return fmt.Errorf("model: %s: embedding: %w", t.m.Name, err)
	}
	if err := t.layersPass(ctx, batches, false); err != nil {
		return err
	}
	if err := t.headPass(ctx, train); err != nil {
		return fmt.Errorf("model: %s: the LM head: %w", t.m.Name, err)
	}
	if !train {
		return nil
	}
	t.f.States().Drop(t.state(last))
	if err := t.layersPass(ctx, batches, true); err != nil {
		return err
	}
	if t.setup.Rank > 0 {
		return nil
	}
	if err := t.embeddingsPass(ctx, batches); err != nil {
		return fmt.Errorf("model: %s: gradients of the embedding: %w", t.m.Name, err)
	}
	return nil
}

// drop forgets all states but the teacher's.
func (t *StreamedTraining) drop() {
	for l := range len(t.m.Layers) + 1 {
		t.f.States().Drop(t.state(l))
		t.f.States().Drop(t.gradient(l))
	}
}

// embed makes what enters the first layer.
func (t *StreamedTraining) embed(ctx context.Context, batches []int) (err error) {
	r, c, top := t.f.Recorder(), t.m.Config, t.sets[len(t.m.Layers)]
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	positions := graph.PutNew(ctx, s, top.weight(arch.Positions))
	if err := s.Err(); err != nil {
		return err
	}
	return t.f.States().Produce(ctx, t.state(0), batches, func(batch int, out op.Tensor) error {
		if err := graph.Embed(ctx, r, c, top.weight(arch.Embed), tokensOf(t.f, batch), out); err != nil {
			return err
		}
		if c.LearnedPositions {
			op.AddPositions(r, out, positions, t.window, arch.PositionOffset)
		}
		return r.Err()
	})
}

// weight is that of a role.
func (s *shelved) weight(r arch.Role) model.Weight { return s.weights[r-s.first] }

// with has a set on the device as it is now while f runs: all of it, or what some leaves; with gradients that are 0.
func (t *StreamedTraining) with(ctx context.Context, set *shelved, of weightSet, f func(x *trained, params []shelvedParameter) error) (err error) {
	r := t.f.Recorder()
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	var params []shelvedParameter
	var plain []parameter
	for _, p := range set.params {
		if !of.weights[p.of].IsZero() {
			params, plain = append(params, p), append(plain, p.parameter)
		}
	}
	x := newTrained(ctx, s, r, of, t.setup, plain, forGradient)
	if err := s.Err(); err != nil {
		return err
	}
	x.zero(r)
	return f(x, params)
}

// keepGradients adds gradients to the norm of all, and keeps them.
func (t *StreamedTraining) keepGradients(ctx context.Context, x *trained, params []shelvedParameter) error {
	r := t.f.Recorder()
	for i, p := range params {
		op.GradNormPart(r, graph.Floats(t.opt.partial, 1, int(t.opt.partial.Size()/4)), p.partial, x.params[i].grad)
	}
	if err := r.Wait(ctx); err != nil {
		return err
	}
	for i, p := range params {
		err := p.pieces(func(begin, end, block int) error {
			return t.shelf.Keep(ctx, block+shelfGrad, x.params[i].grad.RowRange(begin, end).View)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// layersPass takes the batches forward through all layers, or back.
func (t *StreamedTraining) layersPass(ctx context.Context, batches []int, back bool) (err error) {
	r := t.f.Recorder()
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	phase := t.layers(ctx, s, r)
	if err := s.Err(); err != nil {
		return err
	}
	for i := range t.m.Layers {
		l := i
		if back {
			l = len(t.m.Layers) - 1 - i
		}
		set := t.sets[l]
		err := t.with(ctx, set, set.weightSet, func(x *trained, params []shelvedParameter) error {
			if !back {
				return t.layerForward(ctx, phase, l, x, batches)
			}
			if err := t.layerBackward(ctx, phase, l, x, batches); err != nil {
				return err
			}
			return t.keepGradients(ctx, x, params)
		})
		if err != nil {
			return fmt.Errorf("model: %s: layer %d: %w", t.m.Name, l, err)
		}
	}
	return nil
}

func (t *StreamedTraining) layerForward(ctx context.Context, phase layerPhase, l int, w *trained, batches []int) error {
	return t.f.States().Produce(ctx, t.state(l+1), batches, func(batch int, out op.Tensor) error {
		x, err := t.f.States().Tensor(ctx, t.state(l), batch)
		if err != nil {
			return err
		}
		phase.pass.forward(l, 0, w.joined, out, x)
		t.f.Count(run.Runs{All: t.f.Corpus.Batches[batch].Windows()})
		return t.f.Recorder().Err()
	})
}

func (t *StreamedTraining) layerBackward(ctx context.Context, phase layerPhase, l int, w *trained, batches []int) error {
	f := t.f
	one := func(batch int, dx op.Tensor) error {
		x, err := f.States().Tensor(ctx, t.state(l), batch)
		if err != nil {
			return err
		}
		dy, err := f.States().Upload(ctx, f.States().At(t.gradient(l+1)), batch, phase.dy)
		if err != nil {
			return err
		}
		phase.pass.forward(l, 0, w.joined, graph.Floats(phase.out, x.Rows, x.Cols), x)
		phase.pass.backward(l, 0, w.copies, x, w.into(dy, dx))
		f.Count(run.Runs{All: backwardRuns * f.Corpus.Batches[batch].Windows()})
		return f.Recorder().Err()
	}
	if l == 0 && t.setup.Rank > 0 { // nothing wants the gradients of embeddings
		for _, batch := range batches {
			if err := one(batch, op.Tensor{}); err != nil {
				return err
			}
		}
	} else if err := f.States().Produce(ctx, t.gradient(l), batches, one); err != nil {
		return err
	}
	if err := f.Recorder().Wait(ctx); err != nil {
		return err
	}
	f.States().Drop(t.gradient(l + 1))
	f.States().Drop(t.state(l))
	return nil
}

// headPass makes the losses and, to train, the gradients of the states that leave the last layer.
func (t *StreamedTraining) headPass(ctx context.Context, train bool) (err error) {
	f, r, c, last := t.f, t.f.Recorder(), t.m.Config, len(t.m.Layers)
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	phase := t.head(ctx, s, r)
	if err := s.Err(); err != nil {
		return err
	}
	top := t.sets[last]
	return t.with(ctx, top, some(top.weightSet, t.headRoles()), func(w *trained, params []shelvedParameter) error {
		grads := graph.Lens{}
		if train {
			grads = lensOf(c, w.grads)
		}
		record := func(target Target) func(batch int, dx op.Tensor) error {
			return func(batch int, dx op.Tensor) error {
				x, err := f.States().Tensor(ctx, t.state(last), batch)
				if err != nil {
					return err
				}
				y, err := f.States().Upload(ctx, f.States().At(len(t.teacher.Layers)), batch, phase.y)
				if err != nil {
					return err
				}
				loss := graph.Floats(phase.loss, 1, x.Rows)
				against := graph.LensTarget{Y: y, Teacher: phase.teacher, Tau: float32(target.Temperature)}
				phase.logits.Record(r, loss, dx, x, lensOf(c, w.copies), against, grads, float32(1/float64(target.Tokens)))
				t.opt.addLoss(r, loss)
				return r.Err()
			}
		}
		for _, q := range t.queue {
			var err error
			if train {
				err = f.States().Produce(ctx, t.gradient(last), []int{q.batch}, record(q.target))
			} else {
				err = record(q.target)(q.batch, op.Tensor{})
			}
			if err != nil {
				return err
			}
		}
		if !train || t.setup.Rank > 0 {
			return nil
		}
		return t.keepGradients(ctx, w, params)
	})
}

// embeddingsPass makes the gradients of the embedding, which may be the head's too and then has its from there, and of learned positions.
func (t *StreamedTraining) embeddingsPass(ctx context.Context, batches []int) (err error) {
	r, top := t.f.Recorder(), t.sets[len(t.m.Layers)]
	s := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, r.Wait(t.ctx))
		s.Free()
	}()
	ids := newTokenIDs(s, t.rows)
	if err := s.Err(); err != nil {
		return err
	}
	return t.with(ctx, top, some(top.weightSet, embeddingRoles), func(w *trained, params []shelvedParameter) error {
		if t.m.Config.TieWordEmbeddings {
			if err := r.Wait(ctx); err != nil {
				return err
			}
			for i, p := range params {
				if top.first+arch.Role(p.of) != arch.Embed {
					continue
				}
				err := p.pieces(func(begin, end, block int) error {
					return t.shelf.Load(ctx, block+shelfGrad, w.params[i].grad.RowRange(begin, end).View)
				})
				if err != nil {
					return err
				}
			}
		}
		for _, batch := range batches {
			if err := ids.backward(ctx, t.f, t.m.Config, w, t.gradient(0), batch); err != nil {
				return err
			}
		}
		return t.keepGradients(ctx, w, params)
	})
}

// Step computes the batches since Begin and takes the step that they make.
func (t *StreamedTraining) Step(ctx context.Context, clip float64, p op.AdamWParams) (s StepResult, err error) {
	if err := t.run(ctx); err != nil {
		return s, err
	}
	r := t.f.Recorder()
	n := int(t.opt.partial.Size() / 4)
	op.GradNormTotal(r, t.opt.tensor(), graph.Floats(t.opt.partial, 1, n), n, float32(clip))
	if s, err = t.opt.result(ctx, r); err != nil || s.Skipped || s.Done {
		return s, err
	}
	for _, set := range t.sets {
		for _, x := range set.params {
			err := t.eachPiece(ctx, x, func(piece tensors, begin, end, block int) error {
				if err := t.loadPiece(ctx, piece, block, true); err != nil {
					return err
				}
				own := piece.adamW(p)
				own.First = begin / x.weight.DType.Size()
				op.AdamW(r, piece.copy, piece.master, piece.grad, piece.m, piece.v, t.opt.tensor(), own)
				if err := t.keepPiece(ctx, piece, block); err != nil {
					return err
				}
				return r.Device().Download(ctx, x.weight.Data[begin:end], piece.copy.View)
			})
			if err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// Loss computes the batches since Begin and gives their loss.
func (t *StreamedTraining) Loss(ctx context.Context) (float64, error) {
	if err := t.run(ctx); err != nil {
		return 0, err
	}
	control, err := t.opt.read(ctx, t.f.Recorder())
	if err != nil {
		return 0, err
	}
	return float64(control[0]), nil
}

// Gradients computes the batches since Begin and gives the gradients as ModelTraining does.
func (t *StreamedTraining) Gradients(ctx context.Context) (list [][]float32, err error) {
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	for _, set := range t.sets {
		var plain []parameter
		for _, p := range set.params {
			plain = append(plain, p.parameter)
		}
		values, err := set.gradientsOf(plain, t.setup.Rank > 0, func(i int, values []float32) error {
			p := set.params[i]
			return t.eachPiece(ctx, p, func(x tensors, begin, end, block int) error {
				if err := t.shelf.Load(ctx, block+shelfGrad, x.grad.View); err != nil {
					return err
				}
				size := p.weight.DType.Size()
				return graph.Read(ctx, t.f.Recorder().Device(), values[begin/size:end/size], x.grad)
			})
		})
		if err != nil {
			return nil, err
		}
		list = append(list, values...)
	}
	return list, nil
}

// Values are all weights as they are now, as ModelTraining gives them.
func (t *StreamedTraining) Values(ctx context.Context) (list []model.Weight, err error) {
	for l, set := range t.sets {
		if t.setup.Rank > 0 && l < len(t.m.Layers) {
			err = t.with(ctx, set, set.weightSet, func(x *trained, _ []shelvedParameter) error {
				if err := t.f.Recorder().Wait(ctx); err != nil {
					return err
				}
				values, err := x.values(ctx)
				list = append(list, values...)
				return err
			})
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, w := range set.weights {
			var own model.Weight
			if !w.IsZero() {
				if own, err = t.fetch(ctx, w); err != nil {
					return nil, err
				}
			}
			list = append(list, own)
		}
	}
	return list, nil
}

// Save writes the weights and moments for Load, or for that of a ModelTraining.
func (t *StreamedTraining) Save(ctx context.Context, to io.Writer) error {
	return t.eachState(func(p shelvedParameter, kind int) error {
		if kind < 0 {
			_, err := to.Write(p.weight.Data)
			return err
		}
		return t.eachPiece(ctx, p, func(x tensors, _, _, block int) error {
			place := x.state()[1+kind]
			if err := t.shelf.Load(ctx, block+kind, place.View); err != nil {
				return err
			}
			return write(ctx, t.f.Recorder().Device(), to, place)
		})
	})
}

// Load reads what Save wrote, or that of a ModelTraining of the same shapes.
func (t *StreamedTraining) Load(ctx context.Context, from io.Reader) error {
	return t.eachState(func(p shelvedParameter, kind int) error {
		if kind < 0 {
			return readFull(from, p.weight.Data)
		}
		return t.eachPiece(ctx, p, func(x tensors, _, _, block int) error {
			place := x.state()[1+kind]
			if err := read(ctx, t.f.Recorder().Device(), from, place); err != nil {
				return err
			}
			return t.shelf.Keep(ctx, block+kind, place.View)
		})
	})
}

// eachState calls f with all that a step changes, in the order of trained.save: each parameter's weights, −1, and its kinds of blocks.
func (t *StreamedTraining) eachState(f func(p shelvedParameter, kind int) error) error {
	for _, set := range t.sets {
		for _, p := range set.params {
			for _, kind := range []int{-1, shelfMaster, shelfM, shelfV} {
				if err := f(p, kind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Close frees what the training holds.
func (t *StreamedTraining) Close() {
	t.f.Recorder().Wait(t.ctx) // an error is told by whoever waits next
	t.drop()
	t.shelf.Close() // only what vanishes with it could be lost
	t.scope.Free()
	t.release()
}
