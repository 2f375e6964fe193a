package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/hub"
)

// share is where a report to give away goes.
type share struct {
	file string
	yes  bool
}

// check refuses a file that is there.
func (s *share) check() error {
	if s.file == "" {
		return nil
	}
	if _, err := os.Lstat(s.file); err == nil {
		return fmt.Errorf("--share %s: it is there already: name a new file", s.file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--share: %w", err)
	}
	return nil
}

// write shows what the file is going to hold, asks whether to go on where somebody can answer, and writes it.
func (s *share) write(ctx context.Context, c *common, r *bench.Report, m *model.Model) error {
	if m != nil {
		var err error
		if r.Details.Name, err = c.publicName(ctx, m.Name); err != nil {
			c.note("--share: whether %s is public could not be asked, so the file does not name it: %v", m.Name, err)
		}
		if !isSynthetic(m.Name) { // which has no files
			if r.Details.SHA256, err = model.Hash(ctx, m.Files); err != nil {
				return err
			}
		}
	}
	raw, err := r.Share()
	if err != nil {
		return err
	}
	sayText(fmt.Sprintf("%s is going to hold, and nothing else:\n%s", s.file, raw))
	unasked := ""
	switch {
	case s.yes:
		unasked = ", unasked: --yes"
	case !onTerminal || !term.IsTerminal(int(os.Stdin.Fd())):
		unasked = ", unasked: this is no terminal"
	default:
		_, _ = io.WriteString(terminal, "Write it? [y/N] ")
		answer, err := bufio.NewReader(io.LimitReader(interruptible(ctx, os.Stdin), 100)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
			say("not written")
			return nil
		}
	}
	if err := files.WriteNew(s.file, raw, 0o644); err != nil {
		return fmt.Errorf("--share: %w", err)
	}
	c.note("wrote %s%s", s.file, unasked)
	return nil
}

func isSynthetic(name string) bool {
	shape, ok := strings.CutPrefix(name, "synthetic:")
	return ok && slices.Contains(model.SyntheticNames(), shape)
}

// publicName is a model's name if everybody may know it: one inside this binary, or one of the public hub. A name of another hub
// (HF_ENDPOINT) is not, as it may be a company's own.
func (c *common) publicName(ctx context.Context, name string) (string, error) {
	if name == embedded.Name || isSynthetic(name) {
		return name, nil
	}
	if os.Getenv("HF_ENDPOINT") != "" {
		return "", nil
	}
	if public, err := (hub.Hub{Offline: c.offline}).Public(ctx, name); err != nil || !public {
		return "", err
	}
	return name, nil
}
