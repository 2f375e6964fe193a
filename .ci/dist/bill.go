package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// billTool compiles cyclonedx-gomod, whose own checksum is in what it writes: so it has to be the same program everywhere, too.
func (r *release) billTool() (string, error) {
	path := filepath.Join(r.scratch, "cyclonedx-gomod")
	_, err := command(filepath.Join(r.source, ".ci/dist/sbom"), append(slices.Clone(r.env), "CGO_ENABLED=0", "GOAMD64=v1"),
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=", "-o", path, "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod")
	return path, err
}

// bill writes the list of the modules that are linked into a target's program, and of the Go release: CycloneDX, without the number and the time
// that would be other ones each time. The licences are those of the notices, which CI holds to: cyclonedx-gomod would guess, and name the GPL for
// a module that leaves a choice.
func (r *release) bill(t target, path string, shared []entry) error {
	_, err := command(r.source, r.of(t), r.tool, "app", "-json", "-output", path, "-output-version", "1.6", "-noserial", "-notimestamp", "-std", "-main", "cmd/vkcome", ".")
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(shared, func(e entry) bool { return e.name == notices })
	if raw, err = withLicenses(raw, licenses(string(shared[i].data))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, raw, 0o644)
}

// notice is the head of a text in the notices: lines of what it covers, and its licence's names.
var notice = regexp.MustCompile(`(?m)((?:^.+\n)+)\(([^()\n]+)\)\n-+\n\n`)

// licenses reads from the notices which licences a module is under, by its name and version with a blank between.
func licenses(notices string) map[string][]string {
	by := map[string][]string{}
	for _, head := range notice.FindAllStringSubmatch(notices, -1) {
		for _, covers := range strings.Split(strings.TrimSpace(head[1]), "\n") {
			module, _, _ := strings.Cut(covers, ",") // a part of a module stands behind a comma
			for _, name := range strings.Split(head[2], ", ") {
				if name != "notice" && !slices.Contains(by[module], name) { // an Apache notice is no licence of its own
					by[module] = append(by[module], name)
				}
			}
		}
	}
	return by
}

// withLicenses puts the licences into a list of modules. A module without one is an error.
func withLicenses(raw []byte, by map[string][]string) ([]byte, error) {
	var list map[string]any
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	add := func(component any, key string) error {
		c, ok := component.(map[string]any)
		if !ok || len(by[key]) == 0 {
			return fmt.Errorf("the notices have no licence of %s", key)
		}
		var licenses []any
		for _, name := range by[key] {
			word := "id" // of SPDX
			if name == "Sun" {
				word = "name"
			}
			licenses = append(licenses, map[string]any{"license": map[string]any{word: name}})
		}
		c["licenses"] = licenses
		return nil
	}
	metadata, _ := list["metadata"].(map[string]any)
	if err := add(metadata["component"], "vkcome"); err != nil {
		return nil, err
	}
	components, _ := list["components"].([]any)
	for _, component := range components {
		c, _ := component.(map[string]any)
		key := fmt.Sprintf("%v %v", c["name"], c["version"])
		if c["name"] == "std" {
			key = "the Go standard library"
		}
		if err := add(component, key); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(list)
	return out.Bytes(), err
}
