// Package card is the form of a model card as the Hugging Face hub reads it: README.md, with metadata in YAML at its head. It reads of a card
// what may be said of a model made from that one too, and writes a head. What a card tells is the caller's.
//
// Source of the fields: the hub's documentation (hub-docs, modelcard.md), and ModelCardData and model_index_to_eval_results of huggingface_hub 2.4.
package card

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/printable"
)

// File is the name of a card in a model's folder.
const File = "README.md"

// Bounds of a card that is read. Heads with thousands of evaluation results have some 200 kB; the YAML of 1 MiB takes 100 MB of memory at most.
const (
	maxCard = 16 << 20 // bytes
	maxHead = 1 << 20  // bytes
	maxText = 200      // bytes of a value
	maxList = 100      // values of a list
)

// Head is what a card says of a model and holds for what is made of it.
type Head struct {
	BaseModel   []string // owner/name
	License     []string
	LicenseName string
	LicenseLink string // an address, or the name of a file beside the card
	Language    []string
	PipelineTag string

	// Of a card that Text made, whatever somebody changed in it since:
	Ours     bool
	Original bool // BaseModel is the very model that was pruned; else one that it derives from
}

// wanted are the values of a head that are carried on, by key: what they must look like, and where they go. All else stays behind: results of
// an evaluation and tags are another model's.
var wanted = []struct {
	key  string
	is   func(value string) bool
	list func(h *Head) *[]string
	one  func(h *Head) *string
}{
	{key: "base_model", is: hub.IsName, list: func(h *Head) *[]string { return &h.BaseModel }},
	{key: "license", is: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`).MatchString, list: func(h *Head) *[]string { return &h.License }},
	{key: "license_name", is: plain, one: func(h *Head) *string { return &h.LicenseName }},
	{key: "license_link", is: regexp.MustCompile(`^(https?://[!-~]+|[A-Za-z0-9_][A-Za-z0-9._-]*)$`).MatchString, one: func(h *Head) *string { return &h.LicenseLink }},
	{key: "language", is: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`).MatchString, list: func(h *Head) *[]string { return &h.Language }},
	{key: "pipeline_tag", is: regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString, one: func(h *Head) *string { return &h.PipelineTag }},
}

// plain says whether a text is one of one line without control characters.
func plain(text string) bool { return printable.Line(text) == text }

// fence finds the head of a card, as the hub and huggingface_hub find it.
var (
	fence  = regexp.MustCompile(`^\s*---(?:\r\n|\r|\n)((?s).*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)`)
	opened = regexp.MustCompile(`^\s*---[\r\n]`)
)

// Read reads the card of a folder. One that is no card, or says what no card may say, gives what can be used of it and a note on the rest; only
// a file that cannot be read is an error. Without a card the Head is empty.
func Read(folder fs.FS) (h Head, note string, err error) {
	raw, err := files.ReadFS(folder, File, maxCard)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h, "", nil
	case errors.Is(err, fs.ErrInvalid): // it is too large, or no file: nothing depends on it
		return h, err.Error(), nil
	case err != nil:
		return h, "", err
	}
	h, note = Parse(raw)
	if note != "" {
		note = File + ": " + note
	}
	return h, note, nil
}

// Parse is Read of a card's text.
func Parse(raw []byte) (h Head, note string) {
	if is, ok := marked(raw); ok {
		h.Ours, h.Original = true, is == isOriginal
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	m := fence.FindSubmatch(raw[:min(len(raw), maxHead)])
	if m == nil {
		if len(raw) > maxHead && opened.Match(raw[:maxHead]) {
			note = fmt.Sprintf("its YAML does not end within %d bytes: nothing of it is carried on", maxHead)
		}
		return h, note
	}
	var doc yaml.Node // nodes: an alias stays one, and stands for nothing
	if err := yaml.Unmarshal(m[1], &doc); err != nil {
		return h, printable.Clip(printable.Line("nothing of its YAML is carried on: "+err.Error()), 2*maxText)
	}
	if len(doc.Content) == 0 {
		return h, ""
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return h, "its YAML is no mapping: nothing of it is carried on"
	}
	var left []string
	for _, w := range wanted {
		value := lookup(top, w.key)
		if value == nil {
			continue
		}
		list, all := texts(value, w.is)
		switch {
		case w.list != nil:
			*w.list(&h) = list
		case len(list) == 1:
			*w.one(&h) = list[0]
		default:
			all = false
		}
		if !all {
			left = append(left, w.key)
		}
	}
	if len(left) > 0 {
		note = "not all of " + strings.Join(left, ", ") + " is what a card may have there, and is carried on"
	}
	return h, note
}

// lookup is the first value of a key.
func lookup(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// texts are the values of a scalar or of a list of them, each once, that are as they should be; all says whether there are no others. Of a null
// there are none. A scalar counts as it is written: no is Norwegian.
func texts(n *yaml.Node, is func(string) bool) (list []string, all bool) {
	values := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		values = n.Content
	}
	all = true
	for _, v := range values {
		switch {
		case v.Kind == yaml.ScalarNode && v.Tag == "!!null":
		case v.Kind != yaml.ScalarNode || v.Value == "" || len(v.Value) > maxText || len(list) == maxList || !is(v.Value):
			all = false
		case !slices.Contains(list, v.Value):
			list = append(list, v.Value)
		}
	}
	return list, all
}

// Checked is a head without what a card may not say: one that was not read from a card.
func (h Head) Checked() Head {
	for _, w := range wanted {
		if w.list != nil {
			list := w.list(&h)
			*list = slices.DeleteFunc(slices.Clone(*list), func(v string) bool { return v == "" || len(v) > maxText || !w.is(v) })
			*list = (*list)[:min(len(*list), maxList)]
		} else if v := w.one(&h); len(*v) > maxText || !w.is(*v) {
			*v = ""
		}
	}
	return h
}
