package op

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// eachTunable runs f on every device at the baseline tier, where each runs tiles, with a cache folder of its own.
func eachTunable(t *testing.T, f func(t *testing.T, d *vk.Device)) {
	infos, err := vk.Devices()
	if err != nil || len(infos) == 0 {
		t.Fatal(err, "no device")
	}
	for _, info := range infos {
		t.Run(info.Name, func(t *testing.T) {
			tier := vk.Baseline
			d, err := vk.Open(vk.Options{Device: info.UUID, MaxTier: &tier, CacheDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				vktest.Clean(t)
			})
			if d.Info.Has(vk.QuarterRegisters) {
				t.Skip("registers hold one tile, and there is nothing to tune")
			}
			f(t, d)
		})
	}
}

// of is a tuning with these choices for products of F16 weights by linear.comp.
func tuningOf(d *vk.Device, choices ...TuneChoice) *Tuning {
	t := newTuning(d)
	for _, c := range choices {
		c.Shader, c.DType = "linear", "F16"
		t.Choices = append(t.Choices, c)
	}
	return t
}

// TestTuned: the nearest point's tile is taken and gives the default's bits, one that is unknown is not.
func TestTuned(t *testing.T) {
	eachTunable(t, func(t *testing.T, d *vk.Device) {
		const tokens, out, in = 70, 100, 32
		x, w := random(tokens, in), random(out, in)
		dx, dw := Tensor{Rows: tokens, Cols: in}, Tensor{DType: dtype.F16, Rows: out, Cols: in}
		run := func() []float32 { return newBench(t, d).linear(x, w, random(1, out), dtype.F16) }
		family := linearFamily(d, dx, dw, Fused{})
		if len(family) < 2 {
			t.Fatalf("%d tiles", len(family))
		}
		byDefault, want := linearWay(d, dx, dw, Fused{}).tile, run()
		for _, k := range family {
			far := TuneChoice{TunePoint: TunePoint{8 * tokens, out, in}, Tile: byDefault}
			near := TuneChoice{TunePoint: TunePoint{tokens, 2 * out, in}, Tile: k.tile}
			tuningOf(d, far, near).Use(d)
			if got := linearWay(d, dx, dw, Fused{}).tile; got != k.tile {
				t.Errorf("tile %v, tuned for %v", got, k.tile)
			}
			if got := run(); !slices.Equal(got, want) {
				t.Errorf("tile %v gives other bits than %v", k.tile, byDefault)
			}
			// Gate and up are two matrices of out rows each: exactly the nearer point.
			if got := linearWay(d, dx, dw, Fused{Up: dw}).tile; got != k.tile {
				t.Errorf("with up: tile %v, tuned for %v", got, k.tile)
			}
			for name, other := range map[string]Tensor{"F32": {DType: dtype.F32, Rows: out, Cols: in}, "BF16": {DType: dtype.BF16, Rows: out, Cols: in}} {
				if got := linearWay(d, dx, other, Fused{}).tile; got != byDefault {
					t.Errorf("%s: tile %v of a tuning for F16", name, got)
				}
			}
		}
		if got := linearWay(d, Tensor{Rows: 1, Cols: in}, dw, Fused{}).shader; got != "linear_vec" {
			t.Errorf("one token by %s", got)
		}
		for name, tuning := range map[string]*Tuning{
			"unknown tile": tuningOf(d, TuneChoice{TunePoint: TunePoint{tokens, out, in}, Tile: Tile{1, 2, 3, 4, 5}}), "no choice": tuningOf(d), "nil": nil,
		} {
			tuning.Use(d)
			if got := linearWay(d, dx, dw, Fused{}).tile; got != byDefault {
				t.Errorf("%s: tile %v, want the default %v", name, got, byDefault)
			}
		}
	})
}

// TestTuningFile: a tuning is there after it was saved, and a file that is not this device's, or damaged, is none.
func TestTuningFile(t *testing.T) {
	eachTunable(t, func(t *testing.T, d *vk.Device) {
		if got := TuningOf(d); got != nil {
			t.Fatalf("a new cache folder holds %v", got)
		}
		saved := tuningOf(d, TuneChoice{TunePoint: TunePoint{32, 64, 128}, Tile: Tile{32, 64, 4, 8}, GFlops: 2, Default: Tile{64, 64, 4, 8}, DefaultGFlops: 1})
		if err := saved.Save(d); err != nil {
			t.Fatal(err)
		}
		if got := loadTuning(d); !reflect.DeepEqual(got, saved) || !reflect.DeepEqual(TuningOf(d), saved) {
			t.Errorf("%+v in the file, %+v in use, want %+v", got, TuningOf(d), saved)
		}
		file, err := os.ReadFile(TuningFile(d))
		if err != nil {
			t.Fatal(err)
		}
		for name, damaged := range map[string]string{
			"empty": "", "cut": string(file[:len(file)/2]), "no JSON": tuningMagic, "changed": strings.Replace(string(file), "[32,", "[64,", 1),
			"another release": "VKCOMET0" + string(file[8:]),
		} {
			if err := os.WriteFile(TuningFile(d), []byte(damaged), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := loadTuning(d); got != nil {
				t.Errorf("%s: %+v", name, got)
			}
		}
		for name, change := range map[string]func(*Tuning){
			"device": func(o *Tuning) { o.UUID = "0" }, "driver": func(o *Tuning) { o.Driver += "x" }, "version": func(o *Tuning) { o.DriverVersion += "x" },
			"point": func(o *Tuning) { o.Choices = []TuneChoice{{}} },
		} {
			other := *saved
			change(&other)
			if err := other.Save(d); err != nil {
				t.Fatal(err)
			}
			if got := loadTuning(d); got != nil {
				t.Errorf("another %s: %+v", name, got)
			}
		}

		// Choices for shaders that were not measured this time stay, those for one that was go.
		if err := saved.Save(d); err != nil {
			t.Fatal(err)
		}
		coop := newTuning(d)
		coop.Choices = []TuneChoice{{Shader: "linear_coopmat", DType: "F16", TunePoint: TunePoint{1, 1, 1}}}
		newer := tuningOf(d, TuneChoice{TunePoint: TunePoint{64, 64, 64}})
		for _, s := range []*Tuning{coop, newer} {
			if err := s.Save(d); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := TuningOf(d).Choices, append(slices.Clone(newer.Choices), coop.Choices...); !reflect.DeepEqual(got, want) {
			t.Errorf("after later tunings %+v, want %+v", got, want)
		}
		for range 2 { // also where there is no file
			if err := ForgetTuning(d); err != nil || TuningOf(d) != nil || loadTuning(d) != nil {
				t.Errorf("forget: %v, %v", err, TuningOf(d))
			}
		}
	})
}

func TestTune(t *testing.T) {
	eachTunable(t, func(t *testing.T, d *vk.Device) {
		points := []TunePoint{{40, 300, 16}, {5, 70, 16}}
		var seen []string
		got, err := Tune(t.Context(), d, TuneOptions{Points: points, Reps: 1, Longest: time.Hour}, func(what string, done, total int) {
			if done != len(seen) || total != len(points)*len(dtype.All) {
				t.Errorf("%s: %d of %d after %d", what, done, total, len(seen))
			}
			seen = append(seen, what)
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Choices) != len(seen) || len(seen) != len(points)*len(dtype.All) || len(got.LeftOut) != 0 {
			t.Errorf("%d choices, %d announced, left out %v", len(got.Choices), len(seen), got.LeftOut)
		}
		for _, c := range got.Choices {
			dt := dtype.All[slices.IndexFunc(dtype.All, func(d dtype.DType) bool { return d.String() == c.DType })]
			family := linearFamily(d, Tensor{Rows: c.Tokens, Cols: c.In}, Tensor{DType: dt, Rows: c.Out, Cols: c.In}, Fused{})
			byDefault, _ := fitting(family, c.Tokens, c.Out)
			if !slices.ContainsFunc(family, func(k linearKernel) bool { return k.tile == c.Tile }) || byDefault.tile != c.Default {
				t.Errorf("%+v: no such tile or default", c)
			}
			if !(c.GFlops > 0 && c.DefaultGFlops > 0 && c.GFlops >= c.DefaultGFlops) {
				t.Errorf("%+v: rates", c)
			}
		}
		if TuningOf(d) != nil {
			t.Error("a tuning is in use that nobody asked for")
		}

		got, err = Tune(t.Context(), d, TuneOptions{Points: points, Reps: 1, Longest: 1}, nil)
		if err != nil || len(got.Choices) != len(dtype.All) || len(got.LeftOut) != len(dtype.All) {
			t.Errorf("within a nanosecond: %d choices, left out %v, %v", len(got.Choices), got.LeftOut, err)
		}
		if d.Info.Has(vk.LoopLimit) {
			if _, err := Tune(t.Context(), d, TuneOptions{Points: []TunePoint{{1, 1, linearDepth + 1}}}, nil); !errors.Is(err, vk.ErrLimit) {
				t.Errorf("%d inputs: %v, want vk.ErrLimit", linearDepth+1, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Tune(ctx, d, TuneOptions{Points: points}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		for _, o := range []TuneOptions{{Reps: -1}, {Points: []TunePoint{{0, 1, 1}}}, {Points: []TunePoint{{1, 1, tuneDepth + 1}}}} {
			if _, err := Tune(t.Context(), d, o, nil); err == nil {
				t.Errorf("%+v: no error", o)
			}
		}
	})
}

// TestTuneNothing: drivers that have one kernel for each product are not measured.
func TestTuneNothing(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		points := []TunePoint{{40, 64, 64}}
		x, several := Tensor{Rows: 40, Cols: 64}, false
		for _, dt := range dtype.All {
			n := LinearHalves(d, dt, 64, 64)
			f := Fused{Scratch: x, Halves: Tensor{Rows: min(1, n), Cols: n}} // the zero Tensor where there are none
			several = several || len(linearFamily(d, x, Tensor{DType: dt, Rows: 64, Cols: 64}, f)) > 1
		}
		got, err := Tune(t.Context(), d, TuneOptions{Points: points, Reps: 1, Longest: time.Hour}, nil)
		if err != nil || (len(got.Choices) > 0) != several {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestFastest(t *testing.T) {
	a, b, c := Tile{1}, Tile{2}, Tile{3}
	family := []linearKernel{{tile: a}, {tile: b}, {tile: c}}
	for _, s := range []struct {
		rates [3]float64
		want  Tile
	}{{[3]float64{1, 2, 3}, c}, {[3]float64{3, 2, 1}, a}, {[3]float64{1.01, 1, 1.02}, b}, {[3]float64{1, 1, 1}, b}, {[3]float64{1.05, 1, 1.04}, a}} {
		t.Run(fmt.Sprint(s.rates), func(t *testing.T) {
			if got := fastest(family, map[Tile]float64{a: s.rates[0], b: s.rates[1], c: s.rates[2]}, b); got != s.want {
				t.Errorf("tile %v, want %v", got, s.want)
			}
		})
	}
}

// TestTilesDiffer: within a family a tile names one kernel, also with cooperative matrices, and tuning finds each of them.
func TestTilesDiffer(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		before := TuningOf(d)
		defer before.Use(d)
		const tokens, out, in = 70, 100, 64
		x, w := Tensor{DType: dtype.F32, Rows: tokens, Cols: in}, Tensor{DType: dtype.F16, Rows: out, Cols: in}
		for _, f := range []Fused{{Scratch: x}, {Scratch: x, Up: w}} {
			for _, family := range linearGPU(d, x, w, f) {
				for i, k := range family {
					if j := slices.IndexFunc(family, func(o linearKernel) bool { return o.tile == k.tile }); j != i {
						t.Errorf("%s: tile %v names kernels %d and %d", k.shader, k.tile, j, i)
					}
					c := newTuning(d)
					c.Choices = []TuneChoice{{Shader: k.shader, DType: "F16", TunePoint: TunePoint{tokens, out, in}, Tile: k.tile}}
					c.Use(d)
					if got, ok := tuned(d, family, x, w, f); len(family) > 1 && (!ok || !reflect.DeepEqual(got, k)) {
						t.Errorf("%s: tuned for %v, got %v, %v", k.shader, k.tile, got.tile, ok)
					}
				}
			}
		}
	})
}
