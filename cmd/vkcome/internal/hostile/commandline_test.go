//go:build unix

package hostile

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

func init() {
	kinds["commandline"] = commandLineCases
	kinds["environment"] = environmentCases
	kinds["names"] = nameCases
	kinds["interrupt"] = interruptCases
}

// arguments are values of flags that make no sense, or too much.
var arguments = []string{"", " ", "0", "-1", "1", "2", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e308", "1e999", "NaN", "Inf", "-Inf", "0x10", "1_000", "0.5", "1e-320", "nan,nan", ",", "1,,2", "-", "--", "..", "/", "/dev/null", "/dev/zero",
	"\x1b[31m", "\u202e", "a\nb", "\xff", strings.Repeat("x", 100_000), strings.Repeat("1,", 10_000) + "1", strings.Repeat("9", 10_000), "1PiB", "-1GiB", "1e30TiB", "0/0", "1/0", "5/3", "-1/3", "9999999999/9999999999", "1h", "-1h", "9999999h", "prune.Options.Method", "%s%n", "*", "[", "owner/name@\x1b", "a/b/c/d", "true", "null"}

func commandLineCases() (list []hostile) {
	base := clean()
	verbs := map[string][]string{ // a command line that works, and the flags that get a value
		"prune model out -m shortgpt --tokens ids.json --window 16 --samples 2 --target-layers 2 -q": strings.Fields("--method --target-layers --sparsity --target-params --target-size --text --tokens --field --docs --pack --bos --protocol --window --samples --seed --stats --lambda --projections --fit-held-out --merge-item --psu --min-max --compat --selector --norm --sensitivity --granularity --candidates --similarity --layers --protect --plan --type --work --heal --loss --temperature --rank --lr --batch --micro-batch --budget --budget-tokens --held-out --patience --end-to-end --checkpoint --losses --device --max-device-memory --tier --max-host-memory --spill-dir"),
		"eval ppl model --tokens ids.json --window 16 --samples 2 --json -q":                         strings.Fields("--text --tokens --field --docs --pack --bos --protocol --window --samples --seed --device --max-device-memory --tier --max-host-memory --spill-dir --apply-chat-template"),
		"generate model -p The -n 2 --json -q":                                                       strings.Fields("-p -n --temperature --top-k --top-p --seed --system --chat-template --chat-vars --device --max-device-memory --tier"),
		"stats model out.safetensors --tokens ids.json --window 16 --samples 2 -q":                   strings.Fields("--shard --tokens --window --samples --seed --text"),
		"convert model out.gguf -q":                                                                  strings.Fields("--type"),
		"compare model --depths 2 --methods reverse --tokens ids.json --window 16 --samples 2 -q":    strings.Fields("--methods --depths --eval-tokens --eval-window --eval-samples --protect --output"),
		"eval tasks model --tasks arc_easy --data none --no-cache -q":                                strings.Fields("--tasks --num-fewshot --limit --samples --data --batch-size --output --baseline --cache --seed --bootstrap-iters"),
		"auto model out --tokens ids.json --window 16 --samples 2 --target-layers 2 --budget 1ms -q": strings.Fields("--target-layers --budget --sparsity --target-size"),
		"tune --shapes 1x1x1 -r 1 -q":                                                                strings.Fields("--shapes -r --longest"),
		"refit model model out --tokens ids.json --window 16 --samples 2 -q":                         strings.Fields("--map --lambda"),
		"logits model --tokens ids.json --window 16 --samples 1 --out out.safetensors -q":            strings.Fields("--window --samples --seed"),
		"inspect model -q": nil, "tokenize model The -q": nil, "devices": strings.Fields("--device"), "eval compare ids.json ids.json": nil, "bench compare ids.json ids.json": strings.Fields("-o"),
	}
	rng := random("commandline")
	for _, line := range slices.Sorted(maps.Keys(verbs)) {
		words := strings.Fields(line)
		title := strings.Join(words[:min(2, len(words))], " ")
		for _, flag := range verbs[line] {
			order := rng.Perm(len(arguments))
			for _, k := range order[:3] {
				if arguments[k] == "\x00" {
					continue
				}
				list = append(list, hostile{name: fmt.Sprintf("%s %s %d %s", title, flag, k, arguments[k][:min(len(arguments[k]), 20)]), ok: sane, runs: [][]string{append(slices.Clone(words), flag, arguments[k])}, make: func() input { return base }})
			}
		}
		for i, word := range words { // an argument in the place of a name
			if slices.Contains([]string{"model", "out", "out.gguf", "out.safetensors", "ids.json"}, word) {
				for _, k := range rng.Perm(len(arguments))[:2] {
					if arguments[k] == "/" || arguments[k] == ".." { // where all that is found would be listed
						continue
					}
					args := slices.Clone(words)
					args[i] = arguments[k]
					list = append(list, hostile{name: fmt.Sprintf("%s with argument %d as %d %s", title, i, k, arguments[k][:min(len(arguments[k]), 20)]), ok: sane, runs: [][]string{args}, make: func() input { return base }})
				}
			}
		}
	}
	for i, args := range [][]string{{"\x1b[31m"}, {strings.Repeat("x", 100_000)}, {"prune"}, {"prune", "--\x1b[31m"}, {"--" + strings.Repeat("x", 100_000)}, {"inspect", "--json=\x1b"}, {"-\u202e"}, {"eval"}, {"eval", "\xff"}, {""}, slices.Repeat([]string{"a"}, 10_000), {"inspect", ""}, {"devices", "a\nb"}} {
		list = append(list, hostile{name: fmt.Sprintf("line %d", i), ok: never, runs: [][]string{args}, make: func() input { return base }})
	}
	return list
}

// environmentCases set the variables that vkcome and the Vulkan loader read.
func environmentCases() (list []hostile) {
	base := clean().file("file", []byte("x")).with("empty", entry{mode: fs.ModeDir}).with("pipe", entry{mode: fs.ModeNamedPipe}).
		file("noise.json", noise(200)).file("icd.json", []byte(`{"file_format_version":"1.0.0","ICD":{"library_path":"./nothing.so","api_version":"1.3.0"}}`)).
		file("text.json", []byte(`{"file_format_version":"1.0.0","ICD":{"library_path":"./text.txt","api_version":"1.3.0"}}`)).file("null.json", []byte(`{"ICD":null}`)).
		file("cache/.cache", nil).with("sparse", entry{size: 20 << 30})
	add := func(name string, ok verdict, env []string, runs ...[]string) {
		list = append(list, hostile{name: name, ok: ok, env: env, runs: runs, make: func() input { return base }})
	}
	for _, variable := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} {
		for _, value := range []string{"nothing.json", "file", "empty", "noise.json", "icd.json", "text.json", "null.json", "\x1b[31m", strings.Repeat("x", 5000)} {
			clear := []string{"VK_DRIVER_FILES=" + value, "VK_ICD_FILENAMES=" + value}
			if variable == "VK_ICD_FILENAMES" {
				clear = []string{"VK_DRIVER_FILES=", "VK_ICD_FILENAMES=" + value}
			}
			for _, run := range [][]string{{"devices"}, ppl()} {
				add(fmt.Sprintf("%s=%s, %s", variable, clip(value), run[0]), never, clear, run)
			}
		}
	}
	for _, variable := range []string{"HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "HOME", "TMPDIR", "HF_TOKEN_PATH"} {
		for _, value := range []string{"file", "pipe", "sparse", "/dev/null/x", "/dev/zero", "\x1b[31m", "", strings.Repeat("x", 5000), "nothing/at/all"} {
			add(fmt.Sprintf("%s=%s", variable, clip(value)), sane, []string{variable + "=" + value, "HF_HUB_OFFLINE="}, []string{"inspect", "owner/name", "--offline", "-q"})
			if variable == "XDG_CACHE_HOME" || variable == "HOME" || variable == "TMPDIR" {
				add(fmt.Sprintf("%s=%s, and a device", variable, clip(value)), sane, []string{variable + "=" + value}, ppl())
			}
		}
	}
	for variable, list := range map[string][]string{
		"HF_ENDPOINT": {"http://127.0.0.1:1", "ftp://x", "\x1b[31m", "file:///etc", "http://", "http://[::1", "http://127.0.0.1:99999", "http://user:secret@127.0.0.1:1", strings.Repeat("x", 5000), "javascript:x", "http://127.0.0.1:1/\x7f"},
		"HF_TOKEN":    {"a\nb", "\x1b[31m", strings.Repeat("x", 100_000), "a\r\nX: y", "\xff"},
	} {
		for _, value := range list {
			add(fmt.Sprintf("%s=%s", variable, clip(value)), never, []string{"HF_HUB_OFFLINE=", "HF_ENDPOINT=http://127.0.0.1:1", variable + "=" + value}, []string{"inspect", "owner/name", "-q"})
		}
	}
	for _, variable := range []string{"VKCOME_DEVICE", "VKCOME_TIER", "VKCOME_KERNELS", "HF_HUB_OFFLINE", "LANG", "GODEBUG", "GOMEMLIMIT"} {
		for _, value := range []string{"\x1b[31m", "-1", "99", strings.Repeat("x", 5000), "=", "a,b,\u202e", "linear=\x1b", "9999999999999999999999"} {
			if strings.HasPrefix(variable, "GO") && value != "99" { // the runtime says what it thinks of it
				continue
			}
			add(fmt.Sprintf("%s=%s", variable, clip(value)), sane, []string{variable + "=" + value}, ppl())
		}
	}
	return list
}

// nameCases have names that do harm where they are printed: of folders, files, and of what is in these.
func nameCases() (list []hostile) {
	base := clean()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		text := names[name]
		if text == "" || len(text) > 200 || strings.ContainsAny(text, "\x00/") || text == ".." {
			continue
		}
		moved := input{"ids.json": base["ids.json"]}
		for file, e := range base {
			if rest, ok := strings.CutPrefix(file, "model/"); ok {
				moved[text+"/"+rest] = e
			}
		}
		cut := moved[text+"/model.safetensors"].data
		add := func(title string, make func() input, args ...string) {
			list = append(list, hostile{name: title + " called " + name, ok: sane, runs: [][]string{args}, make: make})
		}
		add("a model", func() input { return moved }, "inspect", text, "-q")
		add("a model for ppl", func() input { return moved }, "eval", "ppl", text, "--tokens", "ids.json", "--window", "16", "-q", "--json")
		add("a model that is cut", func() input { return moved.file(text+"/model.safetensors", cut[:len(cut)-9]) }, "inspect", text, "-q")
		add("a model without a config", func() input { return moved.without(text + "/config.json") }, "inspect", text, "-q")
		add("tokens", func() input { return base.file(text+".json", []byte("[1,null]")) }, "eval", "ppl", "model", "--tokens", text+".json", "-q")
		add("a text", func() input { return base.file(text+".jsonl", []byte("{")) }, "eval", "ppl", "model", "--text", text+".jsonl", "-q")
		add("a folder of texts", func() input { return base.file("texts/"+text+".jsonl", []byte("{")) }, "eval", "ppl", "model", "--text", "texts", "-q")
		add("a side file that is a pipe", func() input {
			return base.with("model/"+text, entry{mode: fs.ModeNamedPipe}).file("plan.json", written()["small/vkcome.json"].data)
		}, "prune", "model", "out", "--plan", "plan.json", "-q")
		add("reports", func() input { return base.file(text, []byte("{}")) }, "bench", "compare", text, text)
		add("results", func() input { return base.file(text, []byte("{}")) }, "eval", "compare", text, text)
		add("a parent of OUT", func() input { return base }, "prune", "model", text+"/none/out", "-m", "reverse", "--target-layers", "2", "-q")
		add("a work folder", func() input { return base.file(text+"/mine", nil) }, prune("--work", text)...)
	}
	return list
}

// interruptCases are interrupted while they read, encode, copy and compute: they end within a second.
func interruptCases() (list []hostile) {
	base := clean()
	text := strings.Repeat("The layers that they keep are the layers that matter.\n", 400_000)
	add := func(name string, make func() input, args ...string) {
		list = append(list, hostile{name: name, ok: sane, interrupt: true, runs: [][]string{args}, make: make})
	}
	for i, args := range [][]string{pplText(), {"tokenize", "model", "--file", "text.txt", "-q"}, {"stats", "model", "out.safetensors", "--text", "text.txt", "--window", "64", "--samples", "1000", "-q"}, {"prune", "model", "out", "--text", "text.txt", "--window", "64", "--samples", "2000", "--target-layers", "2", "-q"}} {
		add(fmt.Sprintf("a large text %d", i), func() input { return base.file("text.txt", []byte(text)) }, args...)
	}
	for _, ending := range []string{".gz", ".zst", ".br"} {
		add("blanks in "+ending, func() input {
			return base.file("text.jsonl"+ending, compressed(ending, []byte(strings.Repeat("\n", 1<<20)), 8*mebibytes(ending)))
		}, "eval", "ppl", "model", "--text", "text.jsonl"+ending, "-q")
		add("a in "+ending, func() input {
			return base.file("text.txt"+ending, compressed(ending, []byte(strings.Repeat("a", 1<<20)), 4*mebibytes(ending)))
		}, "eval", "ppl", "model", "--text", "text.txt"+ending, "-q")
	}
	for file, name := range map[string]string{"model/config.json": "inspect", "model/tokenizer.json": "tokenize", "text.txt": "text", "ids.json": "tokens"} {
		args := map[string][]string{"inspect": inspect(), "tokenize": tokenize(), "text": pplText(), "tokens": ppl()}[name]
		add("a pipe as "+name, func() input { return base.with(file, entry{mode: fs.ModeNamedPipe}) }, args...)
	}
	add("a long list of tokens", func() input { return base.file("ids.json", []byte("["+strings.Repeat("2,", 20_000_000)+"3]")) }, ppl()...)
	add("a large side file", func() input {
		return base.with("model/notes.bin", entry{size: 40 << 30}).file("plan.json", written()["small/vkcome.json"].data)
	}, "prune", "model", "out", "--plan", "plan.json", "-q")
	add("a large tokenizer", func() input {
		return base.file(tokenizerFile, tokenizerJSON(map[string]string{"merges": "[" + strings.Repeat(`"t h",`, 3_000_000) + `"h e"]`}))
	}, tokenize()...)
	add("many windows", func() input { return base.file("ids.json", []byte("["+strings.Repeat("2,", 1_000_000)+"3]")) }, "eval", "ppl", "model", "--tokens", "ids.json", "--window", "64", "-q")
	return list
}
