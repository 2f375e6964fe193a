package prune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
)

// optionNames gives the Go names of the options that manifests of work folders list, by their names there.
var optionNames = map[string]string{
	"method":        "prune.Options.Method",
	"target-layers": "prune.Options.TargetLayers",
	"protect":       "prune.Options.Protect",
	"all-scores":    "prune.Options.AllScores",
	"plan":          "prune.Options.Replay",
	"seed":          "prune.Options.Seed",
	"stats":         "prune.Options.Stats",
	"save-steps":    "prune.Output.SaveSteps",
	"refit":         "prune.Options.Refit",
	"heal":          "prune.DistillOptions.Schedule",
	"map":           "prune.DistillationOptions.Groups",
	"shard":         "prune.DistillationOptions.Part",
}

// option is the field of a manifest that holds an option. Format 1 marks the names of these with two dashes.
func option(name, value string) work.Field { return work.Field{Name: "--" + name, Value: value} }

// methodOption is the name that manifests give a method's option, by its key in JSON.
func methodOption(key string) string { return strings.ReplaceAll(key, "_", "-") }

// namesFor gives the Go names of options by the names of their fields, those of a method included, which may be nil.
func namesFor(m method.Method) map[string]string {
	names := map[string]string{}
	if m != nil {
		for key, name := range method.OptionNames(m) {
			names[option(methodOption(key), "").Name] = name
		}
	}
	for key, name := range optionNames {
		names[option(key, "").Name] = name
	}
	return names
}

// given is the value of an option that is true or not given.
func given(is bool) string {
	if is {
		return "given"
	}
	return ""
}

// key is what the result of a run depends on.
func (p *Plan) key(hash string, device Device, saveSteps bool) []work.Field {
	record := p.record()
	fields := []work.Field{
		{Name: "vkcome", Value: Version}, {Name: "the model", Value: hash}, {Name: "the model's " + model.Lineage, Value: hashBytes(p.previous)},
		option("method", p.Method.Name()),
		option("target-layers", fmt.Sprint(record.TargetLayers)), option("protect", strings.Trim(fmt.Sprint(record.Protect), "[]")),
		option("all-scores", given(p.Options.AllScores)), option("save-steps", given(saveSteps)),
	}
	fields = append(fields, device.fields()...)
	if r := p.Options.Replay; r != nil {
		plan, _ := json.Marshal(r) // it was read from JSON
		fields = append(fields, option("plan", hashBytes(plan)))
	} else {
		own := rawFields(record.Method)
		for _, key := range slices.Sorted(maps.Keys(own)) {
			fields = append(fields, option(methodOption(key), string(own[key])))
		}
	}
	fields = append(fields, p.Options.Distill.fields()...)
	if o := p.Options.Refit; o != nil {
		refit, _ := json.Marshal(o.Defaults()) // plain numbers and strings
		fields = append(fields, option("refit", string(refit)))
	}
	if p.scores() {
		w := p.Options.Windows
		fields = append(fields, work.Field{Name: "the calibration corpus", Value: fmt.Sprintf("%d windows of %d tokens", len(w), len(w[0]))},
			work.Field{Name: "the files of the corpus", Value: p.Options.Source}, option("seed", fmt.Sprint(p.Options.Seed)),
			work.Field{Name: "the text of the corpus", Value: corpus.Hash(w)})
		if s := p.Options.Stats; s != nil {
			fields = append(fields, option("stats", strings.Join(s.Computed, "; ")))
		}
	}
	return fields
}

// key is what the result of a distillation depends on.
func (p *Distillation) key(hashes []string, device Device) []work.Field {
	fields := p.pair.fields(hashes, p.Groups)
	if p.Options.Part != nil {
		fields = append(fields, option("shard", p.Options.Part.String()))
	}
	fields = append(fields, p.Options.Distill.fields()...)
	return append(fields, device.fields()...)
}

// fields are what the result of training depends on.
func (o *DistillOptions) fields() (list []work.Field) {
	if o == nil {
		return nil
	}
	options, _ := json.Marshal(o.Options) // plain numbers and strings
	own := rawFields(options)
	for _, key := range slices.Sorted(maps.Keys(own)) {
		list = append(list, work.Field{Name: "healing's " + key, Value: string(own[key])})
	}
	return append(list, option("heal", o.Schedule), work.Field{Name: "the text to heal on", Value: corpus.Hash(o.Windows)}, work.Field{Name: "the files to heal on", Value: o.Source})
}

// fields are what a result depends on of the device.
func (d Device) fields() []work.Field {
	return []work.Field{{Name: "device", Value: d.Name, Device: true}, {Name: "driver", Value: d.Driver, Device: true},
		{Name: "driver version", Value: d.DriverVersion, Device: true}, {Name: "tier", Value: d.Tier, Device: true}}
}

// rawFields are the fields of an object that was made JSON just now.
func rawFields(object json.RawMessage) (fields map[string]json.RawMessage) {
	_ = json.Unmarshal(object, &fields)
	return fields
}

// hashBytes is the SHA-256 of a file's contents in hexadecimal, empty where there is none.
func hashBytes(raw []byte) string {
	if raw == nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
