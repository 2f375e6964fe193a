package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/vkcome/vkcome/model/arch"
)

// Hash is the SHA-256 over the names and SHA-256s of a folder's config.json and safetensors files, or else those of PyTorch, by name; without
// such files, of its GGUF files.
func Hash(ctx context.Context, files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.safetensors*")
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		if names, err = fs.Glob(files, "*.bin*"); err != nil {
			return "", err
		}
	}
	if names = append(names, arch.ConfigFile); len(names) == 1 {
		if single, err := fs.Glob(files, "*"+ggufEnd); err != nil {
			return "", err
		} else if len(single) > 0 {
			names = single // the config is composed of what these hold
		}
	}
	slices.Sort(names)
	all := sha256.New()
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return "", err
		}
		info, err := f.Stat()
		if err != nil {
			return "", errors.Join(err, f.Close())
		}
		h := sha256.New()
		_, err = io.Copy(h, io.LimitReader(&contextReader{ctx, f}, info.Size())) // it may grow meanwhile
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s %s\n", hex.EncodeToString(h.Sum(nil)), name)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
