//go:build unix

package hostile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

func init() { kinds["index"] = indexCases }

const indexFile = "model/model.safetensors.index.json"

// sharded is the tiny model in shards.
func sharded() input {
	spec := tiny
	spec.ShardBytes = 20_000
	return model("sharded", spec)
}

func indexCases() (list []hostile) {
	base := sharded()
	raw := base[indexFile].data
	add := func(name string, make func() input) *hostile {
		list = append(list, hostile{name: name, clean: sharded, runs: [][]string{inspect(), ppl()}, make: make})
		return &list[len(list)-1]
	}
	text := func(name string, make func() []byte) { add(name, func() input { return base.file(indexFile, make()) }) }
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		panic(err)
	}
	all, _ := places(raw)
	for _, tensor := range []string{"model.embed_tokens.weight", "model.norm.weight"} {
		at := all[slices.IndexFunc(all, func(p place) bool { return p.path == ".weight_map."+tensor })]
		other := map[string]string{"self": "model.safetensors.index.json", "config": "config.json", "missing": "model-00009-of-00009.safetensors", "back": `..\x`, "drive": `C:\x.safetensors`, "here": ".",
			"below": "sub/model-00001-of-00002.safetensors", "round": "../model/" + index.Map[tensor], "outside": "../outside.safetensors"}
		maps.Copy(other, names)
		for _, name := range slices.Sorted(maps.Keys(other)) {
			add(tensor+" is in a shard called "+name, func() input {
				return base.file(indexFile, splice(raw, at, string(quoted(other[name])))).file("outside.safetensors", base["model/"+index.Map[tensor]].data)
			}).ok = never
		}
		for _, name := range []string{"null", "one", "empty list", "empty object", "deeper list", "surrogate"} {
			add(tensor+" is in a shard that is "+name, func() input { return base.file(indexFile, splice(raw, at, values[name])) }).ok = never
		}
		for _, shard := range slices.Sorted(maps.Values(index.Map))[:1] {
			if shard != index.Map[tensor] {
				add(tensor+" is in a shard that lacks it", func() input { return base.file(indexFile, splice(raw, at, string(quoted(shard)))) }).ok = never
			}
		}
		for name, e := range special() {
			add(tensor+"'s shard is "+name, func() input {
				return base.with("model/"+index.Map[tensor], e).with("model/loop", entry{mode: fs.ModeSymlink, to: index.Map[tensor]})
			}).ok = never
		}
	}
	for name, e := range special() {
		add("the index is "+name, func() input {
			return base.with(indexFile, e).with("model/loop", entry{mode: fs.ModeSymlink, to: "model.safetensors.index.json"})
		}).ok = never
	}
	text("a hundred thousand shards", func() []byte {
		var b strings.Builder
		b.WriteString(`{"weight_map":{`)
		for i := range 100_000 {
			fmt.Fprintf(&b, `"t%d":"s%d.safetensors",`, i, i)
		}
		return []byte(b.String() + `"x":"y"}}`)
	})
	for _, c := range changes(random("index"), raw, 45) {
		text(c.name, c.make)
	}
	slices.SortFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
