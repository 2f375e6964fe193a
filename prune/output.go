package prune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Version is vkcome's version, as lineages record it.
const Version = "0.1.0"

// Lineage is vkcome.json: all that led to a pruned model. It holds no time and no path, so that the same run gives the same bytes.
type Lineage struct {
	Version        string         `json:"vkcome"`
	Method         string         `json:"method"`
	Options        Record         `json:"options"`
	Source         Source         `json:"source"`
	Calibration    *Calibration   `json:"calibration,omitempty"` // absent where the method needs none
	Device         Device         `json:"device"`
	Devices        []Device       `json:"devices,omitempty"`      // where more than one did the steps: all, in their order
	StatsFrom      []string       `json:"figures_from,omitempty"` // where the first stats were computed, if not here
	OriginalLayers int            `json:"original_layers"`        // of the model that the tree's numbers mean
	Tree           []method.Tree  `json:"tree"`
	Steps          []*method.Step `json:"steps"`
	LayerPasses    *Passes        `json:"layer_passes,omitempty"`
	Distill        *DistillRecord `json:"healing,omitempty"`

	// Previous is the lineage of the opened model, if that was pruned before: its steps led to the layers that these steps merged.
	Previous json.RawMessage `json:"previous,omitempty"`
}

// Record is the options as they took effect.
type Record struct {
	TargetLayers int             `json:"target_layers"`
	Protect      []int           `json:"protect,omitempty"`
	Method       json.RawMessage `json:"method"` // the method's own
}

// Source identifies the model that was pruned.
type Source struct {
	SHA256 string `json:"sha256"` // of config.json and the weight files, see model.Hash
	Layers int    `json:"layers"`
}

// Calibration identifies the windows that the model was scored on.
type Calibration struct {
	SHA256  string `json:"sha256"` // of the windows' token ids, 4 bytes each, little-endian
	Windows int    `json:"windows"`
	Window  int    `json:"window"` // tokens
	Seed    uint64 `json:"seed"`
	Source  string `json:"source,omitempty"`
}

// Device is where the run took place.
type Device struct {
	Name          string `json:"name"`
	Driver        string `json:"driver"`
	DriverVersion string `json:"driver_version"`
	Tier          string `json:"tier"`
}

// Passes counts runs of one layer over the whole corpus. A run over part of the corpus counts by its size, one for the last tokens by
// its share of the multiplications.
type Passes struct {
	Done  float64 `json:"done"`
	Saved float64 `json:"saved"`
	Full  int     `json:"full"` // Done and Saved: what scoring every new model from its first layer would have cost
}

// passes rounds to what means something.
func passes(done float64, full int) Passes {
	done = math.Round(done*1e4) / 1e4
	return Passes{done, math.Round((float64(full)-done)*1e4) / 1e4, full}
}

func (p *Plan) record() Record {
	r := Record{TargetLayers: p.TargetLayers}
	for l, is := range p.protected {
		if is {
			r.Protect = append(r.Protect, l)
		}
	}
	r.Method, _ = json.Marshal(p.Method.Effective()) // plain numbers and strings
	return r
}

func deviceRecord(d *vk.Device) Device {
	return Device{d.Info.Name, d.Info.Driver, d.Info.DriverVersion, d.Tier.String()}
}

// ReadLineage reads a vkcome.json.
func ReadLineage(path string) (*Lineage, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, model.Lineage)
		info, err = os.Stat(path)
	}
	if err == nil && info.Size() > maxLineage {
		err = fmt.Errorf("%s, expected at most %s", vk.Bytes(info.Size()), vk.Bytes(maxLineage))
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	var l Lineage
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err != nil {
		return nil, fmt.Errorf("prune: plan %s: %w", path, err)
	}
	return &l, nil
}

const maxLineage = 1 << 30 // bytes; that of a 70B model, merged 40 times, has some 20 MB

// ErrExists says that an output folder is there already.
var ErrExists = errors.New("exists already")

// CheckOutput refuses an output path that Save would refuse, before hours are spent. With force a folder may be replaced that
// vkcome wrote, known by its vkcome.json, unless source, the folder of the model to be pruned, is it or lies in it.
func CheckOutput(out, source string, force bool) error {
	if out == "" {
		return errors.New("prune: the name of the output folder is empty")
	}
	parent := filepath.Dir(filepath.Clean(out))
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		return fmt.Errorf("prune: %s: the folder %s does not exist", out, parent)
	}
	if _, err := os.Lstat(out); err == nil {
		if !force {
			return fmt.Errorf("prune: %s %w; choose another name, or --force to replace it", out, ErrExists)
		}
		if _, err := os.Stat(filepath.Join(out, model.Lineage)); err != nil {
			return fmt.Errorf("prune: %s %w and is no folder that vkcome wrote (it has no %s): it will not be replaced", out, ErrExists, model.Lineage)
		}
		if inside(source, out) {
			return fmt.Errorf("prune: %s %w and holds the model to be pruned: it will not be replaced", out, ErrExists)
		}
	}
	probe, err := os.MkdirTemp(parent, ".vkcome-")
	if err != nil {
		return fmt.Errorf("prune: %s: %w", out, err)
	}
	return os.Remove(probe)
}

// inside says whether a path is dir or lies in it; one that cannot be resolved does not.
func inside(path, dir string) bool {
	for _, p := range []*string{&path, &dir} {
		real, err := filepath.EvalSymlinks(*p)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			return false
		}
		*p = real
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Save writes the pruned model into a temporary folder beside out, opens it again, runs it once on the device, and only then gives
// it its name. An existing out is an error, or with force replaced; whatever fails, it stays as it was, and nothing half-written
// is left.
func (r *Result) Save(ctx context.Context, d *vk.Device, out string, force bool, progress func(Status)) error {
	if err := CheckOutput(out, r.Model.Name, force); err != nil {
		return err
	}
	out = filepath.Clean(out)
	tmp, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp-")
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if err := os.Remove(tmp); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if progress == nil {
		progress = func(Status) {}
	}
	progress(Status{Stage: "write", Done: 0, Total: 1})
	if r.Lineage.Source.SHA256, err = model.Hash(ctx, r.Model.Files); err != nil {
		return fmt.Errorf("prune: hash of the source: %w", err)
	}
	r.Lineage.Source.Layers = r.Lineage.Steps[0].From
	return r.write(ctx, out, tmp, force, progress, func(dir string) error { return verify(ctx, d, dir) })
}

// write writes the model as the folder tmp, which does not exist, has it verified unless that is nil, and gives it the name out.
func (r *Result) write(ctx context.Context, out, tmp string, force bool, progress func(Status), verify func(dir string) error) (err error) {
	text, err := r.Lineage.text()
	if err != nil {
		return err
	}
	if err := CheckOutput(out, r.Model.Name, force); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	progress(Status{Stage: "write", Done: 0, Total: 1})
	if err := r.Model.Write(ctx, tmp, model.DefaultShard); err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	if err := os.WriteFile(filepath.Join(tmp, model.Lineage), text, 0o644); err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	if err := r.writeLosses(filepath.Join(tmp, model.Losses)); err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	progress(Status{Stage: "write", Done: 1, Total: 1})
	if verify != nil {
		progress(Status{Stage: "verify", Done: 0, Total: 1})
		if err := verify(tmp); err != nil {
			return fmt.Errorf("prune: the written model does not run: %w", err)
		}
		progress(Status{Stage: "verify", Done: 1, Total: 1})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := work.Sync(tmp); err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	return errors.Join(replace(tmp, out), model.SyncDir(filepath.Dir(out)))
}

// writeLosses writes a line for each step of training, if there was any.
func (r *Result) writeLosses(path string) error {
	if len(r.Losses) == 0 {
		return nil
	}
	var text bytes.Buffer
	for _, record := range r.Losses {
		if err := json.NewEncoder(&text).Encode(record); err != nil {
			return err
		}
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// text is the lineage as vkcome.json holds it.
func (l Lineage) text() ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", " ")
	err := enc.Encode(l)
	return text.Bytes(), err
}

// replaced is the end of the name of a folder that makes way for another.
const replaced = ".old"

// replace gives tmp the name out; a folder of that name makes way, and comes back if it does not work out.
func replace(tmp, out string) error {
	if _, err := os.Lstat(out); err != nil {
		return os.Rename(tmp, out)
	}
	old := tmp + replaced
	if err := os.Rename(out, old); err != nil {
		return err
	}
	if err := os.Rename(tmp, out); err != nil {
		return errors.Join(err, os.Rename(old, out))
	}
	return os.RemoveAll(old)
}

// verify opens a written model and runs a few tokens through it.
func verify(ctx context.Context, d *vk.Device, dir string) (err error) {
	m, err := model.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	window := make([]uint32, min(8, m.Config.MaxPositionEmbeddings))
	for i := range window {
		window[i] = uint32(i * (m.Config.VocabSize - 1) / len(window))
	}
	f, err := model.NewForward(d, m, [][]uint32{window})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Run(ctx, m, nil); err != nil {
		return err
	}
	return f.Logits(ctx, m, func(_ int, logits []float32) error {
		for _, v := range logits {
			if v-v != 0 {
				return errors.New("its logits are not finite")
			}
		}
		return nil
	})
}
