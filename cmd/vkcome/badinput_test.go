package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
)

// refuse runs the binary and expects one line on stderr that contains want, and the exit code.
func refuse(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	stdout, stderr, got := try(t, args...)
	line := strings.TrimSuffix(stderr, "\n")
	if got != code || len(stdout) > 0 || strings.Contains(line, "\n") || !strings.HasPrefix(line, "vkcome: ") || !strings.Contains(line, want) {
		t.Errorf("vkcome %s: exit %d, stdout %q, stderr %q; want exit %d and one line with %q", strings.Join(args, " "), got, stdout, stderr, code, want)
	}
}

var small = modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}

func TestUsage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"unknown command", []string{"prun"}},
		{"unknown flag", []string{"devices", "--nosuch"}},
		{"vkcome prune MODEL OUT", []string{"prune", embedded.Name}},
		{"expected 1 arguments", []string{"inspect"}},
		{"give one of --target-layers, --sparsity", []string{"prune", embedded.Name, out, "--tokens", calib}},
		{"give one of --target-layers, --sparsity", []string{"prune", embedded.Name, out, "--tokens", calib, "--target-layers", "8", "--sparsity", "0.3"}},
		{"--sparsity 1.5", []string{"prune", embedded.Name, out, "--tokens", calib, "--sparsity", "1.5"}},
		{"--text FILE or --tokens FILE", []string{"prune", embedded.Name, out, "--target-layers", "8"}},
		{"give one of --target-layers, --sparsity", []string{"auto", embedded.Name, out, "--tokens", calib}},
		{"--budget 0s", []string{"auto", embedded.Name, out, "--tokens", calib, "--target-layers", "8", "--budget", "0"}},
		{"--any-device", []string{"auto", embedded.Name, out, "--tokens", calib, "--target-layers", "8", "--any-device", "--resume"}},
		{"--compat", []string{"prune", embedded.Name, out, "-m", "come", "--target-layers", "8", "--compat=x"}},
		{"--psu -1", []string{"prune", embedded.Name, out, "-m", "come", "--target-layers", "8", "--psu", "-1"}},
		{"--psu NaN", []string{"prune", embedded.Name, out, "-m", "come", "--target-layers", "8", "--psu", "NaN"}},
		{"--merge-item 1", []string{"prune", embedded.Name, out, "-m", "come", "--target-layers", "8", "--merge-item", "1"}},
		{"--max-device-memory", []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--max-device-memory", "lots"}},
		{"--tier", []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--tier", "best"}},
		{"--out FILE", []string{"logits", embedded.Name, "--tokens", calib}},
		{"-n 0", []string{"generate", embedded.Name, "-n", "0"}},
		{"vkcome distill TEACHER STUDENT OUT", []string{"distill", embedded.Name, embedded.Name}},
		{"--lr has no meaning without --heal", []string{"prune", embedded.Name, out, "--tokens", calib, "--target-layers", "8", "--lr", "1"}},
		{"--heal \"zp\": expected sp, mp", []string{"prune", embedded.Name, out, "--tokens", calib, "--target-layers", "8", "--heal", "zp"}},
		{"as in 3=4-5", []string{"distill", embedded.Name, embedded.Name, out, "--tokens", calib, "--map", "3"}},
		{"--samples -1", []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--samples", "-1"}},
	} {
		refuse(t, 2, c.want, c.args...)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	write := func(name string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ids := write("ids.json", []byte(`[`+strings.Repeat("1,2,3,4,", 32)+`5]`))
	// damaged is a model with something done to it.
	damaged := func(spec modeltest.Spec, damage func(dir string)) string {
		d := t.TempDir()
		spec.Write(t, d)
		damage(d)
		return d
	}
	edit := func(file string, change func(raw []byte) []byte) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(raw), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	config := func(key string, value any) func(string) {
		return edit("config.json", func(raw []byte) []byte {
			var c map[string]any
			parseJSON(t, raw, &c)
			c[key] = value
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		})
	}
	sharded := small
	sharded.ShardBytes = 20_000
	weights := "model.safetensors"
	for _, c := range []struct{ model, want string }{
		{filepath.Join(dir, "none"), "no such file"},
		{damaged(small, func(d string) { os.Remove(filepath.Join(d, weights)) }), "model.safetensors"},
		{damaged(small, edit(weights, func(raw []byte) []byte { return raw[:len(raw)-100] })), "truncated"},
		{damaged(small, edit(weights, func(raw []byte) []byte { return raw[:4] })), "model.safetensors"},
		{damaged(small, edit(weights, func(raw []byte) []byte { binary.LittleEndian.PutUint64(raw, 1<<40); return raw })), "header"},
		{damaged(small, edit(weights, func(raw []byte) []byte { raw[8] = '['; return raw })), "header"},
		{damaged(sharded, func(d string) {
			shards, err := filepath.Glob(filepath.Join(d, "model-00002-of-*.safetensors"))
			if err != nil || len(shards) != 1 {
				t.Fatal(shards, err)
			}
			os.Remove(shards[0])
		}), "model-00002-of-"},
		{damaged(sharded, edit("model.safetensors.index.json", func(raw []byte) []byte {
			return []byte(strings.ReplaceAll(string(raw), "model-00001", "../../etc/model-00001"))
		})), "model.safetensors.index.json"},
		{damaged(small, config("intermediate_size", 49)), "shape [48 32], config says [49 32]"},
		{damaged(small, config("num_hidden_layers", 5)), "model.layers.4."},
		{damaged(small, func(d string) {
			config("architectures", []string{"MambaForCausalLM"})(d)
			config("model_type", "mamba")(d)
		}), `MambaForCausalLM of model_type "mamba", supported are`},
		{damaged(small, config("num_key_value_heads", 3)), "no multiple of num_key_value_heads 3"},
		{damaged(small, config("hidden_size", -1)), "hidden_size -1"},
		{damaged(small, edit(weights, func(raw []byte) []byte {
			return []byte(strings.Replace(string(raw), `"dtype":"BF16"`, `"dtype":"I16"`, 1) + " ")
		})), "model.safetensors"},
		{damaged(small, edit(weights, func(raw []byte) []byte {
			n := len(raw)
			raw[n-1], raw[n-2] = 0x7f, 0xc0 // the last weight: NaN
			return raw
		})), ": value ["},
	} {
		refuse(t, 1, c.want, "prune", c.model, out, "--tokens", ids, "--window", "16", "--target-layers", "3", "-q")
	}

	good := damaged(small, func(string) {})
	prune := func(flags ...string) []string { return append([]string{"prune", good, out, "-q"}, flags...) }
	refuse(t, 1, "empty", prune("--tokens", write("empty.json", []byte("[]")), "--target-layers", "3")...)
	refuse(t, 1, "bad.json", prune("--tokens", write("bad.json", []byte("{}")), "--target-layers", "3")...)
	refuse(t, 1, "token 50", prune("--tokens", write("high.json", []byte("[1,50,1,1,1,1,1,1]")), "--window", "4", "--target-layers", "3")...)
	refuse(t, 1, "one window takes 2000", prune("--tokens", ids, "--window", "2000", "--target-layers", "3")...)
	refuse(t, 1, "max_position_embeddings 32", prune("--tokens", ids, "--window", "33", "--target-layers", "3")...)
	refuse(t, 1, "tokenizer", prune("--text", ids, "--target-layers", "3")...)
	for _, n := range []string{"0", "-1"} {
		refuse(t, 2, "expected 1 or more", prune("--tokens", ids, "--window", "16", "--target-layers", n)...)
	}
	for _, n := range []string{"5", "4"} {
		refuse(t, 1, "4", prune("--tokens", ids, "--window", "16", "--target-layers", n)...)
	}
	refuse(t, 1, `"radeon"`, prune("--tokens", ids, "--window", "16", "--target-layers", "3", "--device", "radeon")...)
	refuse(t, 1, "device memory", prune("--tokens", ids, "--window", "16", "--target-layers", "3", "--max-device-memory", "16KiB")...)
	refuse(t, 1, "device memory", prune("--tokens", ids, "--window", "16", "--target-layers", "3", "--max-device-memory", "8")...)
	refuse(t, 1, "exists already", "prune", good, good, "-q", "--tokens", ids, "--window", "16", "--target-layers", "3")
	refuse(t, 1, "no such file", "eval", "ppl", good, "--tokens", filepath.Join(dir, "none.json"))
	refuse(t, 1, "exist", "logits", good, "--tokens", ids, "--window", "16", "--out", ids, "-q")
	if _, err := os.Lstat(out); err == nil {
		t.Error("an output was written")
	}
}

func TestNoDevice(t *testing.T) {
	t.Setenv("VK_ICD_FILENAMES", filepath.Join(t.TempDir(), "none.json"))
	t.Setenv("VK_DRIVER_FILES", filepath.Join(t.TempDir(), "none.json"))
	t.Setenv("VKCOME_VALIDATE", "")
	refuse(t, 1, "no such Vulkan device", "devices")
	refuse(t, 1, "no such Vulkan device", "eval", "ppl", embedded.Name, "--tokens", calib, "-q")
}

// TestFullDisk prunes onto a disk of 1 MiB: one line, and nothing left behind.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	script := `mount -t tmpfs -o size=1m tmpfs "$0" && { "$@"; code=$?; ls -A "$0"; exit $code; }`
	inner := command(t.Context(), "prune", embedded.Name, filepath.Join(dir, "out"), "--tokens", calib, "--window", "128", "--target-layers", "11", "-q")
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"-rm", "sh", "-c", script, dir}, inner.Args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil || !strings.Contains(stderr.String(), "no space left on device") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("%v: %s", err, stderr.String())
	}
	if stdout.String() != "" {
		t.Errorf("left behind: %s", stdout.String())
	}
}

func TestHelp(t *testing.T) {
	for _, v := range verbs {
		help := string(vkcome(t, append(strings.Fields(v.name), "--help")...))
		if !strings.Contains(help, "Example:\n  vkcome "+v.name) || !strings.Contains(help, "--json") {
			t.Errorf("%s --help: %s", v.name, help)
		}
	}
	if all := string(vkcome(t, "--help")); strings.Count(all, "\n  ") != len(verbs) {
		t.Errorf("overview: %s", all)
	}
}

func TestDevicesJSON(t *testing.T) {
	var list []map[string]any
	parseJSON(t, vkcome(t, "devices", "--json"), &list)
	for _, key := range []string{"index", "name", "uuid", "kind", "tier", "driver", "limits"} {
		if len(list) == 0 || list[0][key] == nil {
			t.Errorf("no %s in %v", key, list)
		}
	}
}

func TestInspectJSON(t *testing.T) {
	var got map[string]any
	parseJSON(t, vkcome(t, "inspect", embedded.Name, "--json"), &got)
	for key, want := range map[string]any{"layers": 12.0, "heads": 8.0, "kv_heads": 4.0, "head_dim": 16.0, "vocab_size": 2048.0, "dtype": "BF16", "original_layers": 12.0} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if text := string(vkcome(t, "inspect", embedded.Name)); !strings.Contains(text, "8 query, 4 key/value, of 16") {
		t.Error(text)
	}
}

// TestAddressSpace: under every limit of the address space there is one line, or what was asked for.
func TestAddressSpace(t *testing.T) {
	for _, mib := range []int{100, 300, 500, 700, 900, 1023, 1100, 1200, 1300, 1500, 1535, 1536, 1600, 2000, 2400, 4000} {
		for _, args := range [][]string{{"version"}, {"eval", "ppl", embedded.Name, "--tokens", calib, "--samples", "1", "--window", "64", "-q"}} {
			cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `ulimit -v "$0" && exec "$@"`, fmt.Sprint(mib << 10), program}, args...)...)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			code := cmd.ProcessState.ExitCode()
			works := mib >= 1536 && args[0] == "version" || mib == 4000
			if refused := code == 1 && stdout.String() == "" && strings.HasPrefix(stderr.String(), "vkcome: ") && strings.Count(stderr.String(), "\n") == 1; works != (err == nil) || !works && !refused {
				t.Errorf("%d MiB, %v: exit %d: %.300s", mib, args, code, stderr.String())
			}
		}
	}
}
