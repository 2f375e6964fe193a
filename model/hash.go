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
	"github.com/vkcome/vkcome/model/files"
)

// Hash is the SHA-256 over the names and SHA-256s of a folder's config.json and safetensors files, or else those of PyTorch, by name; without
// such files, of its GGUF files.
func Hash(ctx context.Context, folder fs.FS) (string, error) {
	names, err := fs.Glob(folder, "*.safetensors*")
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		if names, err = fs.Glob(folder, "*.bin*"); err != nil {
			return "", err
		}
	}
	if names = append(names, arch.ConfigFile); len(names) == 1 {
		if single, err := fs.Glob(folder, "*"+ggufEnd); err != nil {
			return "", err
		} else if len(single) > 0 {
			names = single // the config is composed of what these hold
		}
	}
	slices.Sort(names)
	all := sha256.New()
	for _, name := range names {
		f, err := folder.Open(name)
		if err != nil {
			return "", err
		}
		info, err := f.Stat()
		if err != nil {
			return "", errors.Join(err, f.Close())
		}
		h := sha256.New()
		n, err := io.Copy(h, io.LimitReader(&contextReader{ctx, f}, info.Size())) // it may grow meanwhile
		if err == nil && n < info.Size() {
			err = fmt.Errorf("%s %w: it had %d bytes, of which %d could be read", name, files.ErrChanged, info.Size(), n)
		}
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
