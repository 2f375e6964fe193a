package prune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/refit/shards"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/prune/work"
)

// SharedFolder is the folder in which the processes that share a fit meet, beside the work folder of part 0 and with its name. Part 0 removes it
// at the end.
func (o Output) SharedFolder() string { return o.defaults().Work + "-shards" }

// runShard does a part of a fit: part 0 as a run of its own, which waits for the others' sums.
func (t *refitting) runShard(ctx context.Context) (l *Lineage, err error) {
	d := t.driver
	if d.output.AnyDevice {
		return nil, errors.New("prune: parts of a fit run on devices of one kind (prune.Output.AnyDevice)")
	}
	if t.plan.Options.Shard > 0 {
		l, err = t.follow(ctx)
		return l, t.unfinished(err)
	}
	if l, err = d.write(ctx); err != nil {
		return nil, t.unfinished(err)
	}
	if err := shards.Remove(d.output.SharedFolder(), t.sharedKey()); err != nil {
		d.output.Note(fmt.Sprintf("%s is finished, and its shared folder stays: %v", d.output.Dir, err))
	}
	return l, nil
}

// follow does another part than 0.
func (t *refitting) follow(ctx context.Context) (*Lineage, error) {
	d := t.driver
	if err := d.hash(ctx); err != nil {
		return nil, err
	}
	if d.output.Resume {
		if l, err := d.finished(); err != nil || l != nil {
			return l, err
		}
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	r, err := d.run(ctx)
	if errors.Is(err, shards.ErrGone) {
		if l, finished := d.finished(); finished != nil || l != nil {
			return l, finished
		}
	}
	if err != nil {
		return nil, err
	}
	return &r.Lineage, r.Close()
}

// unfinished adds to an error how to go on, if the part was begun.
func (t *refitting) unfinished(err error) error {
	if err == nil || t.shared == nil || errors.As(err, new(*Unfinished)) {
		return err
	}
	dir := t.driver.output.SharedFolder()
	if _, gone := os.Stat(dir); gone != nil {
		return err
	}
	return &Unfinished{Err: err, Work: dir}
}

// sharedKey is what all parts have to have in common.
func (t *refitting) sharedKey() []work.Field {
	fields, _ := t.key()
	return append(slices.Clip(fields), work.Field{Name: "the number of parts", Value: fmt.Sprint(t.plan.Options.Shards)})
}

// toldFirst and toldLater are after how long a part that waits says so in a line, and again.
const (
	toldFirst = 30 * time.Second
	toldLater = 10 * time.Minute
)

// join takes hold of the part in the shared folder and gives its windows.
func (t *refitting) join(ctx context.Context) (windows [][]uint32, err error) {
	o, d := t.plan.Options, t.driver
	windows, first, err := score.Shard(o.Windows, o.Shard, o.Shards)
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	_, names := t.key()
	var what string // it waits for
	var next time.Time
	options := shards.Options{
		Dir: d.output.SharedFolder(), Part: o.Shard, Parts: o.Shards, Key: t.sharedKey(), Names: names, Wait: o.Wait, Tokens: t.tokens, Saving: d.output.Saving,
		Waiting: func(now string, missing []int) {
			from := shards.Parts(missing, o.Shards)
			d.progress(Status{Stage: fmt.Sprintf("wait for %s from %s", now, from), Done: o.Shards - len(missing), Total: o.Shards})
			switch {
			case now != what:
				what, next = now, time.Now().Add(toldFirst)
			case time.Now().After(next):
				next = time.Now().Add(toldLater)
				d.output.Note(fmt.Sprintf("waiting for %s from %s", now, from))
			}
		},
	}
	err = d.output.patiently(ctx, func() (err error) {
		t.shared, err = shards.Open(options)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	if o.Shard > 0 && (d.output.Resume || !d.output.Force) { // part 0 may have ended just before, and the folder is a new one
		if l, err := d.finished(); err != nil || l != nil {
			return nil, joined(err, fmt.Errorf("prune: %s %w", d.output.SharedFolder(), shards.ErrGone))
		}
	}
	t.state.Shard = &refit.Shard{First: first, Rounds: t.shared}
	return windows, nil
}

// tokens are those of a part's windows, to fit and held out.
func (t *refitting) tokens(part int) (fitted, held int) {
	o := t.plan.Options
	windows, first, err := score.Shard(o.Windows, part, o.Shards)
	if err != nil {
		return 0, 0 // of no part: NewRefitting checks that there are all
	}
	fit := o.Refit.Defaults()
	for i, w := range windows {
		if fit.Holds(first + i) {
			held += len(w)
		} else {
			fitted += len(w)
		}
	}
	return fitted, held
}
