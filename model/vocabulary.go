package model

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
)

// maxVocabulary is the most bytes that a file of a tokenizer may have; the largest real one has about 30 MB.
const maxVocabulary = 256 << 20

// SameVocabulary says by an error whether tokens mean different things to two models: their vocabularies differ in size, or the files
// of their tokenizers in content. Of a model without such a file only the size is known.
func SameVocabulary(m, base *Model) error {
	if m.Top[arch.Head].Rows != base.Top[arch.Head].Rows {
		return fmt.Errorf("model: %s has a vocabulary of %d tokens, %s of %d: only models of one vocabulary compare", m.Name, m.Top[arch.Head].Rows, base.Name, base.Top[arch.Head].Rows)
	}
	if m.Files == nil || base.Files == nil {
		return nil
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "vocab.json"} {
		a, errA := files.ReadFS(m.Files, name, maxVocabulary)
		b, errB := files.ReadFS(base.Files, name, maxVocabulary)
		if err := cmp.Or(errA, errB); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("model: %s beside %s: %w", m.Name, base.Name, err)
		}
		if x, y := sha256.Sum256(a), sha256.Sum256(b); x != y {
			return fmt.Errorf("model: the %s of %s has SHA-256 %x…, that of %s %x…: only models of one tokenizer compare", name, m.Name, x[:4], base.Name, y[:4])
		}
		return nil
	}
	return nil
}
