package shards_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/lsq"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/refit/shards"
	"github.com/vkcome/vkcome/prune/work"
)

// options are those of a part of a fit of no tokens: what parts exchange of sums that are not 0 is a test of package prune.
func options(dir string, part, parts int) shards.Options {
	return shards.Options{Dir: filepath.Join(dir, "shared"), Part: part, Parts: parts, Key: []work.Field{{Name: "the text", Value: "one"}}, Tokens: func(int) (int, int) { return 0, 0 }}
}

// layer has a projection of 3 rows and 2 columns with these values, and its bias.
func layer(values byte) *model.Layer {
	var weights [arch.LayerRoles]model.Weight
	weights[arch.Down] = model.Weight{Name: "down.weight", DType: dtype.BF16, Rows: 3, Cols: 2, Data: slices.Repeat([]byte{values}, 12)}
	weights[arch.DownBias] = model.Weight{Name: "down.bias", DType: dtype.BF16, Rows: 1, Cols: 3, Data: slices.Repeat([]byte{values}, 6)}
	return model.NewLayer(weights[:])
}

// round is a fit whose solution is a layer of fives.
func round(number int, taken bool) refit.Round {
	fit := refit.Fit{Layer: 4, Boundary: 7, Projection: "mlp.down_proj"}
	shape := lsq.Shape{In: 2, Out: 3, Bias: true}
	return refit.Round{Fit: fit, Number: number, Layer: layer(1), Role: arch.Down,
		Sums: func(context.Context) (fitted, held *lsq.Equations, err error) {
			return lsq.NewEquations(shape), lsq.NewEquations(shape), nil
		},
		Solve: func(context.Context, *lsq.Equations, *lsq.Equations) (*model.Layer, refit.Fit, error) {
			done := fit
			done.Lambda, done.Before, done.After, done.Taken = 0.3, 1.5, 0.1, taken
			if !taken {
				return nil, done, nil
			}
			return layer(5), done, nil
		}}
}

func open(t *testing.T, o shards.Options) *shards.Folder {
	t.Helper()
	f, err := shards.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closed(t *testing.T, f *shards.Folder) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFit has two parts go through a fit that is taken and one that is not: both have what part 0 made, and the sums are gone. A part that
// comes later has it from the folder alone, and Remove leaves nothing.
func TestFit(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, options(dir, 0, 2)), open(t, options(dir, 1, 2))
	for number, taken := range []bool{true, false} {
		var wait sync.WaitGroup
		for _, f := range []*shards.Folder{one, two} {
			wait.Go(func() {
				made, fit, err := f.Fit(t.Context(), round(number, taken))
				if err != nil || fit.Taken != taken || fit.After != 0.1 || (made != nil) != taken {
					t.Errorf("%v, %+v, %v", made, fit, err)
					return
				}
				if want := layer(5); taken && fmt.Sprint(made.Weights) != fmt.Sprint(want.Weights) {
					t.Errorf("the layer is %v, want %v", made.Weights, want.Weights)
				}
			})
		}
		wait.Wait()
	}
	closed(t, two)
	two = open(t, options(dir, 1, 2))
	r := round(0, true)
	r.Sums = nil // which are not asked for
	if made, _, err := two.Fit(t.Context(), r); err != nil || made == nil {
		t.Error(made, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "shared", "sums-*")); err != nil || len(left) > 0 {
		t.Errorf("sums of what is done stay: %v, %v", left, err)
	}
	closed(t, one)
	closed(t, two)
	if err := shards.Remove(options(dir, 0, 2).Dir, []work.Field{{Name: "the text", Value: "two"}}); !errors.Is(err, shards.ErrDifferent) {
		t.Errorf("removing the folder of another fit: %v", err)
	}
	for range 2 {
		if err := shards.Remove(options(dir, 0, 2).Dir, options(dir, 0, 2).Key); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestGone removes the folder under a part that waits, and before one that asks. A part that left nothing leaves no folder either.
func TestGone(t *testing.T) {
	dir := t.TempDir()
	o := options(dir, 1, 2)
	o.Waiting = func(what string, missing []int) {
		if what != "the fit of layer 4" || fmt.Sprint(missing) != "[0]" {
			t.Errorf("waits for %s from %v", what, missing)
		}
		if err := shards.Remove(o.Dir, o.Key); err != nil {
			t.Error(err)
		}
	}
	f := open(t, o)
	for range 2 {
		if _, _, err := f.Fit(t.Context(), round(0, true)); !errors.Is(err, shards.ErrGone) {
			t.Errorf("the folder is gone: %v", err)
		}
	}
	closed(t, f)
	closed(t, open(t, options(dir, 0, 2)))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestFits has files of fits that part 0 did not write, and takes none of them.
func TestFits(t *testing.T) {
	dir := t.TempDir()
	f := open(t, options(dir, 0, 1))
	if _, _, err := f.Fit(t.Context(), round(0, true)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "shared", "fit-000004-0")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, want string, text []byte, r refit.Round) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		made, _, err := f.Fit(t.Context(), r)
		if made != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "; remove it and start part 0 again") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want an error with %q: %v", what, want, err)
		}
	}
	for n := range good {
		refused("cut", path+": ", good[:n], round(0, true))
		bad := slices.Clone(good)
		bad[n] ^= 4
		refused("changed", path+": ", bad, round(0, true))
	}
	refused("longer", "bytes behind its end", append(slices.Clone(good), 0), round(0, true))
	other := round(0, true)
	other.Fit.Boundary++
	refused("of another boundary", "is of another fit", good, other)
	other = round(0, true)
	other.Fit.Projection = "self_attn.o_proj"
	refused("of another projection", "is of another fit", good, other)
	closed(t, f)
}

// TestFaults lets each step of writing fail for both parts: none leaves a file of a name that counts which is not whole, and a second try works.
func TestFaults(t *testing.T) {
	defer func() { files.Fault = nil }()
	const steps = 80
	failed := 0
	for n := 1; n <= steps; n++ {
		dir := t.TempDir()
		count := 0
		var mu sync.Mutex
		files.Fault = func(string, string) error {
			mu.Lock()
			defer mu.Unlock()
			if count++; count == n {
				return syscall.EIO
			}
			return nil
		}
		run := func(part int, ctx context.Context) error {
			f, err := shards.Open(options(dir, part, 2))
			if err != nil {
				return err
			}
			defer closed(t, f)
			_, _, err = f.Fit(ctx, round(0, true))
			return err
		}
		two := func() error { // part 1 leaves its sums, part 0 the fit, which part 1 then takes
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := run(1, ctx); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if err := run(0, t.Context()); err != nil {
				return err
			}
			return run(1, t.Context())
		}
		err := two()
		if err != nil {
			if failed++; !errors.Is(err, syscall.EIO) {
				t.Fatalf("step %d fails: %v", n, err)
			}
			if err := two(); err != nil {
				t.Errorf("after step %d failed: %v", n, err)
			}
		}
		if left, err := filepath.Glob(filepath.Join(dir, "shared", "*.tmp")); err != nil || len(left) > 0 {
			t.Errorf("step %d: left behind: %v, %v", n, left, err)
		}
	}
	if failed < 20 || failed == steps {
		t.Errorf("%d of %d faults ended a part: the test shows nothing", failed, steps)
	}
}

// FuzzFolder puts bytes in the place of each kind of file that another part leaves. What is read of them is an error in one line, or what that part
// would have written.
func FuzzFolder(f *testing.F) {
	dir := f.TempDir()
	seed := func(pattern string) []byte {
		found, err := filepath.Glob(filepath.Join(dir, "shared", pattern))
		if err != nil || len(found) != 1 {
			f.Fatal(found, err)
		}
		raw, err := os.ReadFile(found[0])
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	ctx, cancel := context.WithCancel(f.Context())
	o := options(dir, 1, 2)
	o.Waiting = func(string, []int) { cancel() }
	two, err := shards.Open(o)
	if err == nil {
		_, _, err = two.Fit(ctx, round(0, true))
	}
	if !errors.Is(err, context.Canceled) {
		f.Fatal(err)
	}
	f.Add(byte(0), seed("part-*.json"))
	f.Add(byte(1), seed("sums-*"))
	one, err := shards.Open(options(dir, 0, 2))
	if err == nil {
		_, _, err = one.Fit(f.Context(), round(0, true))
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(2), seed("fit-*"))
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		dir := t.TempDir()
		name, part := "part-000000.json", 1
		switch kind % 3 {
		case 1:
			name, part = "sums-000004-0-000001", 0
		case 2:
			name = "fit-000004-0"
		}
		shared := filepath.Join(dir, "shared")
		if err := errors.Join(os.Mkdir(shared, 0o755), os.WriteFile(filepath.Join(shared, name), raw, 0o644)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := options(dir, part, 2)
		o.Waiting = func(string, []int) { cancel() }
		f, err := shards.Open(o)
		if err == nil {
			defer closed(t, f)
			_, _, err = f.Fit(ctx, round(0, true))
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000) {
			t.Errorf("%q", err)
		}
	})
}
