package states_test

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// TestStatesAnywhere keeps all states on the device, in host memory, in files, and some in each: the bits are the same, and no file is left.
func TestStatesAnywhere(t *testing.T) {
	spec := modeltest.Spec{Hidden: 100, Intermediate: 48, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 300, Context: 64, DType: dtype.BF16}
	m, _ := spec.Open(t)
	windows := modeltest.Windows(300, 30, 33)
	for _, staging := range []bool{false, true} {
		var want [][]byte
		for _, c := range []struct {
			name    string
			device  int64
			limit   int64 // of host memory; 0: unbounded
			spilled bool
		}{{"device", 0, 0, false}, {"host", 2200 << 10, 0, false}, {"files", 2200 << 10, -1, true}, {"host and files", 2200 << 10, -600_000, true}} {
			d := vktest.Open(t, vk.Options{MaxMemory: c.device, Staging: staging})
			dir := t.TempDir()
			host := &states.HostMemory{Dir: dir}
			if c.limit < 0 { // beside what a run needs at least
				host.Limit = math.MaxInt64
				f, err := run.NewWith(d, m, windows, run.Options{BatchTokens: 66, Host: host})
				if err != nil {
					t.Fatal(err)
				}
				s := host.Stats()
				host.Limit = s.Base + s.Reserved - c.limit
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			f, err := run.NewWith(d, m, windows, run.Options{BatchTokens: 66, Host: host})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Embed(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			for l := range m.Layers {
				if err := f.Layer(t.Context(), m, l, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.LayerOn(t.Context(), m, 1, []int{2, 0}, nil); err != nil { // once more, out of order
				t.Fatal(err)
			}
			var got [][]byte
			for l := range len(m.Layers) + 1 {
				err := f.States().Visit(t.Context(), l, func(_ int, x op.Tensor) error {
					raw := make([]byte, x.Size())
					got = append(got, raw)
					return d.Download(t.Context(), raw, x.View)
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			loss, err := f.Loss(t.Context(), m)
			if err != nil || len(loss) != len(windows) {
				t.Errorf("%s: %d losses, %v", c.name, len(loss), err)
			}
			if want == nil {
				want = got
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("staging %v, %s: states %d differ from those on the device", staging, c.name, i)
				}
			}
			s := host.Stats()
			if (s.Spilled > 0) != c.spilled || (s.Disk > 0) != c.spilled {
				t.Errorf("%s: %+v", c.name, s)
			}
			if (s.States > 0) != (c.name == "host" || c.name == "host and files") {
				t.Errorf("%s: %d bytes of states in host memory", c.name, s.States)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if s := host.Stats(); s.States != 0 || s.Disk != 0 || s.Reserved != 0 {
				t.Errorf("%s: after Close %+v", c.name, s)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
				t.Errorf("%s: files are left: %v %v", c.name, list, err)
			}
		}
	}
}

// TestSpillErrors has a folder that is not there, a disk that is full (RLIMIT_FSIZE stands for it), and each step of writing fail once.
func TestSpillErrors(t *testing.T) {
	spec := modeltest.Spec{Hidden: 100, Intermediate: 48, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 300, Context: 64, DType: dtype.BF16}
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{MaxMemory: 1200 << 10})
	windows := modeltest.Windows(300, 40, 33)
	ended := func(dir string) error {
		host := &states.HostMemory{Dir: dir, Limit: math.MaxInt64}
		probe, err := run.NewWith(d, m, windows, run.Options{BatchTokens: 66, Host: host})
		if err != nil {
			t.Fatal(err)
		}
		s := host.Stats()
		host.Limit = s.Base + s.Reserved
		if err := probe.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := run.NewWith(d, m, windows, run.Options{BatchTokens: 66, Host: host})
		if err != nil {
			t.Fatal(err)
		}
		err = f.Run(t.Context(), m, nil)
		if err == nil {
			_, err = f.Loss(t.Context(), m)
		}
		closed := f.Close()
		if closed != nil && !errors.Is(closed, filestest.Err) {
			t.Error(closed)
		}
		return cmp.Or(err, closed)
	}
	if err := ended("/no/such/folder"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/folder") {
		t.Errorf("a folder that is not there: %v", err)
	}
	dir := t.TempDir()
	onFullDisk(t, func() error { return ended(dir) })
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("files are left: %v %v", list, err)
	}
	steps := filestest.EachStep(t, func() error { return ended(dir) }, func(step string, err error) {
		if !errors.Is(err, filestest.Err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", step, err)
		}
	})
	t.Logf("%d steps", steps)
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 || steps < 10 {
		t.Errorf("after %d faults, files are left: %v %v", steps, list, err)
	}
	host := &states.HostMemory{Limit: 1 << 20}
	if _, err := run.NewWith(d, m, windows, run.Options{Host: host}); err == nil || !strings.Contains(err.Error(), "use a larger states.HostMemory.Limit") {
		t.Errorf("a limit of 1 MiB: %v", err)
	}
}

// TestLayerStoreOrigins: a layer that went to a file still says whose weights it has, so that what is kept of it serves.
func TestLayerStoreOrigins(t *testing.T) {
	spec := modeltest.Spec{Hidden: 24, Intermediate: 48, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 12, Vocab: 50, Context: 64, DType: dtype.BF16}
	m, _ := spec.Open(t)
	made := m.Layers[0].With(map[arch.Role]model.Weight{arch.Down: m.Layers[0].Weights[arch.Down]})
	for _, host := range []*states.HostMemory{nil, {Limit: 1 << 40, Dir: t.TempDir()}} {
		store := &states.LayerStore{Host: host}
		kept, err := store.Keep(made)
		if err != nil {
			t.Fatal(err)
		}
		if (kept == made) != (host == nil) {
			t.Errorf("bound %v: kept in memory: %v", host, kept == made)
		}
		for role := range arch.LayerRoles {
			if kept.Origins()[role] != made.Origins()[role] {
				t.Errorf("bound %v: another origin of role %d", host, role)
			}
			if same := made.Origins()[role] == m.Layers[0].Origins()[role]; same != (role != arch.Down) {
				t.Errorf("role %d: the origin of the layer it was made of: %v", role, same)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
