package corpus

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/files"

	"go.yaml.in/yaml/v3"
)

// A folder of a data set is read as the Python package datasets 5 reads it: by what its README says of configs, else by what the names of
// its files and folders say of splits. But never are several splits or configs taken for one: which is meant is an error that lists them.

// maxCard is how much of a README is looked at; those with the features of a thousand configs have some 500 kB in front.
const maxCard = 4 << 20

// layout is the files of a folder by config and split.
type layout struct {
	configs []config
	left    []string // files that have a known ending and are in no split
}

type config struct {
	name    string
	chosen  bool // the README says that it is the one without a name
	splits  []split
	folders []string // that hold the same split, where no README says that they are one config
}

type split struct {
	name  string // "" where nothing says that the files are a split
	files []string
}

// aside are the beginnings of the names of files that lie beside data, in lower case.
var aside = []string{"readme", "license", "licence", "notice", "citation", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}

// isAside says whether a file describes data and is none.
func isAside(name string) bool {
	base := strings.ToLower(path.Base(name))
	return slices.ContainsFunc(aside, func(prefix string) bool {
		rest, ok := strings.CutPrefix(base, prefix)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], "._-")) // not readmeter.txt
	})
}

// keywords are the words by which names tell of splits, as datasets has them, and the splits.
var keywords = map[string]string{
	"train": "train", "training": "train",
	"validation": "validation", "valid": "validation", "dev": "validation", "val": "validation",
	"test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}

// canonical is the split that a word stands for, or the word.
func canonical(word string) string { return cmp.Or(keywords[word], word) }

var (
	sharded   = regexp.MustCompile(`^(.+)-[0-9]{5}-of-[0-9]{5}[^/]*\.[^/]+$`)
	separated = regexp.MustCompile(`[-._ 0-9]+`)
)

// named gives the splits that the words of a name speak of.
func named(name string) (splits []string) {
	for _, word := range separated.Split(name, -1) {
		if s := keywords[word]; s != "" && !slices.Contains(splits, s) {
			splits = append(splits, s)
		}
	}
	return splits
}

// layoutOf finds configs and splits among the files of a folder, names below it with slashes. card is its README, if any.
func layoutOf(names []string, card []byte) (*layout, error) {
	var data []string
	for _, name := range names {
		if slices.Contains(suffixes, kind(name)) && !isAside(name) {
			data = append(data, name)
		}
	}
	slices.Sort(data)
	configs, err := readCard(card)
	if err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	l := &layout{}
	taken := map[string]bool{}
	for _, c := range configs {
		found := c.match(data)
		for _, s := range found.splits {
			for _, name := range s.files {
				taken[name] = true
			}
		}
		if len(found.splits) > 0 {
			l.configs = append(l.configs, found)
		}
	}
	if len(l.configs) == 0 {
		c, err := byNames(data)
		if err != nil {
			return nil, err
		}
		for _, s := range c.splits {
			for _, name := range s.files {
				taken[name] = true
			}
		}
		l.configs = []config{c}
	}
	l.left = slices.DeleteFunc(slices.Clone(data), func(name string) bool { return taken[name] })
	return l, nil
}

// place is where a name says what split a file is in: in the part that follows folder.
type place struct{ folder, split string }

// byNames finds the splits that names speak of: SPLIT-00000-of-00001 in data or in another folder, else words in the names of folders, else
// in those of files. Files of which the kind of name that is found says nothing are left out.
func byNames(data []string) (config, error) {
	for _, look := range []func(name string) ([]place, error){
		func(name string) ([]place, error) { return ofShard(name, "data") },
		func(name string) ([]place, error) { return ofShard(name, "") },
		ofFolder,
		ofFile,
	} {
		c := config{}
		folders := map[string][]string{}
		for _, name := range data {
			places, err := look(name)
			if err != nil {
				return config{}, err
			}
			for _, p := range places {
				c.add(p.split, name)
				if !slices.Contains(folders[p.split], p.folder) {
					folders[p.split] = append(folders[p.split], p.folder)
				}
			}
		}
		if len(c.splits) == 0 {
			continue
		}
		for _, list := range folders {
			if len(list) > len(c.folders) && len(list) > 1 {
				c.folders = list
			}
		}
		slices.SortFunc(c.splits, func(a, b split) int { return strings.Compare(a.name, b.name) })
		if len(c.splits) == 1 && len(named(c.splits[0].name)) == 0 && len(c.folders) == 0 && len(c.splits[0].files) == len(data) {
			break // a name such as part or books, that is no split's
		}
		return c, nil
	}
	return config{splits: []split{{"", data}}}, nil
}

func (c *config) add(name string, files ...string) {
	i := slices.IndexFunc(c.splits, func(s split) bool { return s.name == name })
	if i < 0 {
		i, c.splits = len(c.splits), append(c.splits, split{name: name})
	}
	c.splits[i].files = append(c.splits[i].files, files...)
}

// ofShard is of names such as validation-00000-of-00002.parquet, in one folder or, with "", in any.
func ofShard(name, folder string) ([]place, error) {
	dir, base := path.Split(name)
	m := sharded.FindStringSubmatch(base)
	if m == nil || folder != "" && dir != folder+"/" {
		return nil, nil
	}
	return []place{{path.Clean("./" + dir), m[1]}}, nil
}

func ofFolder(name string) ([]place, error) {
	parts := strings.Split(name, "/")
	for i, part := range parts[:len(parts)-1] {
		if places, err := ofWords(name, part, path.Join(parts[:i]...)); err != nil || places != nil {
			return places, err
		}
	}
	return nil, nil
}

func ofFile(name string) ([]place, error) {
	dir, base := path.Split(name)
	return ofWords(name, base, path.Clean("./"+dir))
}

func ofWords(name, part, folder string) ([]place, error) {
	splits := named(part)
	if len(splits) > 1 {
		return nil, fmt.Errorf("%s: its name speaks of the splits %s; name the files themselves", name, strings.Join(splits, " and "))
	}
	if len(splits) == 0 {
		return nil, nil
	}
	return []place{{path.Clean("./" + folder), splits[0]}}, nil
}

// cardConfig is what a README says of a config.
type cardConfig struct {
	Name      string    `yaml:"config_name"`
	DataFiles dataFiles `yaml:"data_files"`
	DataDir   string    `yaml:"data_dir"`
	Default   bool      `yaml:"default"`
}

// dataFiles are the patterns of a config's splits.
type dataFiles []struct {
	Split string
	Path  stringList
}

type stringList []string

func (l *stringList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = stringList{n.Value}
		return nil
	}
	return n.Decode((*[]string)(l))
}

// UnmarshalYAML reads a pattern, a list of them, or a list of splits with theirs; without splits they are train's.
func (d *dataFiles) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode {
		return n.Decode((*[]struct {
			Split string
			Path  stringList
		})(d))
	}
	var all stringList
	if err := n.Decode(&all); err != nil {
		return err
	}
	*d = dataFiles{{"train", all}}
	return nil
}

// readCard reads the configs in the YAML in front of a README.
func readCard(card []byte) ([]cardConfig, error) {
	card = bytes.ReplaceAll(card, []byte("\r\n"), []byte("\n"))
	front, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil, nil
	}
	front, _, ok = bytes.Cut(front, []byte("\n---"))
	if !ok {
		return nil, nil
	}
	var head struct {
		Configs []cardConfig `yaml:"configs"`
	}
	if err := yaml.Unmarshal(front, &head); err != nil {
		return nil, fmt.Errorf("configs: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	for _, c := range head.Configs {
		if c.Name == "" {
			return nil, errors.New("configs: an entry has no config_name")
		}
	}
	return head.Configs, nil
}

// match finds the files of a config.
func (c cardConfig) match(data []string) config {
	out := config{name: c.Name, chosen: c.Default}
	below := func(name string) (string, bool) {
		if c.DataDir == "" {
			return name, true
		}
		return strings.CutPrefix(name, path.Clean(c.DataDir)+"/")
	}
	for _, s := range c.DataFiles {
		var patterns []*regexp.Regexp
		for _, p := range s.Path {
			patterns = append(patterns, globbed(p))
		}
		for _, name := range data {
			if rel, ok := below(name); ok && slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(rel) }) {
				out.add(s.Split, name)
			}
		}
	}
	if c.DataFiles == nil && c.DataDir != "" {
		var inside []string
		for _, name := range data {
			if _, ok := below(name); ok {
				inside = append(inside, name)
			}
		}
		if found, err := byNames(inside); err == nil && len(inside) > 0 {
			out.splits, out.folders = found.splits, found.folders
		}
	}
	return out
}

// globbed is a pattern of a README as a regular expression: * and ? stand for no slash, ** for any number of folders.
func globbed(pattern string) *regexp.Regexp {
	pattern = strings.TrimPrefix(pattern, "./")
	var b strings.Builder
	b.WriteString(`^`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/"):
			b.WriteString(`(?:.*/)?`)
			i += 2
		case strings.HasPrefix(pattern[i:], "**"):
			b.WriteString(`.*`)
			i++
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '[' && strings.IndexByte(pattern[i+1:], ']') > 0:
			end := i + 1 + strings.IndexByte(pattern[i+1:], ']')
			class := pattern[i+1 : end]
			b.WriteByte('[')
			if rest, not := strings.CutPrefix(class, "!"); not {
				b.WriteByte('^')
				class = rest
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(class))
			b.WriteByte(']')
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`$`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return regexp.MustCompile(`^` + regexp.QuoteMeta(pattern) + `$`) // a class that is none
	}
	return re
}

// names lists what to choose from.
func names[T any](list []T, name func(T) string) string {
	var out []string
	for _, v := range list[:min(len(list), shownFields)] {
		out = append(out, name(v))
	}
	if more := len(list) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// choose gives the files of a split. want is "", SPLIT, CONFIG or CONFIG:SPLIT; without a split it is train or, to test, test, else
// validation; files of which nothing says that they are a split are taken whole.
func (l *layout) choose(want string, test bool) (chosen config, s split, err error) {
	conf, name, _ := strings.Cut(want, ":")
	c, ok := l.config(conf)
	switch {
	case ok && conf != "": // a config, and perhaps a split
	case strings.Contains(want, ":"):
		return c, s, fmt.Errorf("no config %q; it has %s", conf, names(l.configs, func(c config) string { return c.name }))
	default:
		name = want
		if c, ok = l.config(""); !ok {
			return c, s, fmt.Errorf("it has several configs; name one behind a colon, as DIR:CONFIG or DIR:CONFIG:SPLIT: %s", names(l.configs, func(c config) string { return c.name }))
		}
	}
	wants := []string{name}
	if name == "" {
		if wants = []string{"train"}; test {
			wants = []string{"test", "validation"}
		}
	}
	for _, w := range wants {
		s, ok = c.split(w)
		if ok {
			break
		}
	}
	if !ok && name == "" && len(c.splits) == 1 && c.splits[0].name == "" {
		s, ok = c.splits[0], true
	}
	if !ok {
		list := names(c.splits, func(s split) string { return s.name })
		switch {
		case name != "" && len(c.splits) == 1 && c.splits[0].name == "":
			return c, s, fmt.Errorf("no split %q; nothing in the names of its files says that it has splits", name)
		case name != "":
			return c, s, fmt.Errorf("no split %q; it has %s", name, list)
		}
		return c, s, fmt.Errorf("no split %s; name one that it has, as DIR:SPLIT: %s", strings.Join(wants, " or "), list)
	}
	if len(c.folders) > 1 {
		return c, s, fmt.Errorf("split %s is in several folders; name one of them: %s", s.name, names(c.folders, func(f string) string { return f }))
	}
	return c, s, nil
}

// config finds a config by its name; "" is the README's default, one called default, or the only one.
func (l *layout) config(name string) (config, bool) {
	if name != "" {
		i := slices.IndexFunc(l.configs, func(c config) bool { return c.name == name })
		if i < 0 {
			return config{}, false
		}
		return l.configs[i], true
	}
	if len(l.configs) == 1 {
		return l.configs[0], true
	}
	for _, is := range []func(config) bool{func(c config) bool { return c.chosen }, func(c config) bool { return c.name == "default" }} {
		if i := slices.IndexFunc(l.configs, is); i >= 0 {
			return l.configs[i], true
		}
	}
	return config{}, false
}

// split finds a split by its name, or by a word that means the same.
func (c config) split(name string) (split, bool) {
	for _, is := range []func(split) bool{func(s split) bool { return s.name == name }, func(s split) bool { return s.name != "" && canonical(s.name) == canonical(name) }} {
		if i := slices.IndexFunc(c.splits, is); i >= 0 {
			return c.splits[i], true
		}
	}
	return split{}, false
}

// numbered is the name of one of several files: what they have in common, its index, and how many they are.
var numbered = regexp.MustCompile(`^(.*)[-.]([0-9]{5,9})-of-([0-9]{5,9})`)

// Shards counts files of which each says how many there are, as train-00000-of-00002.parquet does: those that are there, and those that
// there should be, of a series that is not whole if there is any.
func Shards(files []string) (have, want int) {
	type series struct{ name, total string }
	there := map[series]map[string]bool{}
	for _, file := range files {
		if m := numbered.FindStringSubmatch(filepath.Base(file)); m != nil {
			key := series{m[1], m[3]}
			if there[key] == nil {
				there[key] = map[string]bool{}
			}
			there[key][m[2]] = true
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(there), func(a, b series) int { return strings.Compare(a.name+a.total, b.name+b.total) }) {
		total, err := strconv.Atoi(key.total)
		if have, want = len(there[key]), total; err != nil || have != want {
			return have, want
		}
	}
	return have, want
}

// listed gives the names of a folder's files, hidden ones left out.
func listed(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		info, err := os.Stat(file) // the Hugging Face cache consists of links
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

const readmeFile = "README.md"

// readme is the beginning of a folder's README.md, nothing if there is none.
func readme(dir string) ([]byte, error) {
	f, err := files.Open(filepath.Join(dir, readmeFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCard))
}

// folder finds the files of a folder that want (layout.choose) means.
func folder(dir, want string, test bool) (*found, error) {
	names, err := listed(dir)
	if err != nil {
		return nil, err
	}
	card, err := readme(dir)
	if err != nil {
		return nil, err
	}
	l, err := layoutOf(names, card)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if len(l.left) == 0 && len(l.configs[0].splits[0].files) == 0 {
		return nil, fmt.Errorf("%s: no file below it ends in %s%s", dir, strings.Join(suffixes, ", "), instead(names))
	}
	c, s, err := l.choose(want, test)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	f := &found{name: filepath.Base(dir)}
	for _, word := range []string{c.name, s.name} {
		if word != "" {
			f.name += ":" + word
		}
	}
	for _, name := range s.files {
		f.files = append(f.files, filepath.Join(dir, filepath.FromSlash(name)))
	}
	if have, want := Shards(f.files); have < want {
		f.partial = fmt.Sprintf("%s has %d of the %d files that their names count", f.name, have, want)
	}
	for _, name := range l.left {
		f.left = append(f.left, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return f, nil
}
