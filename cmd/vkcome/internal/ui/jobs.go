package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
)

// job is work that pages watch: one at a time.
type job struct {
	Kind    string        `json:"kind"` // "run", "measure", "export"
	Run     int           `json:"run"`
	State   string        `json:"state"`
	Error   string        `json:"error,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
	Stage   string        `json:"stage"`
	Done    int           `json:"done"`
	Total   int           `json:"total"`
	Seconds float64       `json:"seconds"`
	Memory  string        `json:"memory,omitempty"` // of the device, now
	Tree    []method.Tree `json:"tree,omitempty"`

	began time.Time
	stop  context.CancelFunc
}

// take waits for nothing: who asks for a device while another works is told so.
func (s *Server) take() error {
	select {
	case s.turn <- struct{}{}:
		return nil
	default:
		return refusedf(http.StatusConflict, "something else is going on: wait for it, or stop it")
	}
}

func (s *Server) give() { <-s.turn }

// start begins a job. work reports through its argument; what it returns is the job's end.
func (s *Server) start(kind string, run int, work func(ctx context.Context, report func(f func(j *job))) error, ended func(e end) error) error {
	if err := s.take(); err != nil {
		return err
	}
	if err := s.closeChat(); err != nil { // its models would take memory that the job needs
		s.give()
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	j := &job{Kind: kind, Run: run, State: running, began: time.Now(), stop: stop}
	s.change(func() { s.job = j })
	s.work.Go(func() {
		defer s.give()
		defer stop()
		err := work(ctx, func(f func(j *job)) { s.change(func() { f(j) }) })
		e := s.outcome(ctx, err)
		e.seconds = time.Since(j.began).Seconds()
		if err := ended(e); err != nil {
			e.message = strings.TrimPrefix(e.message+"; what happened could not be kept: "+s.line(err), "; ")
		}
		s.change(func() { j.State, j.Error, j.Seconds, j.Memory = e.state, e.message, e.seconds, "" })
	})
	return nil
}

// end is how a job ended.
type end struct {
	state     string
	message   string // of one that failed: why, and what to do about it here, where there is no command to run again
	resumable bool
	seconds   float64
}

func (s *Server) outcome(ctx context.Context, err error) end {
	left := (*prune.Unfinished)(nil)
	switch {
	case err == nil:
		return end{state: done}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return end{state: stopped, resumable: true}
	case !errors.As(err, &left):
		return end{state: failed, message: s.line(err) + "; change that, and start again"}
	case left.Lasts():
		return end{state: failed, message: s.line(left.Err) + "; change that, and start a new run with another output"}
	}
	return end{state: failed, resumable: true, message: s.line(left.Err) + "; resume goes on from what was done"}
}

// withDevice opens a device and calls f with it.
func (s *Server) withDevice(name string, f func(d *vk.Device) error) error {
	d, err := s.o.Open(cmp.Or(name, s.o.Device))
	if err != nil {
		return err
	}
	return errors.Join(f(d), closeDevice(d))
}

// closeDevice closes a device. What the validation layer said, under VKCOME_VALIDATE=1, is an error too.
func closeDevice(d *vk.Device) error {
	err := d.Close()
	for _, said := range vk.TakeMessages() {
		err = errors.Join(err, fmt.Errorf("validation: %s", said))
	}
	return err
}

// plan says what a run would take.
func (s *Server) plan(r *http.Request) (any, error) {
	sp, err := read[spec](r)
	if err != nil {
		return nil, err
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	defer s.give()
	if err := s.closeChat(); err != nil {
		return nil, err
	}
	var out map[string]any
	err = s.withModel(r.Context(), sp.Model, func(m *model.Model) error {
		p, err := s.newPlan(r.Context(), m, sp)
		if err != nil {
			return err
		}
		return s.withDevice(sp.Device, func(d *vk.Device) error {
			pred, err := p.Predict(r.Context(), d)
			if err != nil {
				return err
			}
			out = map[string]any{"method": pred.Method, "device": vk.Bytes(pred.DeviceBytes), "host": vk.Bytes(pred.HostBytes), "seconds": pred.Seconds, "windows": pred.Windows, "window": pred.Window}
			return nil
		})
	})
	return out, err
}

// run begins a run.
func (s *Server) run(r *http.Request) (any, error) {
	sp, err := read[spec](r)
	if err != nil {
		return nil, err
	}
	if sp.Model, err = s.canonical(sp.Model); err != nil {
		return nil, err
	}
	if sp.Text, err = s.textPath(sp.Text); err != nil {
		return nil, err
	}
	if sp.Out, err = s.paths.output(sp.Out); err != nil {
		return nil, err
	}
	if convert.IsGGUF(sp.Out) {
		return nil, errors.New("the output is a folder: a GGUF is exported from it afterwards")
	}
	switch err := prune.CheckOutput(sp.Out, sp.Model, false); {
	case errors.Is(err, prune.ErrExists):
		return nil, fmt.Errorf("%s is there already: choose another name", sp.Out)
	case err != nil:
		return nil, err
	}
	if _, err := os.Lstat(prune.DefaultWork(sp.Out)); err == nil {
		return nil, fmt.Errorf("%s has the work of an unfinished run: resume that, or choose another name", sp.Out)
	}
	rec := record{Spec: sp, State: running}
	if err := s.withModel(r.Context(), sp.Model, func(m *model.Model) error {
		rec.Name, rec.Originals = m.Name, len(m.Layers)
		if sp.Layers < 1 || sp.Layers >= len(m.Layers) {
			return fmt.Errorf("%s has %d layers: choose from 1 to %d to be left, not %d", m.Name, len(m.Layers), len(m.Layers)-1, sp.Layers)
		}
		by, _, err := sp.how(m, 0)
		if err == nil {
			rec.Method = by.Name()
		}
		return err
	}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	for _, k := range s.kept.Runs {
		rec.ID = max(rec.ID, k.ID)
	}
	rec.ID++
	s.mu.Unlock()
	return map[string]int{"id": rec.ID}, s.begin(rec, false)
}

// named is the run that a request names, which has to be in a state unless that is empty.
func (s *Server) named(r *http.Request, state string) (record, error) {
	in, err := read[struct {
		ID int `json:"id"`
	}](r)
	if err != nil {
		return record{}, err
	}
	return s.runByID(in.ID, state)
}

// resume goes on with a run that was stopped, or failed on the way.
func (s *Server) resume(r *http.Request) (any, error) {
	rec, err := s.named(r, "")
	if err != nil {
		return nil, err
	}
	if !rec.Resumable {
		return nil, fmt.Errorf("run %d is %s, and cannot be resumed", rec.ID, rec.State)
	}
	if rec.Spec.Out, err = s.paths.output(rec.Spec.Out); err != nil {
		return nil, err
	}
	return map[string]int{"id": rec.ID}, s.begin(rec, true)
}

// begin starts a run's job.
func (s *Server) begin(rec record, resumed bool) error {
	before := rec.Seconds
	rec.State, rec.Error, rec.Resumable = running, "", false
	put := func() error { // once the job has its turn
		var err error
		s.change(func() {
			if r := s.kept.find(rec.ID); r != nil {
				*r = rec
			} else {
				s.kept.Runs = append(s.kept.Runs, rec)
				s.kept.Runs = s.kept.Runs[max(0, len(s.kept.Runs)-maxRuns):]
			}
			err = s.save()
		})
		return err
	}
	return s.start("run", rec.ID, func(ctx context.Context, report func(func(j *job))) error {
		if err := put(); err != nil {
			return err
		}
		return s.prune(ctx, rec, resumed, report)
	}, func(e end) error {
		return s.amend(rec.ID, func(r *record) {
			r.State, r.Error, r.Resumable, r.Seconds = e.state, e.message, e.resumable, before+e.seconds
		})
	})
}

// prune carries a run out.
func (s *Server) prune(ctx context.Context, rec record, resumed bool, report func(func(j *job))) error {
	stage := func(text string) {
		report(func(j *job) { j.Stage, j.Done, j.Total = text, 0, 0 })
	}
	stage("read the model and the text")
	return s.withModel(ctx, rec.Spec.Model, func(m *model.Model) error {
		p, err := s.newPlan(ctx, m, rec.Spec)
		if err != nil {
			return err
		}
		stage("open the device")
		return s.withDevice(rec.Spec.Device, func(d *vk.Device) error {
			to := prune.Output{Dir: rec.Spec.Out, Resume: resumed, Saving: s.o.Saving, Note: func(line string) {
				report(func(j *job) { j.Notes = append(slices.Clip(j.Notes), s.o.Message(line)) })
			}}
			lineage, err := p.RunTo(ctx, d, to, func(now prune.Status) {
				memory := vk.Bytes(d.Memory().Used)
				report(func(j *job) {
					j.Stage, j.Done, j.Total, j.Memory = now.Stage, now.Done, now.Total, memory
					if now.Tree != nil {
						j.Tree = now.Tree
					}
				})
			})
			if err != nil {
				return err
			}
			depth := prune.Depths(m)[len(m.Layers)-len(lineage.Tree)]
			report(func(j *job) { j.Tree = lineage.Tree })
			return s.amend(rec.ID, func(r *record) { r.Tree, r.Parameters, r.Bytes = lineage.Tree, depth.Parameters, depth.Bytes })
		})
	})
}

// stop ends the job that runs.
func (s *Server) stop(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job == nil || s.job.State != running {
		return nil, refusedf(http.StatusConflict, "nothing is running")
	}
	s.job.stop()
	return struct{}{}, nil
}

// measure takes the perplexity of runs and of the models that they were made of, on one text.
func (s *Server) measure(r *http.Request) (any, error) {
	in, err := read[struct {
		Text   string `json:"text"`
		Device string `json:"device"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Text, err = s.textPath(in.Text); err != nil {
		return nil, err
	}
	s.mu.Lock()
	var list []record
	for _, k := range s.kept.Runs {
		if k.State == done && !slices.ContainsFunc(k.Perplexity, func(p measured) bool { return p.Text == in.Text }) {
			list = append(list, k)
		}
	}
	s.mu.Unlock()
	if len(list) == 0 {
		return nil, refusedf(http.StatusConflict, "every finished run has a figure on this text")
	}
	return struct{}{}, s.start("measure", 0, func(ctx context.Context, report func(func(j *job))) error {
		return s.withDevice(in.Device, func(d *vk.Device) error {
			originals := map[string]float64{}
			one := func(name, stage string) (p float64, err error) {
				err = s.withModel(ctx, name, func(m *model.Model) error {
					windows, _, err := s.windows(ctx, m, in.Text, true)
					if err != nil {
						return err
					}
					got, err := eval.RunPerplexity(ctx, d, m, windows, func(done, total int) {
						memory := vk.Bytes(d.Memory().Used)
						report(func(j *job) { j.Stage, j.Done, j.Total, j.Memory = stage, done, total, memory })
					})
					if err == nil {
						p = got.Perplexity
					}
					return err
				})
				return p, err
			}
			for _, k := range list {
				was, known := originals[k.Spec.Model]
				if !known {
					if was, err = one(k.Spec.Model, "measure "+k.Name); err != nil {
						return err
					}
					originals[k.Spec.Model] = was
				}
				now, err := one(k.Spec.Out, "measure "+filepath.Base(k.Spec.Out))
				if err != nil {
					return err
				}
				if err := s.amend(k.ID, func(r *record) { r.Perplexity = append(slices.Clip(r.Perplexity), measured{in.Text, was, now}) }); err != nil {
					return err
				}
			}
			return nil
		})
	}, func(end) error { return nil })
}

// export writes a run's model as a GGUF file beside its folder.
func (s *Server) export(r *http.Request) (any, error) {
	in, err := read[struct {
		ID   int    `json:"id"`
		Type string `json:"type"`
	}](r)
	if err != nil {
		return nil, err
	}
	rec, err := s.runByID(in.ID, done)
	if err != nil {
		return nil, err
	}
	out, err := s.paths.output(rec.Spec.Out + ".gguf")
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.start("export", rec.ID, func(ctx context.Context, report func(func(j *job))) error {
		return s.withModel(ctx, rec.Spec.Out, func(m *model.Model) error {
			o := convert.Options{
				Progress: func(done, total int64) {
					report(func(j *job) { j.Stage, j.Done, j.Total = "write the GGUF", int(done>>10), int(total>>10) }) // in KiB
				},
				Note: func(line string) {
					report(func(j *job) { j.Notes = append(slices.Clip(j.Notes), s.o.Message(line)) })
				},
			}
			var err error
			if o.Type, err = convert.TypeFor(m, out, in.Type); err != nil {
				return err
			}
			if _, err = convert.To(ctx, m, out, o); err != nil {
				return err
			}
			return s.amend(rec.ID, func(r *record) { r.GGUF = out })
		})
	}, func(end) error { return nil })
}

// open shows the folder of a finished run on the desktop.
func (s *Server) open(r *http.Request) (any, error) {
	rec, err := s.named(r, done)
	if err != nil {
		return nil, err
	}
	path, err := s.paths.existing(rec.Spec.Out)
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.o.Show(path)
}

// forget takes a run off the list. Its files stay.
func (s *Server) forget(r *http.Request) (any, error) {
	rec, err := s.named(r, "")
	if err != nil {
		return nil, err
	}
	if rec.State == running {
		return nil, refusedf(http.StatusConflict, "run %d is going on: stop it first", rec.ID)
	}
	s.change(func() {
		s.kept.Runs = slices.DeleteFunc(s.kept.Runs, func(k record) bool { return k.ID == rec.ID })
		err = s.save()
	})
	return struct{}{}, err
}
