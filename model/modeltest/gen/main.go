// Command gen writes a small random model as a Hugging Face folder: of any supported architecture, the same for the same flags.
//
//	go run ./model/modeltest/gen -arch qwen2-window -dtype bf16 -kv-heads 2 /tmp/qwen2
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/modeltest/variation"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("gen", flag.ExitOnError)
	arch := f.String("arch", "llama", "architecture, which sets what other flags do not: "+strings.Join(modeltest.Names(), ", "))
	kind := f.String("dtype", "f32", "dtype of the weights: f32, f16, bf16")
	var change []func(s *modeltest.Spec) error
	number := func(name, usage string, field func(s *modeltest.Spec) *int) {
		n := f.Int(name, 0, usage+" (0: as the architecture's)")
		change = append(change, func(s *modeltest.Spec) error {
			if *n > 0 {
				*field(s) = *n
			}
			return nil
		})
	}
	number("hidden", "hidden size; of an OPT, a StableLM and a Helium it follows from the heads", func(s *modeltest.Spec) *int { return &s.Hidden })
	number("intermediate", "size of the MLP", func(s *modeltest.Spec) *int { return &s.Intermediate })
	number("layers", "layers", func(s *modeltest.Spec) *int { return &s.Layers })
	number("heads", "query heads", func(s *modeltest.Spec) *int { return &s.Heads })
	number("kv-heads", "key/value heads", func(s *modeltest.Spec) *int { return &s.KVHeads })
	number("head-dim", "size of a head", func(s *modeltest.Spec) *int { return &s.HeadDim })
	number("vocab", "vocabulary; there is a tokenizer from 258 on", func(s *modeltest.Spec) *int { return &s.Vocab })
	number("context", "max_position_embeddings", func(s *modeltest.Spec) *int { return &s.Context })
	number("shard", "most bytes of a file of weights", func(s *modeltest.Spec) *int { return &s.ShardBytes })
	flags := func(name, usage string, field func(s *modeltest.Spec) *bool) {
		text := f.String(name, "", usage+": true or false (empty: as the architecture's)")
		change = append(change, func(s *modeltest.Spec) error {
			switch *text {
			case "":
			case "true", "false":
				*field(s) = *text == "true"
			default:
				return fmt.Errorf("-%s %q, expected true or false", name, *text)
			}
			return nil
		})
	}
	flags("tied", "the LM head is the embedding", func(s *modeltest.Spec) *bool { return &s.Tied })
	flags("attention-bias", "biases of q, k, v and o; all of an OPT", func(s *modeltest.Spec) *bool { return &s.AttentionBias })
	flags("mlp-bias", "biases of the MLP", func(s *modeltest.Spec) *bool { return &s.MLPBias })
	flags("norms-f32", "norms are f32 whatever -dtype says", func(s *modeltest.Spec) *bool { return &s.NormsF32 })
	flags("bare", "tensors without \"model.\" in front", func(s *modeltest.Spec) *bool { return &s.Bare })
	seed := f.Uint64("seed", 0, "seed of the weights")
	variations := f.String("variations", "", "write the cases of this folder instead: FOLDER/N for each, and FOLDER/index.json")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: go run ./model/modeltest/gen [flags] FOLDER")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("%d arguments, expected a folder", f.NArg())
	}
	if *variations != "" {
		return writeVariations(*variations, f.Arg(0))
	}
	s, err := modeltest.Named(*arch)
	if err != nil {
		return err
	}
	for _, c := range change {
		if err := c(&s); err != nil {
			return err
		}
	}
	if *arch == "opt" {
		s.KVHeads = s.Heads
	}
	if s.Square() {
		s.Hidden = s.Heads * s.HeadDim
	}
	s.Seed = *seed
	known := false
	for _, d := range dtype.All {
		if strings.EqualFold(d.String(), *kind) {
			s.DType, known = d, true
		}
	}
	if !known {
		return fmt.Errorf("dtype %q, expected f32, f16 or bf16", *kind)
	}
	if err := os.MkdirAll(f.Arg(0), 0o755); err != nil {
		return err
	}
	return s.WriteTo(f.Arg(0))
}

// writeVariations writes a folder for each case, and which is which.
func writeVariations(from, to string) error {
	cases, err := variation.Load(from)
	if err != nil {
		return err
	}
	index := []map[string]any{}
	for i, c := range cases {
		folder := fmt.Sprint(i)
		if err := os.MkdirAll(filepath.Join(to, folder), 0o755); err != nil {
			return err
		}
		if err := c.WriteTo(filepath.Join(to, folder)); err != nil {
			return err
		}
		index = append(index, map[string]any{"area": c.Area, "name": c.Name, "folder": folder, "texts": append([]string{}, c.Texts...)})
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "index.json"), raw, 0o644)
}
