//go:build unix

package hostile

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

func init() { kinds["files"] = filesCases; kinds["keep"] = keepCases }

// filesCases put what is no file where one is expected, in a model's folder and on the command line.
func filesCases() (list []hostile) {
	base := clean().file("outside.txt", []byte(secret)).file("outside/x.txt", []byte(secret)).file("plan.json", written()["small/vkcome.json"].data)
	base["outside.json"] = entry{data: []byte(`{"a":"` + secret + `"}`)}
	other := special()
	maps.Copy(other, map[string]entry{
		"link outside": {mode: fs.ModeSymlink, to: "../outside.txt"}, "link to JSON outside": {mode: fs.ModeSymlink, to: "../outside.json"}, "link to a folder outside": {mode: fs.ModeSymlink, to: "../outside"},
		"absolute link": {mode: fs.ModeSymlink, to: "/etc/hostname"}, "link to the root": {mode: fs.ModeSymlink, to: "/"},
	})
	copied := []string{"prune", "model", "out", "--plan", "plan.json", "--json", "-q"}
	for _, file := range []string{"README.md", "LICENSE", "notes.bin", "vocab.txt", "preprocessor_config.json", "adapter_config.json", "params.json", "vkcome.json", "generation_config.json", "chat_template.jinja", "additional_chat_templates/a.jinja", "original/x.pth", ".gitattributes", "quantize_config.json"} {
		for name, e := range other {
			list = append(list, hostile{name: file + " is " + name, ok: sane, runs: [][]string{copied}, make: func() input {
				return base.with("model/"+file, e).with(path.Join("model", path.Dir(file), "loop"), entry{mode: fs.ModeSymlink, to: path.Base(file)})
			}})
		}
	}
	for name, e := range other {
		list = append(list, hostile{name: "the weights are " + name, ok: sane, runs: [][]string{inspect(), copied}, make: func() input {
			return base.with(weightsFile, e).with("model/loop", entry{mode: fs.ModeSymlink, to: "model.safetensors"})
		}}, hostile{name: "the model is " + name, ok: never, runs: [][]string{{"inspect", "thing", "-q"}}, make: func() input {
			return base.with("thing", e).with("loop", entry{mode: fs.ModeSymlink, to: "thing"})
		}})
	}
	for what, args := range map[string][]string{
		"--text": {"eval", "ppl", "model", "--text", "thing", "--window", "16", "-q"}, "--text .jsonl": {"eval", "ppl", "model", "--text", "thing.jsonl", "--window", "16", "-q"}, "--text .gz": {"eval", "ppl", "model", "--text", "thing.txt.gz", "--window", "16", "-q"},
		"--text .parquet": {"eval", "ppl", "model", "--text", "thing.parquet", "--window", "16", "-q"}, "--tokens": {"eval", "ppl", "model", "--tokens", "thing", "-q"}, "--plan": {"prune", "model", "out", "--plan", "thing", "-q"}, "--stats": {"prune", "model", "out", "--stats", "thing", "--target-layers", "2", "-q"},
		"--work": {"prune", "model", "out", "-m", "shortgpt", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "--work", "thing", "-q"}, "OUT": {"prune", "model", "thing", "-m", "shortgpt", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "-q"},
		"--force": {"prune", "model", "thing", "-m", "shortgpt", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "--force", "-q"}, "--chat-template": {"generate", "model", "--chat", "--chat-template", "./thing", "-p", "x", "-n", "1", "-q"}, "--file": {"tokenize", "model", "--file", "thing", "-q"},
		"bench compare": {"bench", "compare", "thing", "thing"}, "eval compare": {"eval", "compare", "thing", "thing"}, "stats merge": {"stats", "merge", "out.safetensors", "thing"}, "logits --out": {"logits", "model", "--tokens", "ids.json", "--window", "16", "--out", "thing", "-q"},
		"convert OUT": {"convert", "model", "thing.gguf", "-q"}, "--samples": {"eval", "tasks", "model", "--tasks", "arc_easy", "--samples", "thing", "-q"}, "--data": {"eval", "tasks", "model", "--tasks", "arc_easy", "--data", "thing", "--no-cache", "-q"}, "--losses": {"prune", "model", "out", "--plan", "plan.json", "--losses", "thing", "-q"},
		"--spill-dir": prune("--spill-dir", "thing", "--max-host-memory", "300MiB"), "--eval-text": {"compare", "model", "--depths", "2", "--methods", "reverse", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--eval-text", "thing", "-q"},
	} {
		// The name of the thing is the argument that holds the word.
		thing := args[slices.IndexFunc(args, func(a string) bool { return strings.Contains(a, "thing") })]
		for name, e := range other {
			ok := never
			// What a spill goes to, and what a work folder was, may be there; a text may be empty or noise.
			if slices.Contains([]string{"--spill-dir", "--work", "--text", "--text .jsonl", "--data", "--file", "--eval-text", "--losses", "--chat-template", "OUT", "convert OUT"}, what) {
				ok = sane
			}
			list = append(list, hostile{name: what + " is " + name, ok: ok, runs: [][]string{args}, make: func() input {
				return base.with(path.Clean(thing), e).with("loop", entry{mode: fs.ModeSymlink, to: path.Clean(thing)})
			}})
		}
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}

// keepCases have files of the user's where vkcome removes and replaces its own: they stay.
func keepCases() (list []hostile) {
	made := written()
	for _, file := range []string{"layer-cake.txt", "step-by-step/thesis", "owner", "lock", "manifest.json", "layer-000001-000000.safetensors", "step-000001/run.json", "SHA256SUMS", ".vkcome", "a.tmp", "step-", "layer-"} {
		for _, how := range [][]string{nil, {"--resume"}, {"--force"}} {
			list = append(list, hostile{name: fmt.Sprintf("--work with %s %v", file, how), ok: never, runs: [][]string{prune(append([]string{"--work", "mine"}, how...)...)}, make: func() input {
				return clean().file("mine/"+file, []byte(secret))
			}})
		}
		list = append(list, hostile{name: "a hidden work folder with " + file, ok: never, runs: [][]string{prune("--force")}, make: func() input { return clean().file(".out.vkcome-work/"+file, []byte(secret)) }})
	}
	for _, file := range []string{"thesis.tex", "sub/thesis.tex", "model-00009.safetensors", ".git/config", "README.txt", "README.md", "checkpoint.pt"} {
		args := []string{"prune", "model", "small", "-m", "shortgpt", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "--force", "-q"}
		list = append(list, hostile{name: "--force on a model with " + file, ok: never, runs: [][]string{args}, make: func() input { return made.file("small/"+file, []byte("mine")) }})
		list = append(list, hostile{name: "--force on a folder with " + file, ok: never, runs: [][]string{args}, make: func() input { return clean().file("small/"+file, []byte("mine")) }})
		list = append(list, hostile{name: "no --force on a folder with " + file, ok: never, runs: [][]string{args[:len(args)-2]}, make: func() input { return clean().file("small/"+file, []byte("mine")) }})
		list = append(list, hostile{name: "--force on a model whose vkcome.json is forged, with " + file, ok: never, runs: [][]string{args}, make: func() input {
			return clean().file("small/"+file, []byte("mine")).file("small/vkcome.json", []byte(`{"vkcome":"0.1.0","tree":[0,1],"steps":[]}`)).file("small/config.json", []byte("{}"))
		}})
	}
	return list
}
