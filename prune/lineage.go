package prune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
)

// Version is vkcome's version, as lineages record it.
const Version = "0.1.0"

// Lineage is vkcome.json: all that led to a pruned model. But for Auto it holds no time and no path, so that the same run
// gives the same bytes.
type Lineage struct {
	Version        string         `json:"vkcome"`
	Method         string         `json:"method"`
	Options        Record         `json:"options"`
	Source         Source         `json:"source"`
	Calibration    *Calibration   `json:"calibration,omitempty"` // absent where the method needs none
	Device         Device         `json:"device"`
	Devices        []Device       `json:"devices,omitempty"`      // where more than one took the steps: all, in their order
	StatsFrom      []string       `json:"figures_from,omitempty"` // where Options.Stats were computed, if they were given
	OriginalLayers int            `json:"original_layers"`        // of the model that the tree's numbers mean
	Tree           []method.Tree  `json:"tree"`
	Steps          []*method.Step `json:"steps"`
	LayerPasses    *Passes        `json:"layer_passes,omitempty"`
	Refit          *RefitRecord   `json:"refit,omitempty"` // how layers were fitted; what came of it is in the steps where they were fitted on the way
	Distill        *DistillRecord `json:"healing,omitempty"`
	Auto           *AutoRecord    `json:"auto,omitempty"` // the search that chose the method; its times differ from run to run

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

// Calibration identifies windows of tokens that a model was run on.
type Calibration struct {
	SHA256  string `json:"sha256"` // of the windows' token ids, 4 bytes each, little-endian
	Windows int    `json:"windows"`
	Window  int    `json:"window"` // tokens
	Seed    uint64 `json:"seed"`
	Source  string `json:"source,omitempty"`
}

// calibration is the record of windows of equal length.
func calibration(windows [][]uint32, seed uint64, source string) Calibration {
	return Calibration{SHA256: corpus.Hash(windows), Windows: len(windows), Window: len(windows[0]), Seed: seed, Source: source}
}

// Device is where a run took place.
type Device struct {
	Name          string `json:"name"`
	Driver        string `json:"driver"`
	DriverVersion string `json:"driver_version"`
	Tier          string `json:"tier"`
}

func deviceRecord(d *vk.Device) Device {
	return Device{d.Info.Name, d.Info.Driver, d.Info.DriverVersion, d.Tier.String()}
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

// record is the options as they take effect.
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

// lineage is the record of a run's steps, without the hash of its model.
func (p *Plan) lineage(s *method.State, steps []*method.Step) Lineage {
	l := Lineage{Version: Version, Device: deviceRecord(s.Device), OriginalLayers: p.root, Tree: s.Tree, Steps: steps, Auto: p.auto, Previous: p.previous}
	if r := p.Options.Replay; r != nil {
		l.Method, l.Options, l.Calibration, l.LayerPasses, l.Device, l.StatsFrom = r.Method, r.Options, r.Calibration, r.LayerPasses, r.Device, r.StatsFrom
	} else {
		l.Method, l.Options = p.Method.Name(), p.record()
	}
	if !p.scores() {
		return l
	}
	if o := p.Options.Refit; o != nil {
		l.Refit = &RefitRecord{Options: o.Defaults()}
	}
	if s.Scorer != nil && p.Options.Replay == nil {
		full := 0
		for _, step := range steps {
			full += step.From
		}
		if p.gradients() {
			full *= train.GradientPasses
		}
		counted := passes(s.Scorer.Work().Passes, full)
		l.LayerPasses = &counted
	}
	windows := calibration(p.Options.Windows, p.Options.Seed, p.Options.Source)
	l.Calibration = &windows
	if p.Options.Stats != nil {
		l.StatsFrom = p.Options.Stats.Computed
	}
	return l
}

// text is the lineage as vkcome.json holds it.
func (l Lineage) text() ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", " ")
	err := enc.Encode(l)
	return text.Bytes(), err
}

// Bounds of a lineage that is read, far beyond those that vkcome writes. That of a model of 400B parameters, merged 80 times, has some 30 MB and
// 5 million values, most of them numbers of neurons, and as much again for each time that it was pruned before. Objects are steps, what they
// keep of layers, fits and trials: some thousands. What is read into memory takes some 30 bytes for a value and 1 kB for an object.
const (
	maxLineage = 256 << 20 // bytes
	maxValues  = 1 << 24
	maxObjects = 1 << 16
	maxNesting = 2 * method.MaxTreeDepth
)

// ReadLineage reads a vkcome.json: the file, or the one in a folder. One of more than 256 MiB is an error, as is one with steps or layers
// that contradict one another. Whether a model can take its steps, NewPlan says.
func ReadLineage(path string) (*Lineage, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, model.Lineage)
	}
	raw, err := files.Read(path, maxLineage)
	var l *Lineage
	if err == nil {
		l, err = ParseLineage(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("prune: plan %s: %w", path, err)
	}
	return l, nil
}

// ParseLineage reads the text of a vkcome.json, with the bounds and checks of ReadLineage.
func ParseLineage(raw []byte) (*Lineage, error) {
	if err := measureJSON(raw); err != nil {
		return nil, err
	}
	var l Lineage
	if err := files.JSON(raw, &l); err != nil {
		return nil, err
	}
	return &l, l.check()
}

// Before is the lineage of the model that was opened, nil where that had none.
func (l *Lineage) Before() (*Lineage, error) {
	if len(l.Previous) == 0 || string(l.Previous) == "null" {
		return nil, nil
	}
	before, err := ParseLineage(l.Previous)
	if err != nil {
		return nil, fmt.Errorf("prune: previous lineage: %w", err)
	}
	return before, nil
}

// measureJSON refuses a text that would take more memory or time than a lineage may, by one look at each byte.
func measureJSON(raw []byte) error {
	depth, values, objects, quoted := 0, 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; c == '{' {
				objects++
			}
			values++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		switch {
		case depth > maxNesting:
			return fmt.Errorf("nests more than %d deep", maxNesting)
		case values > maxValues || objects > maxObjects:
			return fmt.Errorf("has more than %d values or %d objects", maxValues, maxObjects)
		}
	}
	return nil
}

// check refuses a lineage of steps that do not follow one another, or with a place where something is missing.
func (l *Lineage) check() error {
	for i, s := range l.Steps {
		switch {
		case s == nil:
			return fmt.Errorf("step %d is null", i)
		case s.To < 1 || s.To > s.From || s.From > method.MaxLayers:
			return fmt.Errorf("step %d leads from %d layers, of %d at most, to %d: expected 1 to %d", i, s.From, method.MaxLayers, s.To, s.From)
		case i > 0 && s.From != l.Steps[i-1].To:
			return fmt.Errorf("step %d leads from %d layers, the one before it to %d", i, s.From, l.Steps[i-1].To)
		}
	}
	if l.OriginalLayers < 0 || l.OriginalLayers > method.MaxLayers {
		return fmt.Errorf("original_layers %d, expected 0 to %d", l.OriginalLayers, method.MaxLayers)
	}
	if n := len(l.Tree); n > 0 {
		if err := method.CheckTrees(l.Tree, n, l.OriginalLayers); err != nil {
			return err
		}
	}
	if d := l.Distill; d != nil {
		for i, s := range d.Stages {
			if s == nil || s.Group != nil && (s.Group.Layer < 0 || s.Group.First < 0 || s.Group.Last < s.Group.First || s.Group.Last > method.MaxLayers) {
				return fmt.Errorf("healing: stage %d is null, or has no layers", i)
			}
		}
		if p := d.Part; p != nil && (p.Of < 1 || p.Index < 0 || p.Index >= p.Of) {
			return fmt.Errorf("healing: part %v", *p)
		}
	}
	return nil
}

// ReadTree gives the origin of a model's layers, from its vkcome.json if it was pruned before, and how many layers the original model had.
func ReadTree(m *model.Model) (tree []method.Tree, originalLayers int, err error) {
	tree, originalLayers, _, err = readLineage(m)
	return tree, originalLayers, err
}

// readLineage reads what is needed of the lineage of a model, raw being nil if it was not pruned before.
func readLineage(m *model.Model) (tree []method.Tree, root int, raw []byte, err error) {
	raw, err = files.ReadFS(m.Files, model.Lineage, maxLineage)
	if errors.Is(err, fs.ErrNotExist) {
		for l := range m.Layers {
			tree = append(tree, method.Tree{Layer: l})
		}
		return tree, len(tree), nil, nil
	}
	var l struct {
		Tree           []method.Tree `json:"tree"`
		OriginalLayers int           `json:"original_layers"`
	}
	if err == nil {
		err = measureJSON(raw)
	}
	if err == nil {
		err = files.JSON(raw, &l)
	}
	if err == nil {
		err = method.CheckTrees(l.Tree, len(m.Layers), l.OriginalLayers)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("prune: %s/%s: %w", m.Name, model.Lineage, err)
	}
	return l.Tree, l.OriginalLayers, raw, nil
}
