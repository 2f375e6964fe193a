// Package tokenizer turns text into token ids and back, as the tokenizer.json or the tokenizer.model beside a model
// says: byte-level BPE (GPT-2, Llama 3, Qwen), BPE with byte fallback (Llama 2 converted) and SentencePiece BPE.
//
// Ids equal those of Hugging Face tokenizers and of SentencePiece. What such a file asks for and this package lacks is
// an error when it is loaded, never a guess. Text that is not UTF-8 has each bad byte read as U+FFFD. A Tokenizer may
// be used from several goroutines.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/internal/lfs"
)

const (
	jsonFile   = "tokenizer.json"
	modelFile  = "tokenizer.model"
	configFile = "tokenizer_config.json"

	maxFile = 256 << 20 // bytes; the largest real tokenizer.json has about 30 MB
	maxID   = 1 << 24   // far above any vocabulary, far below an int32
)

// Tokenizer is a vocabulary with its rules.
type Tokenizer interface {
	// Encode gives the ids of plain text, without a beginning-of-sequence token. Special tokens in it are read as
	// text; added tokens that are not special, runs of spaces for example, are vocabulary and count.
	Encode(text string) []int
	// EncodeSpecial is Encode with special tokens such as <|im_start|> recognized.
	EncodeSpecial(text string) []int
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
	// AddBOS tells whether the model expects BOS in front of a text.
	AddBOS() bool
	// Prefix is the token that transformers 5 puts in front of a text: the one that the post-processor of tokenizer.json puts there, whatever
	// add_bos_token says; with a tokenizer.model, BOS where AddBOS.
	Prefix() (int, bool)
}

// Load is LoadFS for a folder on disk.
func Load(dir string) (Tokenizer, error) { return LoadFS(dir, os.DirFS(dir)) }

// LoadFS reads tokenizer.json or else tokenizer.model in a Hugging Face folder, with tokenizer_config.json where there is
// one. A folder with neither gives an error that matches fs.ErrNotExist; name stands for the folder in messages.
func LoadFS(name string, files fs.FS) (Tokenizer, error) {
	config, err := readFile(files, configFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
	}
	for _, format := range []struct {
		file  string
		parse func(raw, config []byte) (Tokenizer, error)
	}{{jsonFile, parseJSON}, {modelFile, parseSentencePiece}} {
		raw, err := readFile(files, format.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
		}
		t, err := format.parse(raw, config)
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(name, format.file), err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("tokenizer: %s: neither %s nor %s: %w", name, jsonFile, modelFile, fs.ErrNotExist)
}

// ParseJSON reads a tokenizer.json; config is a tokenizer_config.json or nil.
func ParseJSON(raw, config []byte) (Tokenizer, error) {
	t, err := parseJSON(raw, config)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", jsonFile, err)
	}
	return t, nil
}

// ParseSentencePiece reads a tokenizer.model; config is a tokenizer_config.json or nil.
func ParseSentencePiece(raw, config []byte) (Tokenizer, error) {
	t, err := parseSentencePiece(raw, config)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", modelFile, err)
	}
	return t, nil
}

func readFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	if pointer := lfs.Check(raw); err == nil && pointer != nil {
		err = fmt.Errorf("%s: %w", name, pointer)
	}
	return raw, err
}

// vocabulary is what both kinds of tokenizer share.
type vocabulary struct {
	ids      map[string]int // by spelling
	tokens   map[int]string // a map, since a stranger's ids may have any gaps
	added    []addedToken
	special  map[int]bool
	size     int
	bos, eos int // -1 when there is none
	prefix   int // as well
	addBOS   bool
}

func newVocabulary() vocabulary {
	return vocabulary{ids: map[string]int{}, tokens: map[int]string{}, special: map[int]bool{}, bos: -1, eos: -1, prefix: -1}
}

// set enters a token. Should two share an id, the lesser spelling stands for it, whatever the order of a map.
func (v *vocabulary) set(token string, id int) error {
	if id < 0 || id >= maxID {
		return fmt.Errorf("token %q: id %d, expected 0 to %d", short(token), id, maxID-1)
	}
	v.ids[token] = id
	if old, ok := v.tokens[id]; !ok || token < old {
		v.tokens[id] = token
	}
	v.size = max(v.size, id+1)
	return nil
}

// add enters an added token, whose spelling wins over that of the model.
func (v *vocabulary) add(a addedToken) error {
	if a.Content == "" {
		return nil // Hugging Face passes over it too
	}
	delete(v.tokens, a.ID)
	if err := v.set(a.Content, a.ID); err != nil {
		return err
	}
	v.added = append(v.added, a)
	if a.Special {
		v.special[a.ID] = true
	}
	return nil
}

func (v *vocabulary) VocabSize() int   { return v.size }
func (v *vocabulary) BOS() (int, bool) { return v.bos, v.bos >= 0 }
func (v *vocabulary) EOS() (int, bool) { return v.eos, v.eos >= 0 }
func (v *vocabulary) AddBOS() bool     { return v.addBOS && v.bos >= 0 }

func (v *vocabulary) Prefix() (int, bool) { return v.prefix, v.prefix >= 0 }

func (v *vocabulary) Token(id int) (string, bool) {
	token, ok := v.tokens[id]
	return token, ok
}

func (v *vocabulary) ID(token string) (int, bool) {
	id, ok := v.ids[token]
	return id, ok
}

// config is the part of tokenizer_config.json that matters here.
type config struct {
	BOS           tokenName             `json:"bos_token"`
	EOS           tokenName             `json:"eos_token"`
	AddBOS        *bool                 `json:"add_bos_token"`
	AddedByNumber map[string]addedToken `json:"added_tokens_decoder"`
}

// tokenName is a string or an object with its content.
type tokenName string

func (n *tokenName) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '{' {
		var object struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(raw, &object)
		*n = tokenName(object.Content)
		return err
	}
	return json.Unmarshal(raw, (*string)(n))
}

func parseConfig(raw []byte) (config, error) {
	var c config
	if raw == nil {
		return c, nil
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("%s: %w", configFile, err)
	}
	return c, nil
}

// configure applies tokenizer_config.json over what the tokenizer's own file says.
func (v *vocabulary) configure(c config) {
	if id, ok := v.ids[string(c.BOS)]; ok && c.BOS != "" {
		v.bos = id
	}
	if id, ok := v.ids[string(c.EOS)]; ok && c.EOS != "" {
		v.eos = id
	}
	if c.AddBOS != nil {
		v.addBOS = *c.AddBOS
	}
}

// short clips a stranger's text for a message; %q does the rest.
func short(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// validUTF8 replaces each bad byte with U+FFFD.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

// lossy decodes UTF-8 as Rust's from_utf8_lossy does, which Hugging Face uses: one U+FFFD for the start of a character
// that breaks off, however long it is.
func lossy(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	var out strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if r == utf8.RuneError && n == 1 {
			for n < len(raw) && !utf8.FullRune(raw[:n+1]) {
				n++
			}
		}
		out.WriteRune(r)
		raw = raw[n:]
	}
	return out.String()
}

func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pc)
}
