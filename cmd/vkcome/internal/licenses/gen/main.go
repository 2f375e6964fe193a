// Command gen collects the licences of vkcome, the Go standard library and every module that is linked into the binary, and writes
// them to NOTICES.txt. It fails where a licence is missing, is not recognized, or does not allow a binary under the MIT licence.
// With -check it compares with the committed file instead of writing.
//
// Run it from the repository's root: go run ./cmd/vkcome/internal/licenses/gen
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/licensecheck"
)

const (
	program = "./cmd/vkcome"
	notices = "cmd/vkcome/internal/licenses/NOTICES.txt"
)

// systems are those that a binary is built for: a module may be linked on one of them alone.
var systems = []string{"linux", "darwin", "windows"}

// allowed are the licences, by their SPDX names, under which a part of an MIT-licensed binary may be. OFL-1.1 is one of fonts, which it lets be
// bundled with any software (its condition 2), where they are not sold by themselves.
var allowed = []string{"OFL-1.1", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "Zlib", "BSL-1.0", "0BSD", "Unlicense", "CC0-1.0"}

// leastCovered is the share of a text, in percent, that licensecheck must recognize: what is left is names, dates and headings.
const leastCovered = 75

// judgement is what a person decided about a text that licensecheck does not recognize. A changed text asks for a new one.
type judgement struct {
	sha256  string // of the text, its first 16 digits
	license string // what the notice calls it; empty: no code under it is linked
	reason  string
}

const (
	freetype = "github.com/golang/freetype"
	svgo     = "github.com/ajstarks/svgo"
)

const gonum = "gonum.org/v1/gonum/THIRD_PARTY_LICENSES/"

var judged = map[string]judgement{
	svgo + "/LICENSE":               {"ed4b89feec98e1fb", "CC-BY-4.0", "free to share and to adapt, also in what is sold, where the notice and the text are kept; linked by gonum's list of formats, never called"},
	svgo + "/LICENSE-link.txt":      {"faef26bb83b741b2", "CC-BY-4.0", "names the same licence"},
	freetype + "/LICENSE":           {"d3ba056adc2b7909", "FTL", "of the two that it leaves a choice of, the FreeType licence is chosen here, not the GPL"},
	freetype + "/licenses/ftl.txt":  {"f4b133e25df1f86a", "FTL", "free to use in parts or in full, also in what is sold, where it is credited, which the notices do; linked by gonum's formats of pixels, never called"},
	gonum + "Sun-LICENSE":           {"1fad26590385d93b", "Sun", "free to use, copy, modify and distribute where the notice is kept"},
	gonum + "MT19937-64-LICENSE":    {"c9c37150f4da119e", "BSD-3-Clause", "BSD-3-Clause between a preface and references"},
	gonum + "Bogaert-LICENSE":       {"19912b29acb89536", "", "covers integrate/quad"},
	gonum + "W3C-TestSuite-LICENSE": {"aa82ad47b727abea", "", "covers test data of graph/formats/rdf"},
	gonum + "W3C-BSD-LICENSE":       {"5531609b9501cb26", "", "covers test data of graph/formats/rdf"},
}

// chosen are the texts that a module's licence leaves a choice of, which is made here.
var chosen = map[string]string{freetype: "licenses/ftl.txt"}

// headers are files whose leading comment is the only notice of what they hold.
var headers = map[string]string{"github.com/vulkan-go/vulkan": "vulkan/vulkan_core.h"}

var (
	noticeName  = regexp.MustCompile(`(?i)^(licen[sc]e|copying|unlicense|notice)([-_.].*)?$`)
	codeName    = regexp.MustCompile(`\.(go|s|c|h)$`)
	leadComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
)

// pkg is what `go list` says of a package.
type pkg struct {
	Dir, ImportPath string
	Standard        bool
	Module          *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// text is a licence's text and what it covers.
type text struct {
	license string
	covers  []string
	body    string
}

func main() {
	check := flag.Bool("check", false, "compare with the committed file instead of writing it")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	texts, err := collect()
	if err != nil {
		return err
	}
	want := render(texts)
	if !check {
		return os.WriteFile(notices, want, 0o644)
	}
	if got, err := os.ReadFile(notices); err != nil || !bytes.Equal(got, want) {
		return errors.Join(fmt.Errorf("%s is not what the linked modules say: go run ./cmd/vkcome/internal/licenses/gen", notices), err)
	}
	fmt.Printf("%d licence texts allow a binary under the MIT licence\n", len(texts))
	return nil
}

// collect finds the texts: vkcome's first, then Go's, then by module. Every fault is told, not the first alone.
func collect() ([]*text, error) {
	packages, err := linked()
	if err != nil {
		return nil, err
	}
	var list []*text
	var faults []error
	add := func(covers, id string, body []byte) {
		license, err := classify(id, body)
		if err != nil {
			faults = append(faults, err)
		}
		if license == "" {
			return
		}
		if !utf8.Valid(body) { // a text from before UTF-8, whose © is a byte of Latin-1
			var letters strings.Builder
			for _, b := range body {
				letters.WriteRune(rune(b))
			}
			body = []byte(letters.String())
		}
		clean := strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n"))
		if i := slices.IndexFunc(list, func(t *text) bool { return t.body == clean }); i >= 0 {
			list[i].covers = append(list[i].covers, covers)
			return
		}
		list = append(list, &text{license, []string{covers}, clean})
	}
	addFile := func(covers, id, file string) {
		raw, err := os.ReadFile(file)
		if err != nil {
			faults = append(faults, err)
			return
		}
		add(covers, id, raw)
	}
	addFile("vkcome", "LICENSE", "LICENSE")
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	addFile("the Go standard library", "GOROOT/LICENSE", filepath.Join(strings.TrimSpace(string(goroot)), "LICENSE"))
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		m := packages[path]
		files, err := m.notices()
		if err != nil {
			faults = append(faults, err)
		}
		if !slices.ContainsFunc(files, func(f string) bool { return !strings.Contains(f, "/") }) {
			faults = append(faults, fmt.Errorf("%s %s: no licence in %s", path, m.version, m.dir))
		}
		for _, f := range files {
			covers := path + " " + m.version
			if strings.Contains(f, "/") {
				covers += ", " + f
			}
			addFile(covers, path+"/"+f, filepath.Join(m.dir, filepath.FromSlash(f)))
		}
		if f := chosen[path]; f != "" {
			addFile(path+" "+m.version+", "+f, path+"/"+f, filepath.Join(m.dir, filepath.FromSlash(f)))
		}
		if h := headers[path]; h != "" {
			raw, err := os.ReadFile(filepath.Join(m.dir, filepath.FromSlash(h)))
			if err != nil {
				faults = append(faults, err)
			}
			add(path+" "+m.version+", "+h, path+"/"+h, leadComment.Find(raw))
		}
	}
	return list, errors.Join(faults...)
}

// module is a module that is linked, with the folders of its packages that are.
type module struct {
	version, dir string
	folders      map[string]bool // relative to dir, with slashes
}

// linked lists the modules whose packages the program imports on any system, the main module and the standard library aside.
func linked() (map[string]*module, error) {
	found := map[string]*module{}
	for _, system := range systems {
		cmd := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Standard,Module", program)
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", system, err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p pkg
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("go list for %s: %w", system, err)
			}
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			m := found[p.Module.Path]
			if m == nil {
				m = &module{p.Module.Version, p.Module.Dir, map[string]bool{}}
				found[p.Module.Path] = m
			}
			folder, err := filepath.Rel(m.dir, p.Dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.ImportPath, err)
			}
			for folder = filepath.ToSlash(folder); folder != "."; folder = path.Dir(folder) {
				m.folders[folder] = true
			}
			m.folders["."] = true
			m.folders["THIRD_PARTY_LICENSES"] = true
		}
	}
	return found, nil
}

// notices lists the licence files of a module's linked folders, relative to the module's own.
func (m *module) notices() (files []string, err error) {
	for _, folder := range slices.Sorted(maps.Keys(m.folders)) {
		entries, err := os.ReadDir(filepath.Join(m.dir, filepath.FromSlash(folder)))
		if errors.Is(err, os.ErrNotExist) && folder == "THIRD_PARTY_LICENSES" {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := e.Name(); !e.IsDir() && !codeName.MatchString(name) && (noticeName.MatchString(name) || folder == "THIRD_PARTY_LICENSES") {
				files = append(files, path.Join(folder, name))
			}
		}
	}
	return files, nil
}

// classify names the licences of a text, empty where no code under them is linked; an error says why a text is not allowed.
func classify(id string, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	if j, ok := judged[id]; ok {
		if got := hex.EncodeToString(sum[:])[:16]; got != j.sha256 {
			return "", fmt.Errorf("%s: the text has changed (%s, judged was %s): read it again", id, got, j.sha256)
		}
		return j.license, nil
	}
	if strings.HasPrefix(strings.ToUpper(path.Base(id)), "NOTICE") {
		return "notice", nil // what the Apache licence asks to hand on beside itself
	}
	found := licensecheck.Scan(body)
	var names []string
	for _, m := range found.Match {
		if !slices.Contains(allowed, m.ID) {
			return "", fmt.Errorf("%s: %s does not allow distribution under the MIT licence, as far as is known here", id, m.ID)
		}
		if !slices.Contains(names, m.ID) {
			names = append(names, m.ID)
		}
	}
	if len(names) == 0 || found.Percent < leastCovered {
		return "", fmt.Errorf("%s: not recognized as a licence (%.0f %% of the text, %q): read it, and judge it in gen/main.go", id, found.Percent, names)
	}
	return strings.Join(names, ", "), nil
}

// render writes the texts under their headings.
func render(texts []*text) []byte {
	var b bytes.Buffer
	for i, t := range texts {
		if i > 0 {
			b.WriteString("\n\n")
		}
		longest := slices.MaxFunc(t.covers, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
		fmt.Fprintf(&b, "%s\n(%s)\n%s\n\n%s\n", strings.Join(t.covers, "\n"), t.license, strings.Repeat("-", len(longest)), t.body)
	}
	return b.Bytes()
}
