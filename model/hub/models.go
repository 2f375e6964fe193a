package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// modelName is what a name of a model means.
type modelName struct {
	repo  Repo
	file  string // a GGUF file, with slashes, or
	quant string // what a GGUF's name says of its type
}

// parseModel reads owner/name, owner/name@revision, and each of them with /file.gguf or :QUANT behind it. ok says whether it is any.
func parseModel(name string) (m modelName, ok bool) {
	id, revision, at := strings.Cut(name, "@")
	rest := id // what the file or the quantization follows
	if at {
		rest = revision
	}
	rest, m.quant, ok = strings.Cut(rest, ":")
	if ok && (m.quant == "" || at && strings.Contains(id, ":")) {
		return m, false
	}
	if parts := strings.Split(rest, "/"); strings.EqualFold(path.Ext(rest), ".gguf") {
		own := 2 // parts of owner/name; of a revision one, but of refs/pr/1 three
		if at && parts[0] == "refs" {
			own = 3
		} else if at {
			own = 1
		}
		if len(parts) <= own || m.quant != "" {
			return m, false
		}
		rest, m.file = strings.Join(parts[:own], "/"), strings.Join(parts[own:], "/")
	}
	if at {
		revision = rest
	} else {
		id = rest
	}
	m.repo = Repo{Kind: Models, ID: id, Revision: revision}
	return m, IsName(id) && m.repo.check() == nil && (m.file == "" || fs.ValidPath(m.file)) && !(at && revision == "")
}

// beside are patterns of the files that a model has beside its weights and that are read, or that go with it wherever it goes. Patterns
// are path.Match's, in lower case.
var beside = []string{
	"config.json", "generation_config.json",
	"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja",
	"license*", "licence*", "notice*", "use_policy*", "readme.md",
}

// vocabularies are files of which a tokenizer has one.
var vocabularies = []string{"tokenizer.json", "tokenizer.model", "vocab.json"}

// weightFiles are the forms of weights, the first that is there being taken: one file, or an index of several.
var weightFiles = []struct{ single, index string }{
	{"model.safetensors", "model.safetensors.index.json"},
	{"pytorch_model.bin", "pytorch_model.bin.index.json"},
}

// missingFile is of a file that others promise.
type missingFile struct{ name, by string }

func (m *missingFile) Error() string { return fmt.Sprintf("no %s, which %s names", m.name, m.by) }

// pick chooses among the files of a repository those that are the model, and says which to open: "" for the folder. read reads a short
// one of them. Weights come last.
func (m modelName) pick(names []string, read func(name string) ([]byte, error)) (wanted []string, open string, err error) {
	if m.file != "" || m.quant != "" {
		wanted, err = m.gguf(names)
		if err != nil {
			return nil, "", err
		}
		return wanted, wanted[0], nil
	}
	if !slices.Contains(names, "config.json") {
		return nil, "", fmt.Errorf("it has no config.json%s", m.ggufs(names))
	}
	for _, name := range names {
		if slices.ContainsFunc(beside, func(pattern string) bool {
			ok, err := path.Match(pattern, strings.ToLower(name))
			return ok && err == nil
		}) {
			wanted = append(wanted, name)
		}
	}
	for _, form := range weightFiles {
		if slices.Contains(names, form.single) {
			return append(wanted, form.single), "", nil
		}
		if !slices.Contains(names, form.index) {
			continue
		}
		raw, err := read(form.index)
		if err != nil {
			return nil, "", err
		}
		shards, err := shardsOf(raw)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", form.index, err)
		}
		for _, shard := range shards {
			if !slices.Contains(names, shard) {
				return nil, "", &missingFile{shard, form.index}
			}
		}
		return append(append(wanted, form.index), shards...), "", nil
	}
	return nil, "", fmt.Errorf("it has neither %s nor %s, nor an index of several%s", weightFiles[0].single, weightFiles[1].single, m.ggufs(names))
}

// shardsOf lists the files that an index of weights names.
func shardsOf(raw []byte) (shards []string, err error) {
	var index struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := parse(raw, &index); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, shard := range index.Weights {
		if !seen[shard] {
			seen[shard] = true
			shards = append(shards, shard)
		}
	}
	if len(shards) == 0 {
		return nil, errors.New("it names no files")
	}
	slices.Sort(shards)
	return shards, nil
}

var (
	// typeInName is what the name of a GGUF file says of its type.
	typeInName = regexp.MustCompile(`(?i)(?:^|[-._/])((?:UD-)?(?:I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4|BF16|F16|F32))(?:-[0-9]{5}-of-[0-9]{5})?\.gguf$`)
	partOfFile = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})(\.(?i:gguf))$`)
)

// ggufFiles lists the GGUF files of models; what llama.cpp calls mmproj is the part that sees, imatrix a statistic.
func ggufFiles(names []string) (list []string) {
	for _, name := range names {
		base := strings.ToLower(path.Base(name))
		if path.Ext(base) == ".gguf" && !strings.Contains(base, "mmproj") && !strings.Contains(base, "imatrix") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// gguf chooses the parts of a GGUF file, the first part first.
func (m modelName) gguf(names []string) ([]string, error) {
	file := m.file
	if file == "" {
		var found []string
		for _, name := range ggufFiles(names) {
			t := typeInName.FindStringSubmatch(name)
			part := partOfFile.FindStringSubmatch(name)
			if t != nil && strings.EqualFold(t[1], m.quant) && (part == nil || part[2] == "00001") {
				found = append(found, name)
			}
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("it has no GGUF file of type %s%s", m.quant, m.ggufs(names))
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("it has several GGUF files of type %s; name one: %s", m.quant, strings.Join(found, ", "))
		}
		file = found[0]
	}
	if !slices.Contains(names, file) {
		return nil, fmt.Errorf("it has no file %s%s", file, m.ggufs(names))
	}
	part := partOfFile.FindStringSubmatch(file)
	if part == nil {
		return []string{file}, nil
	}
	var count int
	if _, err := fmt.Sscanf(part[3], "%d", &count); err != nil || count > 1000 {
		return nil, fmt.Errorf("%s: one of %s parts", file, part[3])
	}
	parts := []string{fmt.Sprintf("%s-%05d-of-%s%s", part[1], 1, part[3], part[4])}
	for i := 2; i <= count; i++ {
		parts = append(parts, fmt.Sprintf("%s-%05d-of-%s%s", part[1], i, part[3], part[4]))
	}
	for _, name := range parts {
		if !slices.Contains(names, name) {
			return nil, &missingFile{name, file}
		}
	}
	return parts, nil
}

// ggufs says which GGUF files there are to name instead.
func (m modelName) ggufs(names []string) string {
	var list []string
	for _, name := range ggufFiles(names) {
		choice := m.repo.String() + "/" + name
		if t := typeInName.FindStringSubmatch(name); t != nil {
			choice = m.repo.String() + ":" + t[1]
		}
		if !slices.Contains(list, choice) {
			list = append(list, choice)
		}
	}
	if len(list) == 0 {
		return ""
	}
	const shown = 20
	more := ""
	if len(list) > shown {
		list, more = list[:shown], fmt.Sprintf(" and %d more", len(list)-shown)
	}
	return "; it has " + strings.Join(list, ", ") + more
}

// Public says whether a name that Model knows is that of a repository which everybody can see: the hub is asked for it without a token, and
// answers. A name of a file or folder is not, nor is any offline. What else ends the question, as a hub that cannot be reached, is an error.
func (h Hub) Public(ctx context.Context, name string) (bool, error) {
	m, ok := parseModel(name)
	if _, err := os.Stat(name); err == nil || !ok || h.IsOffline() {
		return false, nil
	}
	h.anonymous = true
	_, err := h.commit(ctx, Repo{Kind: Models, ID: m.repo.ID})
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.status >= 400 && failed.status < 500 && failed.status != http.StatusTooManyRequests {
		return false, nil
	}
	return err == nil, err
}

// Model finds a model: name itself if there is such a file or folder, else owner/name or owner/name@revision, of which the folder is given,
// or one of its GGUF files, as owner/name/file.gguf or owner/name:Q4_K_M. What the cache has is taken without a connection; what it lacks
// is fetched, of all files only those that are read.
func (h Hub) Model(ctx context.Context, name string) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	m, ok := parseModel(name)
	if !ok {
		return name, nil // no name of a repository: whoever opens it says what is wrong
	}
	found, err := h.cachedModel(m)
	if err == nil {
		return found, nil
	}
	var lacks *lacking
	if !errors.As(err, &lacks) && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	usable := lacks != nil && lacks.dir != ""
	switch {
	case h.IsOffline() && usable:
		return lacks.dir, nil
	case h.IsOffline():
		return "", absent(fmt.Sprintf("%s is no folder, not whole in the Hugging Face cache (%v), and this is offline", name, err))
	}
	found, err = h.fetchModel(ctx, m)
	switch {
	case err != nil && usable && ctx.Err() == nil:
		return lacks.dir, nil
	case err != nil:
		return "", fmt.Errorf("%s is no folder; %w", name, err)
	}
	return found, nil
}

// lacking is of a model in the cache of which something is missing; dir is its folder if it can be used without.
type lacking struct {
	dir string
	err error
}

func (l *lacking) Error() string { return l.err.Error() }

// cachedModel finds a model in the cache, whole.
func (h Hub) cachedModel(m modelName) (string, error) {
	dir, err := h.Snapshot(m.repo)
	if err != nil {
		return "", err
	}
	list, err := names(dir)
	if err != nil {
		return "", err
	}
	wanted, open, err := m.pick(list, func(name string) ([]byte, error) { return files.Read(filepath.Join(dir, name), maxListing) })
	if err != nil {
		return "", &lacking{err: err}
	}
	if open == "" && !slices.ContainsFunc(vocabularies, func(name string) bool { return slices.Contains(wanted, name) }) {
		return "", &lacking{dir, errors.New("it has no tokenizer")} // other programs fetch weights alone
	}
	return filepath.Join(dir, filepath.FromSlash(open)), nil
}

// fetchModel fetches what a model consists of.
func (h Hub) fetchModel(ctx context.Context, m modelName) (string, error) {
	open := ""
	dir, _, err := h.Select(ctx, m.repo, func(names []string, read func(name string) ([]byte, error)) (wanted []string, err error) {
		if wanted, open, err = m.pick(names, read); err != nil || open != "" || h.Config == nil {
			return wanted, err
		}
		raw, err := read("config.json")
		if err == nil {
			err = h.Config(raw)
		}
		return wanted, err
	})
	return filepath.Join(dir, filepath.FromSlash(open)), err
}

// CachedModels lists the models that the cache has whole, by their names. A cache that is not there has none.
func (h Hub) CachedModels() ([]string, error) {
	cache, err := h.cache()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(cache)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hub: %w", err)
	}
	var list []string
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), string(Models)+"--")
		m, named := parseModel(strings.ReplaceAll(id, "--", "/"))
		if !ok || !named {
			continue
		}
		if _, err := h.cachedModel(m); err == nil {
			list = append(list, m.repo.ID)
		}
	}
	return list, nil
}
