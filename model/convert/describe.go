package convert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
)

// The general metadata is what llama.cpp's converter finds in generation_config.json, in the model card's head and in names. Source:
// metadata.py of gguf-py 0.19.

// sampling are the settings of generation_config.json that have keys under general.sampling: an integer or not.
var sampling = []struct {
	config, key string
	whole       bool
}{
	{"top_k", "top_k", true}, {"top_p", "top_p", false}, {"min_p", "min_p", false}, {"xtc_probability", "xtc_probability", false},
	{"xtc_threshold", "xtc_threshold", false}, {"temperature", "temp", false}, {"penalty_last_n", "penalty_last_n", true},
	{"repetition_penalty", "penalty_repeat", false}, {"penalty_repeat", "penalty_repeat", false}, {"mirostat", "mirostat", true},
	{"mirostat_tau", "mirostat_tau", false}, {"mirostat_eta", "mirostat_eta", false},
}

// general is the metadata that says what a model is; size is the number of its parameters in words.
func general(files fs.FS, folder string, config []byte, parameters int64, size string) (meta []gguf.Pair, err error) {
	var generation map[string]json.RawMessage
	if _, err := readJSON(files, "generation_config.json", &generation); err != nil {
		generation = nil // some models have none that is valid, and run all the same
	}
	for _, s := range sampling {
		var v float64
		raw := generation[s.config]
		if string(raw) == "null" || json.Unmarshal(raw, &v) != nil {
			continue
		}
		if p := (gguf.Pair{Key: "general.sampling." + s.key, Value: float32(v)}); s.whole {
			meta = append(meta, gguf.Pair{Key: p.Key, Value: int32(v)})
		} else {
			meta = append(slices.DeleteFunc(meta, func(q gguf.Pair) bool { return q.Key == p.Key }), p)
		}
	}
	card, err := readCard(files)
	if err != nil {
		return nil, err
	}
	d := card.description(parameters)
	var named struct {
		Path string `json:"_name_or_path"`
	}
	if json.Unmarshal(config, &named) == nil && named.Path != "" && strings.Count(named.Path, "/") <= 1 {
		d.fill(partsOf(named.Path, parameters))
	}
	if abs, err := filepath.Abs(folder); err == nil {
		folder = abs
	}
	d.fill(partsOf(filepath.Base(folder), parameters))
	d["name"], d["size_label"] = cmp.Or(d["name"], filepath.Base(folder)), cmp.Or(d["size_label"], size)
	for _, k := range []string{"name", "author", "version", "organization", "finetune", "basename", "description", "size_label", "license", "license.name",
		"license.link", "source.url", "source.doi", "source.uuid", "source.repo_url"} {
		if d[k] != "" {
			meta = append(meta, gguf.Pair{Key: "general." + k, Value: d[k]})
		}
	}
	return append(meta, card.relations(parameters)...), nil
}

// card is the head of a model card.
type card map[string]any

const maxCard = 1 << 20 // bytes of the head; real ones have a few thousand

func readCard(folder fs.FS) (card, error) {
	raw, err := files.ReadFS(folder, "README.md", maxText)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, nil // it may be anything, and nothing depends on it
	}
	if err != nil {
		return nil, err
	}
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(raw, []byte("---\n"))
	head, _, ends := bytes.Cut(rest, []byte("\n---"))
	if !ok || !ends || len(head) > maxCard {
		return nil, nil
	}
	head = bytes.ReplaceAll(append(head, '\n'), []byte("\t"), []byte("  "))
	head = bytes.ReplaceAll(head, []byte("- no\n"), []byte("- \"no\"\n")) // Norwegian
	var c card
	if yaml.Unmarshal(head, &c) != nil {
		return nil, nil // a card is for people: it may be anything
	}
	return c, nil
}

// text is a value as text; a list is joined.
func (c card) text(keys ...string) string {
	for _, k := range keys {
		switch v := c[k].(type) {
		case nil:
		case []any:
			return strings.Join(c.list(k), ",")
		case string, int, float64, bool:
			return fmt.Sprint(v)
		}
	}
	return ""
}

// list is a value that is a text or a list of them.
func (c card) list(key string) (list []string) {
	switch v := c[key].(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			if text, ok := e.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}

// description holds keys behind general.
type description map[string]string

func (c card) description(parameters int64) description {
	d := description{}
	for _, k := range []string{"name", "author", "version", "organization", "description", "finetune", "basename", "size_label"} {
		d[k] = c.text(k, "model_"+k)
	}
	for _, k := range []string{"url", "doi", "uuid", "repo_url"} {
		d["source."+k] = c.text(k, "model_"+k)
	}
	d["author"], d["basename"] = cmp.Or(d["author"], c.text("model_creator")), cmp.Or(d["basename"], c.text("model_type"))
	d["license"], d["license.name"], d["license.link"] = c.text("license"), c.text("license_name"), c.text("license_link")
	return d
}

// fill takes what d lacks from a name's parts.
func (d description) fill(n nameParts) {
	for k, v := range map[string]string{"name": title(n.name), "organization": title(n.organization), "basename": n.base, "finetune": n.finetune,
		"version": n.version, "size_label": n.size} {
		d[k] = cmp.Or(d[k], v)
	}
}

// relations are the models and data sets that a card names, its tags and languages.
func (c card) relations(parameters int64) (meta []gguf.Pair) {
	for _, of := range []struct {
		key   string
		names []string
	}{{"base_model", []string{"base_model", "base_models", "base_model_sources"}}, {"dataset", []string{"datasets", "dataset", "dataset_sources"}}} {
		at := slices.IndexFunc(of.names, func(n string) bool { _, ok := c[n]; return ok })
		if at < 0 {
			continue
		}
		list := c.list(of.names[at])
		meta = append(meta, gguf.Pair{Key: "general." + of.key + ".count", Value: uint32(len(list))})
		for i, id := range list {
			for _, p := range origin(id, parameters) {
				meta = append(meta, gguf.Pair{Key: fmt.Sprintf("general.%s.%d.%s", of.key, i, p[0]), Value: p[1]})
			}
		}
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"tags", append(c.list("tags"), c.list("pipeline_tag")...)}, {"languages", append(c.list("languages"), c.list("language")...)}} {
		if len(l.list) > 0 {
			meta = append(meta, gguf.Pair{Key: "general." + l.key, Value: l.list})
		}
	}
	return meta
}

var hubURL = regexp.MustCompile(`^https?://huggingface\.co/([^/]+/[^/]+)$`)

// origin says what a model or data set is of which a card gives the id or the address: pairs of key and value.
func origin(id string, parameters int64) (list [][2]string) {
	url := ""
	if strings.HasPrefix(id, "http://") || strings.HasPrefix(id, "https://") || strings.HasPrefix(id, "ssh://") {
		url = id
		match := hubURL.FindStringSubmatch(id)
		if match == nil {
			return [][2]string{{"repo_url", url}}
		}
		id = match[1]
	}
	n := partsOf(id, parameters)
	if url == "" && n.organization != "" {
		url = "https://huggingface.co/" + n.organization + "/" + n.name
	}
	for _, p := range [][2]string{{"name", title(n.name)}, {"version", n.version}, {"organization", title(n.organization)}, {"repo_url", url}} {
		if p[1] != "" {
			list = append(list, p)
		}
	}
	return list
}

// nameParts are what a model's name says: Org/Base-7B-Instruct-v0.1.
type nameParts struct{ name, organization, base, size, finetune, version string }

var (
	versionPart  = regexp.MustCompile(`(?i)^(v|iter)?\d+(\.\d+)*$`)
	typePart     = regexp.MustCompile(`(?i)^(i?q\d(_\w)*|b?fp?(16|32))$`)
	sizePart     = regexp.MustCompile(`(?i)^((A|\d+x)?\d+([._]\d+)?[KMBT]\d?|small|mini|medium|large|x?xl)$`)
	finetunePart = regexp.MustCompile(`(?i)^(chat|instruct|vision|lora)$`)
)

// partsOf takes a name apart as the converter does.
func partsOf(id string, parameters int64) (n nameParts) {
	n.name = id
	if id == "" || strings.Contains(id, " ") {
		return n
	}
	if org, rest, ok := strings.Cut(id, "/"); ok {
		n.name = rest
		if !strings.HasPrefix(org, ".") {
			n.organization = org
		}
	}
	var parts, kinds []string // a part is of one kind, or of none, or a version that belongs to the base
	for i, p := range slices.DeleteFunc(strings.Split(n.name, "-"), func(p string) bool { return p == "" }) {
		kind := ""
		switch {
		case versionPart.MatchString(p):
			kind = "version"
		case typePart.MatchString(p):
			kind, p = "type", strings.ToUpper(p)
		case i > 0 && sizePart.MatchString(p):
			kind, p = sizeOf(p, parameters)
		case i > 0 && finetunePart.MatchString(p):
			kind = "finetune"
		}
		parts, kinds = append(parts, p), append(kinds, kind)
	}
	numbered := false
	for i, p := range parts {
		numbered = numbered || kinds[i] == "size" && strings.ContainsFunc(p, unicode.IsDigit)
	}
	for i, p := range parts { // small, large and the like say nothing beside a number
		if numbered && kinds[i] == "size" && !strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsLetter(r) }) {
			kinds[i] = ""
		}
	}
	base := 0 // how many parts at the start are the base name's
	for base < len(parts) && (kinds[base] == "version" || kinds[base] == "" && unicode.IsLetter([]rune(parts[base])[0])) {
		base++
	}
	for i := base; i < len(parts); i++ {
		kinds[i] = cmp.Or(kinds[i], "finetune")
	}
	if base == len(parts) { // versions at the end of all are the model's, not the base name's
		base = trailing(kinds)
	}
	return n.join(parts, kinds, base)
}

// trailing is where the versions at the end begin.
func trailing(kinds []string) int {
	at := len(kinds)
	for at > 0 && kinds[at-1] == "version" {
		at--
	}
	return at
}

// join puts the parts of each kind together; the first base of them are the base name.
func (n nameParts) join(parts, kinds []string, base int) nameParts {
	all := map[string][]string{}
	for i, p := range parts {
		kind := kinds[i]
		if i < base {
			kind = "base"
		}
		if kind == "size" && slices.Contains(all[kind], p) {
			continue
		}
		all[kind] = append(all[kind], p)
	}
	n.size, n.finetune, n.version = strings.Join(all["size"], "-"), strings.Join(all["finetune"], "-"), strings.Join(all["version"], "-")
	if n.base = strings.Join(all["base"], "-"); n.size == "" && n.finetune == "" && n.version == "" {
		n.base = ""
	}
	return n
}

// sizeOf reads a part like 7b or 8x7B: a size, or else a length of contexts where the model is of quite another size.
func sizeOf(part string, parameters int64) (kind, text string) {
	part = strings.ReplaceAll(part, "_", ".")
	last := len(part) - 1
	if unicode.IsDigit(rune(part[last])) { // 7b1
		part = part[:last-1] + "." + part[last:] + part[last-1:last]
	}
	last = len(part) - 1
	if last > 0 && unicode.IsDigit(rune(part[last-1])) && strings.Contains("kmbt", part[last:]) {
		part = part[:last] + strings.ToUpper(part[last:])
	}
	number, err := strconv.ParseFloat(part[:last], 64)
	if err != nil || parameters == 0 {
		return "size", part
	}
	if n := number * math.Pow(1000, float64(strings.Index(" KMBT", part[last:]))); math.Abs(n-float64(parameters)) > float64(7*parameters/8) {
		return "finetune", part[:last] + strings.ToLower(part[last:])
	}
	return "size", part
}

var keptWord = regexp.MustCompile(`^(v\d+(\.\d+)*|\d.*)$`)

// title writes a name for people: words that are all lower case begin with a capital.
func title(name string) string {
	words := strings.Fields(strings.ReplaceAll(name, "-", " "))
	for i, w := range words {
		if w == strings.ToLower(w) && w != strings.ToUpper(w) && !keptWord.MatchString(w) {
			words[i] = capitals(w)
		}
	}
	return strings.Join(words, " ")
}

// capitals makes every letter that follows none a capital.
func capitals(word string) string {
	before := false
	return strings.Map(func(r rune) rune {
		letter := unicode.IsLetter(r)
		if letter && !before {
			r = unicode.ToTitle(r)
		}
		before = letter
		return r
	}, word)
}

// sizeLabel is a number of parameters in words: 135M, 8x7B with experts. each is those of one expert of every layer.
func sizeLabel(total, shared, each int64, experts int) string {
	if experts > 0 {
		return fmt.Sprintf("%dx%s", experts, rounded(shared+each))
	}
	return rounded(total)
}

func rounded(n int64) string {
	scaled, suffix := float64(n)*1e-3, "K"
	switch {
	case n > 1e12:
		scaled, suffix = float64(n)*1e-12, "T"
	case n > 1e9:
		scaled, suffix = float64(n)*1e-9, "B"
	case n > 1e6:
		scaled, suffix = float64(n)*1e-6, "M"
	}
	digits := len(strings.TrimLeft(strconv.Itoa(int(math.RoundToEven(scaled))), "0"))
	return strconv.FormatFloat(scaled, 'f', max(2-digits, 0), 64) + suffix
}
