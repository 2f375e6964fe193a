// Package tokenizer turns text into token ids and back, as the files beside a model say: byte-pair encoding of bytes (GPT-2, Llama 3,
// Qwen) or of characters with byte fallback (Llama 2, Gemma), from tokenizer.json, from vocab.json with merges.txt, or from
// SentencePiece's tokenizer.model, with tokenizer_config.json, special_tokens_map.json and added_tokens.json over them.
//
// Ids equal those of AutoTokenizer of transformers 5.24 on the same folder. What such a file asks for and this package lacks is
// an error when it is loaded, never a guess. Text that is not UTF-8 has each bad byte read as U+FFFD. A Tokenizer may
// be used from several goroutines.
package tokenizer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/lfs"
)

const (
	jsonFile    = "tokenizer.json"
	modelFile   = "tokenizer.model"
	vocabFile   = "vocab.json"
	mergesFile  = "merges.txt"
	configFile  = "tokenizer_config.json"
	specialFile = "special_tokens_map.json"
	addedFile   = "added_tokens.json"
	archFile    = "config.json"

	maxFile  = 64 << 20 // bytes; the largest real tokenizer.json has some 35 MB, and reading takes several times its size
	maxID    = 1 << 24  // far above any vocabulary, far below an int32
	maxVocab = 1 << 21  // tokens; the largest vocabularies have a quarter of a million, a few a million
)

// Tokenizer is a vocabulary with its rules.
type Tokenizer interface {
	// Encode gives the ids of plain text, with nothing around them. Special tokens in it are read as
	// text; added tokens that are not special, runs of spaces for example, are vocabulary and count. A text that the rules would make
	// grow without measure, or on which a pattern takes for ever, is an error.
	Encode(text string) ([]int, error)
	// EncodeSpecial is Encode with special tokens such as <|im_start|> recognized, as transformers reads a text.
	EncodeSpecial(text string) ([]int, error)
	// Writer is Encode, or with special EncodeSpecial, of a text that comes in parts: take gets the ids as they become known, in a slice
	// that it must not keep, and its error ends the writing, as does ctx.
	Writer(ctx context.Context, special bool, take func(ids []int) error) *Writer
	// Spans is Encode, or with special EncodeSpecial, with the bytes of the text that each token stands for.
	Spans(ctx context.Context, text string, special bool) ([]Span, error)
	// Decode gives the text of the ids, special tokens included. Ids beyond the vocabulary give nothing, bytes that
	// are no UTF-8 give U+FFFD.
	Decode(ids []int) string
	// DecodeSkipSpecial is Decode without special tokens.
	DecodeSkipSpecial(ids []int) string
	// VocabSize is one more than the largest id.
	VocabSize() int
	// Token is the entry of the vocabulary, in its own spelling ("Ġthe", "▁the", "<0x0A>").
	Token(id int) (string, bool)
	// ID finds an entry of the vocabulary or an added token by its spelling.
	ID(token string) (int, bool)
	// BOS and EOS are the tokens that begin and end a sequence, where the files name them.
	BOS() (int, bool)
	EOS() (int, bool)
	// AddBOS tells whether a corpus begins with BOS: where the prefix begins so, or tokenizer_config.json says add_bos_token, which
	// transformers 5 overlooks beside a tokenizer.json.
	AddBOS() bool
	// Prefix and Suffix are what transformers puts around a text: the tokens of the post-processor of tokenizer.json, or without one
	// BOS and EOS where add_bos_token and add_eos_token say so. They are not to be changed.
	Prefix() []int
	Suffix() []int
	// SpecialTokens are the named ones by their names ("bos_token", "pad_token", "image_token"), in their spelling.
	SpecialTokens() map[string]string
	// Added are the tokens that are cut out of a text before it is split, ordered by id.
	Added() []AddedToken
}

// Span is a token and the bytes of the text that it stands for. What a tokenizer puts in, a space in front for example, has none.
type Span struct {
	ID         int
	Begin, End int
}

// Files are the files of a folder that say how a text becomes ids, nil where there is none.
type Files struct {
	JSON          []byte // tokenizer.json
	Model         []byte // tokenizer.model
	Vocab, Merges []byte // vocab.json and merges.txt
	Config        []byte // tokenizer_config.json
	Special       []byte // special_tokens_map.json
	Added         []byte // added_tokens.json
	Arch          []byte // config.json, whose model_type and tokenizer_class matter
}

// Load is LoadFS for a folder on disk.
func Load(dir string) (Tokenizer, error) { return LoadFS(dir, files.NewFolder(dir)) }

// LoadFS reads the tokenizer of a Hugging Face folder. A folder without tokenizer.json, tokenizer.model and vocab.json gives an
// error that matches fs.ErrNotExist; name stands for the folder in messages.
func LoadFS(name string, folder fs.FS) (Tokenizer, error) {
	var f Files
	for _, part := range []struct {
		file string
		raw  *[]byte
	}{
		{jsonFile, &f.JSON}, {modelFile, &f.Model}, {vocabFile, &f.Vocab}, {mergesFile, &f.Merges},
		{configFile, &f.Config}, {specialFile, &f.Special}, {addedFile, &f.Added}, {archFile, &f.Arch},
	} {
		raw, err := readFile(folder, part.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
		}
		*part.raw = raw
	}
	if f.JSON == nil && f.Model == nil && f.Vocab == nil {
		return nil, fmt.Errorf("tokenizer: %s: neither %s, %s nor %s: %w", name, jsonFile, modelFile, vocabFile, fs.ErrNotExist)
	}
	t, err := f.parse()
	var in *fileError
	switch {
	case errors.As(err, &in):
		return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(name, in.file), in.err)
	case err != nil:
		return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
	}
	return t, nil
}

// Parse makes a tokenizer of the files' contents.
func Parse(f Files) (Tokenizer, error) {
	t, err := f.parse()
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// ParseJSON reads a tokenizer.json; config is a tokenizer_config.json or nil.
func ParseJSON(raw, config []byte) (Tokenizer, error) { return Parse(Files{JSON: raw, Config: config}) }

// fileError is an error with the file that it is in.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return e.file + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// inFile names the file of an error that has none yet.
func inFile(file string, err error) error {
	var in *fileError
	if err == nil || errors.As(err, &in) {
		return err
	}
	return &fileError{file, err}
}

func readFile(folder fs.FS, name string) ([]byte, error) {
	raw, err := files.ReadFS(folder, name, maxFile)
	if pointer := lfs.Check(raw); err == nil && pointer != nil {
		err = fmt.Errorf("%s: %w", name, pointer)
	}
	return raw, err
}
