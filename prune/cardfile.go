package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/prune/card"
	"github.com/vkcome/vkcome/prune/work"
)

// CardOptions say what a card has beside what the model's folder tells.
type CardOptions struct {
	Results []*eval.Results // of the model, and of the one that it was made of beside it: one of each at most
	Base    string          // owner/name on the hub of the model that was pruned; "": what the folder says
	Path    string          // file to write; "" is README.md in the model's folder
}

// maxKnownCard bounds a card that may be replaced; those that vkcome writes have some kB.
const maxKnownCard = 16 << 20

// WriteCard writes the card of a model that vkcome made and gives the file's name: from its lineage, its config, what its card's head says of its
// origin, and results. A file that is there is replaced if it is a card as vkcome wrote it; one that somebody wrote or changed is an ErrExists. note,
// which may be nil, receives a line on what of the card's head cannot be used.
func WriteCard(ctx context.Context, m *model.Model, o CardOptions, note func(line string)) (path string, err error) {
	_, _, raw, err := readLineage(m)
	if err != nil {
		return "", err
	}
	if raw == nil {
		return "", fmt.Errorf("prune: %s has no %s: it is no model that vkcome made, of which it could write a card", m.Name, model.Lineage)
	}
	l, err := ParseLineage(raw)
	if err != nil {
		return "", fmt.Errorf("prune: %s/%s: %w", m.Name, model.Lineage, err)
	}
	path, listed, err := cardPath(m, o.Path)
	if err != nil {
		return "", err
	}
	c := &modelCard{ctx: ctx, model: m, lineage: l}
	if c.head, err = ownHead(m, note); err != nil {
		return "", err
	}
	if o.Base != "" {
		if !hub.IsName(o.Base) {
			return "", fmt.Errorf("prune: %q is no name of a model on the hub, as in owner/name (prune.CardOptions.Base)", o.Base)
		}
		c.head.BaseModel, c.head.Original = []string{o.Base}, true
	}
	if err := c.take(o.Results); err != nil {
		return "", err
	}
	text, err := c.text()
	if err != nil {
		return "", fmt.Errorf("prune: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := replaceCard(path, text); err != nil {
		return "", err
	}
	if listed {
		err = work.Relist(ctx, filepath.Dir(path), card.File)
	}
	if err != nil {
		return "", fmt.Errorf("prune: %w", err)
	}
	return path, nil
}

// cardPath is the file to write; listed says whether it is one of a folder that lists its files.
func cardPath(m *model.Model, path string) (_ string, listed bool, err error) {
	if path != "" {
		return path, false, nil
	}
	if info, err := os.Stat(m.Path); m.Path == "" || err != nil || !info.IsDir() || m.GGUF() != nil {
		return "", false, fmt.Errorf("prune: %s is no folder that could hold a card: name a file for it (prune.CardOptions.Path)", m.Name)
	}
	if _, ok := hub.RepoOf(m.Path); ok {
		return "", false, fmt.Errorf("prune: %s is in the hub's cache, which other programs share: name a file for its card (prune.CardOptions.Path)", m.Name)
	}
	_, err = os.Lstat(filepath.Join(m.Path, model.FileList))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("prune: %w", err)
	}
	return filepath.Join(m.Path, card.File), err == nil, nil
}

// ownHead is what the model's own card says of its origin. The card is read apart from the model's files, which are not to change while the model
// is open.
func ownHead(m *model.Model, note func(line string)) (card.Head, error) {
	apart := *m
	if info, err := os.Stat(m.Path); m.Path != "" && err == nil && info.IsDir() {
		apart.Files = files.NewFolder(m.Path)
	}
	h, line, err := readHead(&apart)
	if line != "" && note != nil {
		note(m.Name + ": " + line)
	}
	return h, err
}

// take sorts results by the models that they are of.
func (c *modelCard) take(results []*eval.Results) error {
	if len(results) == 0 {
		return nil
	}
	own, err := model.Hash(c.ctx, c.model.Files)
	if err != nil {
		return fmt.Errorf("prune: hash of %s: %w", c.model.Name, err)
	}
	chain, _ := c.lineage.chain()
	for _, r := range results {
		place, whose := &c.results, c.model.Name
		switch {
		case r.Run == nil || r.Run.ModelHash == "":
			return fmt.Errorf("prune: the results of %.200q do not say by a hash what model they are of: take those of vkcome eval tasks", r.ModelName)
		case r.Run.ModelHash == own:
		case r.Run.ModelHash == chain[0].Source.SHA256:
			place, whose = &c.original, "the model that it was made of"
		default:
			return fmt.Errorf("prune: the results of %.200q are neither of %s as it is now nor of the model that it was made of: their hashes differ", r.ModelName, c.model.Name)
		}
		if *place != nil {
			return fmt.Errorf("prune: two results are of %s: give those of one run, with all tasks", whose)
		}
		*place = r
	}
	if c.results == nil {
		return fmt.Errorf("prune: no results are of %s itself", c.model.Name)
	}
	return nil
}

// replaceCard writes a card where there is none, or one as vkcome wrote it.
func replaceCard(path string, text []byte) error {
	info, err := os.Lstat(path)
	if err == nil {
		known := false
		if info.Mode().IsRegular() {
			if known, err = isCard(path); err != nil {
				return fmt.Errorf("prune: %w", err)
			}
		}
		if !known {
			return fmt.Errorf("prune: %s %w and is no card as vkcome wrote it: it will not be replaced; name another file (prune.CardOptions.Path), or move it away", path, ErrExists)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prune: %w", err)
	}
	if err := work.WriteFile(path, text); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

// isCard says whether a file is a card as vkcome wrote it.
func isCard(path string) (bool, error) {
	raw, err := files.Read(path, maxKnownCard)
	if errors.Is(err, fs.ErrInvalid) { // it is too large, or no file
		return false, nil
	}
	return err == nil && card.Sealed(raw), err
}
