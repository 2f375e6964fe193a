//go:build unix

package hostile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/modeltest"
)

func init() { kinds["config"] = configCases }

const configFile = "model/config.json"

// architecture is a small model of an architecture.
func architecture(name string) input {
	spec, err := modeltest.Named(name)
	if err != nil {
		panic(err)
	}
	spec.Vocab, spec.Context = 260, max(spec.Context, 64)
	return model(name, spec)
}

// fields are values that a key of a config.json may have beside those of values: numbers that are near to sense.
var fields = []string{"2", "3", "7", "31", "33", "48", "49", "65536", "1048576", "1000000000", "4294967296", "-2147483649", "1e6", "0.999", "1.0000001", "1e-6", "1e38", "3.5e38", `"linear"`, `"2"`, `[1,2,3]`,
	`["full_attention"]`, `{"rope_type":"yarn"}`, `{"type":"linear"}`, `{"factor":8}`, `{"rope_type":"llama3","factor":1e300}`, `{"rope_type":"dynamic","factor":-1}`, `{"rope_type":"longrope","short_factor":[1],"long_factor":[]}`,
	`{"rope_type":"yarn","factor":1e-300,"original_max_position_embeddings":0}`, `{"rope_type":"\u001b[31m"}`}

func configCases() (list []hostile) {
	for _, name := range modeltest.Names() {
		base := architecture(name)
		raw := base[configFile].data
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(raw, &keys); err != nil {
			panic(err)
		}
		add := func(title string, text func() []byte) {
			list = append(list, hostile{name: name + ": " + title, ok: sane, runs: [][]string{inspect(), ppl()}, make: func() input { return base.file(configFile, text()) }})
		}
		n := 4
		if name == "llama" {
			n = 40
		}
		rng := random("config " + name)
		for _, c := range changes(rng, raw, n) {
			add(c.name, c.make)
		}
		all, _ := places(raw)
		all = slices.DeleteFunc(all, func(p place) bool { return p.path == "" })
		seen := map[string]bool{}
		for len(seen) < n {
			p, v := all[rng.IntN(len(all))], fields[rng.IntN(len(fields))]
			if title := fmt.Sprintf("%s is %s", p.path, v); !seen[title] {
				seen[title] = true
				add(title, func() []byte { return splice(raw, p, v) })
			}
		}
		// A scaling, a window or experts that another family has, or nobody.
		for _, extra := range []string{`"rope_scaling":{"factor":4}`, `"sliding_window":1`, `"num_experts":1000000000`, `"head_dim":1073741824`, `"quantization_config":{"quant_method":"\u001b[31m"}`}[rng.IntN(4):] {
			add("with "+extra, func() []byte { return []byte("{" + extra + "," + strings.TrimSpace(string(raw))[1:]) })
		}
	}
	base := clean()
	for name, e := range special() {
		list = append(list, hostile{name: "the file is " + name, ok: never, runs: [][]string{inspect()}, make: func() input {
			return base.with(configFile, e).with("model/loop", entry{mode: fs.ModeSymlink, to: "config.json"})
		}})
	}
	list = append(list, hostile{name: "a rope_scaling that has a factor and no type", ok: never, runs: [][]string{inspect()}, want: "rope_scaling", make: func() input {
		return base.file(configFile, []byte(`{"rope_scaling":{"factor":4},`+strings.TrimSpace(string(base[configFile].data))[1:]))
	}})
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
