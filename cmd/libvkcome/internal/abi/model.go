package abi

import (
	"context"
	"encoding/json"
	"errors"
	"path"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/named"
	"github.com/vkcome/vkcome/prune"
)

// opened is an open model.
type opened struct{ *model.Model }

// networked is what requests say of the hub.
type networked struct {
	Offline bool `json:"offline"`
}

// hub is where names are looked up.
func (n networked) hub(t *teller) hub.Hub {
	return hub.Hub{Offline: n.Offline, Progress: func(file string, done, total int64) {
		t.tell(progressEvent{Stage: "fetch " + path.Base(file), Done: done, Total: total})
	}}
}

// OpenModel opens a model by its name.
func (l *Library) OpenModel(of, options string, w Watch) (Handle, error) {
	var in networked
	if err := errors.Join(name("the name of the model", of), decode(options, &in)); err != nil {
		return 0, err
	}
	var m *model.Model
	err := l.run(w, func(ctx context.Context, t *teller) (err error) {
		m, err = named.Open(ctx, of, in.hub(t))
		return err
	})
	if err != nil {
		return 0, fail(Model, err)
	}
	return l.add(&opened{m}), nil
}

// InspectModel says what a model's files say, as JSON.
func (l *Library) InspectModel(h Handle) ([]byte, error) {
	m, release, err := use[*opened](l, h)
	if err != nil {
		return nil, err
	}
	defer release()
	out, err := prune.Inspect(m.Model)
	if err == nil {
		err = m.Unchanged()
	}
	if err != nil {
		return nil, fail(Model, err)
	}
	return json.Marshal(out)
}

// CloseModel closes a model that nothing uses.
func (l *Library) CloseModel(h Handle) error {
	m, err := remove[*opened](l, h)
	if err != nil {
		return err
	}
	return fail(IO, m.Close())
}
