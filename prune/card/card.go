package card

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"go.yaml.in/yaml/v3"
)

// Meta is the head of a card that is written, in the order of its keys.
type Meta struct {
	BaseModel   []string `yaml:"base_model,omitempty"`
	Relation    string   `yaml:"base_model_relation,omitempty"` // adapter, merge, quantized or finetune
	Library     string   `yaml:"library_name,omitempty"`
	License     OneOrAll `yaml:"license,omitempty"`
	LicenseName string   `yaml:"license_name,omitempty"`
	LicenseLink string   `yaml:"license_link,omitempty"`
	Language    []string `yaml:"language,omitempty"`
	PipelineTag string   `yaml:"pipeline_tag,omitempty"`
	Tags        []string `yaml:"tags,omitempty"`
	Datasets    []string `yaml:"datasets,omitempty"`
	Index       []Index  `yaml:"model-index,omitempty"`
}

// OneOrAll is a list, of which one value alone is written without the list.
type OneOrAll []string

// MarshalYAML gives the value, or the list.
func (o OneOrAll) MarshalYAML() (any, error) {
	if len(o) == 1 {
		return o[0], nil
	}
	return []string(o), nil
}

// Index is what a model scored.
type Index struct {
	Name    string   `yaml:"name"`
	Results []Result `yaml:"results"`
}

// Result is what a model scored in one task.
type Result struct {
	Task    Task     `yaml:"task"`
	Dataset Dataset  `yaml:"dataset"`
	Metrics []Metric `yaml:"metrics"`
	Source  Source   `yaml:"source"`
}

// Task is what a model was to do.
type Task struct {
	Type string `yaml:"type"` // a pipeline tag
	Name string `yaml:"name,omitempty"`
}

// Dataset is what it was to do it on.
type Dataset struct {
	Name   string         `yaml:"name"`
	Type   string         `yaml:"type"` // its id on the hub
	Config string         `yaml:"config,omitempty"`
	Split  string         `yaml:"split,omitempty"`
	Args   map[string]int `yaml:"args,omitempty"`
}

// Metric is how well it did.
type Metric struct {
	Type  string  `yaml:"type"`
	Value float64 `yaml:"value"`
	Name  string  `yaml:"name,omitempty"`
}

// Source is who says so.
type Source struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
}

// The last line of a card says that vkcome wrote it, what its base_model is, and the SHA-256 of all before the sum: a card is known for what was
// written wherever it goes, and not taken for one that somebody changed.
const (
	isOriginal = "the model that was pruned"
	isRelative = "one that the pruned model derives from, or is not there"
)

const (
	mark    = "<!-- vkcome card 1; base_model is "
	markSum = "; SHA-256 of all before: "
	markEnd = " -->\n"
)

// Text is a card: the head, the body, and the line by which Sealed knows it. original says that base_model is the model that was pruned.
func Text(meta Meta, body string, original bool) ([]byte, error) {
	var text bytes.Buffer
	text.WriteString("---\n")
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(meta); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	is := isRelative
	if original {
		is = isOriginal
	}
	text.WriteString("---\n\n" + body + "\n" + mark + is + markSum)
	sum := sha256.Sum256(text.Bytes())
	text.WriteString(hex.EncodeToString(sum[:]) + markEnd)
	return text.Bytes(), nil
}

// marked says whether a text has the line of a card, and what base_model is by it.
func marked(raw []byte) (is string, ok bool) {
	at := bytes.LastIndex(raw, []byte(mark))
	if at < 0 {
		return "", false
	}
	before, _, ok := bytes.Cut(raw[at+len(mark):], []byte(markSum))
	return string(before), ok
}

// Sealed says whether a text is a card as Text made it.
func Sealed(raw []byte) bool {
	const digits = 2 * sha256.Size
	_, ok := marked(raw)
	at := len(raw) - digits - len(markEnd)
	if !ok || at < len(markSum) || !bytes.HasSuffix(raw[:at], []byte(markSum)) {
		return false
	}
	sum := sha256.Sum256(raw[:at])
	return string(raw[at:]) == hex.EncodeToString(sum[:])+markEnd
}
