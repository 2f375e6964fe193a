package op

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/vk"
)

// Tile names a kernel of a family of linear kernels: rows and columns of a workgroup's tile, rows and columns of an invocation's or a
// subgroup's part, the depth of a slice, 0 where the family has but one, and the size of subgroups, 0 where it is the device's smallest or of
// no matter. The zero Tile is a kernel without a choice.
type Tile [6]int

func (t Tile) String() string {
	text := fmt.Sprintf("%dx%d/%dx%d", t[0], t[1], t[2], t[3])
	if t[4] > 0 {
		text += fmt.Sprintf("/%d", t[4])
	}
	if t[5] > 0 {
		text += fmt.Sprintf("/w%d", t[5])
	}
	return text
}

// TunePoint is a product y[tokens, out] = x[tokens, in] · w[out, in]ᵀ to measure tiles with.
type TunePoint struct {
	Tokens int `json:"tokens"`
	Out    int `json:"out"`
	In     int `json:"in"`
}

// ParseTunePoint reads what String writes: TOKENSxOUTxIN.
func ParseTunePoint(text string) (p TunePoint, err error) {
	if _, err = fmt.Sscanf(text, "%dx%dx%d", &p.Tokens, &p.Out, &p.In); err != nil || p.String() != text {
		return p, fmt.Errorf("op tune: product %q, expected TOKENSxOUTxIN as in 512x4096x4096", text)
	}
	return p, p.check()
}

func (p TunePoint) String() string { return fmt.Sprintf("%dx%dx%d", p.Tokens, p.Out, p.In) }

func (p TunePoint) check() error {
	if p.Tokens < 1 || p.Out < 1 || p.In < 1 || p.In > tuneDepth {
		return fmt.Errorf("op tune: product %v, expected numbers from 1 and at most %d inputs", p, tuneDepth)
	}
	return nil
}

// tuneDepth is more inputs than any layer has.
const tuneDepth = 1 << 19

func (p TunePoint) flops() float64 { return 2 * float64(p.Tokens) * float64(p.Out) * float64(p.In) }

// TuneChoice is the tile that a device is fastest with for products near a point, by weights' dtype and shader.
type TuneChoice struct {
	Shader string `json:"shader"`
	DType  string `json:"dtype"`
	TunePoint
	Tile          Tile    `json:"tile"`
	GFlops        float64 `json:"gflops"` // GFLOP/s, median
	Default       Tile    `json:"default"`
	DefaultGFlops float64 `json:"default_gflops"`
}

// Tuning is what Tune found out about a device. It picks among kernels that give the same bits, so no result depends on it.
type Tuning struct {
	Device        string       `json:"device"`
	UUID          string       `json:"uuid"`
	Driver        string       `json:"driver"`
	DriverVersion string       `json:"driver_version"`
	Choices       []TuneChoice `json:"choices"`
	LeftOut       []string     `json:"left_out,omitempty"` // products that would have taken too long
}

// TuneOptions bound what Tune measures. The zero value is the table of a language model's shapes.
type TuneOptions struct {
	Points  []TunePoint   // nil: 32 to 2048 tokens, 1024 to 16,384 outputs of 4096 inputs
	Reps    int           // of each tile after the warm-up; 0 is 3
	Longest time.Duration // leave out a product that would take longer; 0 is TuneLongest
}

func (o TuneOptions) defaults() TuneOptions {
	if o.Points == nil {
		for _, tokens := range []int{32, 128, 512, 2048} {
			for _, out := range []int{1024, 4096, 16_384} {
				o.Points = append(o.Points, TunePoint{tokens, out, 4096})
			}
		}
	}
	o.Reps = cmp.Or(o.Reps, 3)
	o.Longest = cmp.Or(o.Longest, TuneLongest)
	return o
}

// TuneLongest is TuneOptions.Longest by default.
const TuneLongest = time.Second

// tuneMargin is how much faster than the default a tile must be to be chosen: measurements of one kernel differ by a few percent.
const tuneMargin = 1.03

// Tune measures the tiles of the kernels that a device runs matrix products with. The result is not in use until Use or Save. Where
// the device has one kernel for each product, it has no choices. progress may be nil.
func Tune(ctx context.Context, d *vk.Device, o TuneOptions, progress func(what string, done, total int)) (t *Tuning, err error) {
	o = o.defaults()
	if o.Reps < 1 {
		return nil, fmt.Errorf("op tune: %d repetitions, expected 1 or more", o.Reps)
	}
	for _, p := range o.Points {
		if err := p.check(); err != nil {
			return nil, err
		}
		if !loops(d, p.In, linearDepth) {
			return nil, fmt.Errorf("op tune: product %v, at most %d inputs on %s: %w", p, linearDepth, d.Info.Name, vk.ErrLimit)
		}
	}
	r, err := d.NewRecorder()
	if err != nil {
		return nil, err
	}
	u := &tuner{ctx: ctx, d: d, r: r, o: o, tuning: newTuning(d), slowest: map[string]float64{}}
	defer func() { err = errors.Join(err, r.Close()) }()
	if d.HasTimestamps() {
		if u.timer, err = d.NewTimer(); err != nil {
			return nil, err
		}
		// Runs before the recorder's Close: what used it was waited for.
		defer u.timer.Close()
	}
	total := len(o.Points) * len(dtype.All)
	points := slices.Clone(o.Points) // the short ones first: they tell how long the others take
	slices.SortStableFunc(points, func(a, b TunePoint) int { return cmp.Compare(a.flops(), b.flops()) })
	for i, dt := range dtype.All {
		for j, p := range points {
			name := fmt.Sprintf("%v %v", p, dt)
			if progress != nil {
				progress(name, i*len(points)+j, total)
			}
			if err := u.point(name, p, dt); err != nil {
				return nil, fmt.Errorf("op tune: %s: %w", name, err)
			}
		}
	}
	return u.tuning, nil
}

func newTuning(d *vk.Device) *Tuning {
	return &Tuning{Device: d.Info.Name, UUID: d.Info.UUID, Driver: d.Info.Driver, DriverVersion: d.Info.DriverVersion, Choices: []TuneChoice{}}
}

type tuner struct {
	ctx     context.Context
	d       *vk.Device
	r       *vk.Recorder
	timer   *vk.Timer // nil where the device has no clock
	o       TuneOptions
	tuning  *Tuning
	slowest map[string]float64 // FLOP/s so far of the slowest tile, by shader and dtype
}

// point measures the tiles for one product.
func (u *tuner) point(name string, p TunePoint, dt dtype.DType) (err error) {
	// The choice depends on shapes, not on where tensors lie: no memory is taken for a product that is left out.
	x, w := Tensor{DType: dtype.F32, Rows: p.Tokens, Cols: p.In}, Tensor{DType: dt, Rows: p.Out, Cols: p.In}
	halves := Tensor{}
	if n := LinearHalves(u.d, dt, w.Rows, w.Cols); n > 0 {
		halves = Tensor{DType: dtype.F32, Rows: 1, Cols: n}
	}
	family := linearFamily(u.d, x, w, Fused{Scratch: x, Halves: halves})
	if len(family) < 2 {
		return nil
	}
	shader := family[0].shader
	key := shader + suffix(dt)
	if rate := u.slowest[key]; rate > 0 && p.flops() > rate*u.o.Longest.Seconds() {
		u.tuning.LeftOut = append(u.tuning.LeftOut, name)
		return nil
	}
	var bufs []*vk.Buffer
	defer func() { u.d.Free(bufs...) }()
	random := func(t Tensor) Tensor {
		if err != nil || t.IsZero() {
			return t
		}
		var buf *vk.Buffer
		if buf, err = u.d.NewBuffer("tuning", (int64(t.Rows)*t.RowBytes()+3)&^3, vk.OnDevice); err != nil {
			return t
		}
		bufs = append(bufs, buf)
		t = Of(buf.All(), t.DType, t.Rows, t.Cols)
		Random(u.r, t, uint32(len(bufs)), float32(math.Sqrt(12/float64(p.In))))
		return t
	}
	x, w, halves = random(x), random(w), random(halves)
	scratch, y := random(Tensor{DType: dtype.F32, Rows: p.Tokens, Cols: p.In}), random(Tensor{DType: dtype.F32, Rows: p.Tokens, Cols: p.Out})
	if err := errors.Join(err, u.r.Wait(u.ctx)); err != nil { // no buffer may go while the recorder uses it
		if errors.Is(err, vk.ErrOutOfMemory) && u.r.Err() == nil {
			u.tuning.LeftOut = append(u.tuning.LeftOut, name+" (memory)")
			return nil
		}
		return err
	}
	f := Fused{Scratch: scratch, Halves: halves}
	byDefault, _ := fitting(family, p.Tokens, p.Out)
	c := TuneChoice{Shader: shader, DType: dt.String(), TunePoint: p, Default: byDefault.tile}
	rates := map[Tile]float64{}
	for _, k := range family {
		seconds, err := u.measure(func() { k.record(u.r, y, x, w, f) })
		if err != nil {
			return err
		}
		rate := p.flops() / seconds
		rates[k.tile] = rate
		if u.slowest[key] == 0 || rate < u.slowest[key] {
			u.slowest[key] = rate
		}
	}
	c.Tile = fastest(family, rates, c.Default)
	c.GFlops, c.DefaultGFlops = rates[c.Tile]/1e9, rates[c.Default]/1e9
	u.tuning.Choices = append(u.tuning.Choices, c)
	return nil
}

// fastest is the tile with the best rate, but the default unless that is clearly slower.
func fastest(family []linearKernel, rates map[Tile]float64, byDefault Tile) Tile {
	best := byDefault
	for _, k := range family {
		if rates[k.tile] > rates[best] {
			best = k.tile
		}
	}
	if rates[best] < tuneMargin*rates[byDefault] {
		return byDefault
	}
	return best
}

// measure is the median time of what f records, in seconds, after a run that compiles.
func (u *tuner) measure(f func()) (float64, error) {
	var list []float64
	for i := range u.o.Reps + 1 {
		begin := time.Now()
		if u.timer != nil {
			u.timer.Start(u.r)
		}
		f()
		if u.timer != nil {
			u.timer.Stop(u.r)
		}
		if err := u.r.Wait(u.ctx); err != nil {
			return 0, err
		}
		took := time.Since(begin)
		if u.timer != nil {
			var err error
			if took, err = u.timer.Elapsed(); err != nil {
				return 0, err
			}
		}
		if i > 0 {
			list = append(list, max(took.Seconds(), 1e-9)) // a clock may be too coarse to see it
		}
	}
	slices.Sort(list)
	return list[len(list)/2], nil
}

type tuningKey struct{}

// Use makes the device's products take the choices of t; nil takes the defaults. Recorders must not be in use meanwhile.
func (t *Tuning) Use(d *vk.Device) { d.Attach(tuningKey{}, t) }

// TuningOf is the tuning in use on a device, by default that of its cache folder; nil is none.
func TuningOf(d *vk.Device) *Tuning {
	if t, ok := d.Attached(tuningKey{}).(*Tuning); ok {
		return t
	}
	t := loadTuning(d)
	t.Use(d)
	return t
}

// tuned is the kernel of a family that the device's tuning picks for a product: that of the nearest point that was measured.
func tuned(d *vk.Device, family []linearKernel, x, w Tensor, f Fused) (linearKernel, bool) {
	t := TuningOf(d)
	if t == nil {
		return linearKernel{}, false
	}
	columns := w.Rows
	if !f.Up.IsZero() {
		columns *= 2
	}
	dt, tile, nearest := w.DType.String(), Tile{}, math.Inf(1)
	for i := range t.Choices {
		c := &t.Choices[i]
		if c.Shader != family[0].shader || c.DType != dt {
			continue
		}
		distance := math.Abs(math.Log2(float64(x.Rows)/float64(c.Tokens))) + math.Abs(math.Log2(float64(columns)/float64(c.Out)))
		if distance < nearest {
			tile, nearest = c.Tile, distance
		}
	}
	i := slices.IndexFunc(family, func(k linearKernel) bool { return k.tile == tile })
	if i < 0 {
		return linearKernel{}, false // nothing was measured, or a kernel that this release or this product has not
	}
	return family[i], true
}

// The file is a magic word, the SHA-256 of the JSON in hex, and the JSON. A release whose kernels changed has another magic word.
const tuningMagic = "VKCOMET2 "

// TuningFile is the path of a device's tuning, "" where nothing is cached.
func TuningFile(d *vk.Device) string { return d.CacheFile("linear", ".json") }

// Save keeps the choices in the cache folder for every later run, and uses them now. What an earlier tuning says of shaders that this
// one did not measure (at a lower tier, for one) stays.
func (t *Tuning) Save(d *vk.Device) error {
	path := TuningFile(d)
	if path == "" {
		return errors.New("op tune: no cache folder to keep the tuning in: set " + files.CacheVariable())
	}
	merged := *t
	if old := loadTuning(d); old != nil {
		for _, c := range old.Choices {
			if !slices.ContainsFunc(t.Choices, func(n TuneChoice) bool { return n.Shader == c.Shader && n.DType == c.DType }) {
				merged.Choices = append(slices.Clone(merged.Choices), c)
			}
		}
	}
	raw, err := json.Marshal(&merged)
	if err == nil {
		err = vk.WriteFile(path, fmt.Appendf(nil, "%s%x\n%s\n", tuningMagic, sha256.Sum256(raw), raw))
	}
	if err != nil {
		return fmt.Errorf("op tune: %w", err)
	}
	merged.Use(d)
	return nil
}

// ForgetTuning removes a device's tuning from the cache folder and uses the defaults.
func ForgetTuning(d *vk.Device) error {
	(*Tuning)(nil).Use(d)
	if path := TuningFile(d); path != "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("op tune: %w", err)
		}
	}
	return nil
}

// loadTuning returns nil where there is no file, or one that is damaged, of another release or of another device or driver.
func loadTuning(d *vk.Device) *Tuning {
	path := TuningFile(d)
	if path == "" {
		return nil
	}
	file, err := files.Read(path, maxTuning)
	if err != nil {
		return nil
	}
	t := parseTuning(file)
	if t == nil || t.UUID != d.Info.UUID || t.Driver != d.Info.Driver || t.DriverVersion != d.Info.DriverVersion {
		return nil
	}
	return t
}

// maxTuning bounds a file of choices, of which a device has some hundred, of 200 bytes each.
const maxTuning = 4 << 20

// parseTuning reads what Save writes, byte for byte: nil if it is anything else, or chooses what no product has.
func parseTuning(file []byte) *Tuning {
	head, raw, ok := bytes.Cut(file, []byte("\n"))
	raw, end := bytes.CutSuffix(raw, []byte("\n"))
	if !ok || !end || string(head) != fmt.Sprintf("%s%x", tuningMagic, sha256.Sum256(raw)) {
		return nil
	}
	t := &Tuning{}
	if json.Unmarshal(raw, t) != nil {
		return nil
	}
	for _, c := range t.Choices {
		if c.check() != nil || !(c.GFlops >= 0 && c.DefaultGFlops >= 0) || slices.Min(c.Tile[:]) < 0 || slices.Min(c.Default[:]) < 0 {
			return nil
		}
	}
	return t
}
