package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// The types of tokens in GGUF. Source: TokenType of gguf-py.
const (
	tokenNormal  int32 = 1
	tokenControl int32 = 3
	tokenUser    int32 = 4
	tokenUnused  int32 = 5
	tokenByte    int32 = 6
)

const missingScore, addedScore = -10000, -1000 // of ids without a token, and of added tokens, as the converter has them

// tokenizerFiles is what is read of the files of a tokenizer.
type tokenizerFiles struct {
	json struct {
		Model struct {
			Merges       json.RawMessage `json:"merges"`
			IgnoreMerges bool            `json:"ignore_merges"`
			ByteFallback bool            `json:"byte_fallback"`
		} `json:"model"`
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
		Normalizer    *component `json:"normalizer"`
		PreTokenizer  *component `json:"pre_tokenizer"`
		PostProcessor *component `json:"post_processor"`
		Decoder       *component `json:"decoder"`
	}
	hasJSON bool
	config  map[string]json.RawMessage // tokenizer_config.json; nil without one
	pieces  []tokenizer.Piece          // tokenizer.model
	model   map[string]json.RawMessage // config.json
	files   fs.FS
}

// readJSON reads a file into v, which it leaves as it is if the file is not there.
func readJSON(folder fs.FS, name string, v any) (there bool, err error) {
	raw, err := files.ReadFS(folder, name, maxVocabulary)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

func readTokenizer(m *model.Model) (t *tokenizerFiles, err error) {
	t = &tokenizerFiles{files: m.Files}
	if t.hasJSON, err = readJSON(m.Files, "tokenizer.json", &t.json); err != nil {
		return nil, err
	}
	if _, err := readJSON(m.Files, "tokenizer_config.json", &t.config); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.Config.JSON(), &t.model); err != nil {
		return nil, err
	}
	raw, err := files.ReadFS(m.Files, "tokenizer.model", maxVocabulary)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		t.pieces, err = tokenizer.Pieces(raw)
	}
	return t, err
}

// vocabulary is the metadata of a model's tokenizer.
func vocabulary(m *model.Model, family *gguf.Family) (meta []gguf.Pair, err error) {
	tok, err := m.Tokenizer()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: a GGUF holds a tokenizer", err)
	}
	if err != nil {
		return nil, err
	}
	t, err := readTokenizer(m)
	if err != nil {
		return nil, err
	}
	entries, err := tokenizer.Entries(tok)
	if err != nil {
		return nil, err
	}
	size := m.Config.VocabSize
	if len(entries) > size {
		return nil, fmt.Errorf("the tokenizer has ids up to %d, config.json a vocabulary of %d", len(entries)-1, size)
	}
	impliedBOS := false
	switch {
	case t.pieces != nil || t.json.Model.ByteFallback:
		meta, err = t.sentencePiece(entries, size, family.NoSpace)
	default:
		meta, impliedBOS, err = t.bytePairs(entries, size, family.Name)
	}
	if err != nil {
		return nil, err
	}
	special, err := t.special(family, tok, size)
	if err != nil {
		return nil, err
	}
	meta = append(meta, special...)
	// What llama.cpp would do of itself, and what its converter says of the small granites and SmolLMs by their vocabulary alone.
	addBOS := slices.IndexFunc(meta, func(p gguf.Pair) bool { return p.Key == addBOSKey })
	begins := len(tok.Prefix()) > 0
	if addBOS < 0 && (family.Interleaved && size == 49152 || impliedBOS && !begins) {
		meta = append(meta, gguf.Pair{Key: addBOSKey, Value: false})
	}
	return meta, nil
}

const addBOSKey = "tokenizer.ggml.add_bos_token"

// bytePairs is the metadata of a BPE of bytes; bos says whether llama.cpp puts BOS before a text where nothing is said.
func (t *tokenizerFiles) bytePairs(entries []tokenizer.Entry, size int, architecture string) (meta []gguf.Pair, bos bool, err error) {
	merges, err := t.merges()
	if err != nil {
		return nil, false, err
	}
	if err := plainText(t.json.Normalizer, 0); err != nil {
		return nil, false, err
	}
	pre := "gpt-2" // without merges every byte is a token however text is cut
	if len(merges) > 0 {
		if pre, bos, err = preTokenizer(t.json.PreTokenizer, t.json.Model.IgnoreMerges, architecture); err != nil {
			return nil, false, fmt.Errorf("tokenizer.json: %w", err)
		}
	}
	tokens, types := make([]string, size), make([]int32, size)
	for id := range tokens {
		tokens[id], types[id] = fmt.Sprintf("[PAD%d]", id), tokenUnused
		if id < len(entries) && entries[id].Text != "" {
			tokens[id], types[id] = kindOf(entries[id])
		}
	}
	meta = []gguf.Pair{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: pre}, {Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: append([]string{}, merges...)}} // an empty list too: llama.cpp wants the key
	return meta, bos, nil
}

// plainText refuses a normalizer that llama.cpp lacks. It leaves NFC out too, which most text is in.
func plainText(c *component, depth int) error {
	if c == nil || c.Type == "NFC" {
		return nil
	}
	if c.Type != "Sequence" || depth > maxDepth {
		return fmt.Errorf("tokenizer.json: normalizer: type %.40q, which llama.cpp lacks", c.Type)
	}
	for i := range c.Normalizers {
		if err := plainText(&c.Normalizers[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// kindOf is a token of a BPE as GGUF has it.
func kindOf(e tokenizer.Entry) (text string, kind int32) {
	switch {
	case !e.Added:
		return e.Text, tokenNormal
	case e.Special || looksSpecial.MatchString(e.Text):
		return e.Text, tokenControl
	}
	return strings.ReplaceAll(e.Text, "▁", " "), tokenUser
}

// looksSpecial are added tokens that some models do not mark as special, and are. Source: does_token_look_special of the converter.
var looksSpecial = regexp.MustCompile(`(?s)^(<pad>|<mask>|<2mass>|\[@BOS@\]|<\|.*\|>|<｜.*｜>|<unused.*>)$`)

// merges are those of tokenizer.json, or else of merges.txt, each of two tokens with a space between; a space in a token is Ġ.
func (t *tokenizerFiles) merges() (list []string, err error) {
	raw := t.json.Model.Merges
	var pairs [][2]string
	switch {
	case raw == nil || string(raw) == "null" || string(raw) == "[]":
		return t.mergesText()
	case json.Unmarshal(raw, &list) == nil:
		return list, nil
	}
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("tokenizer.json: merges: %w", err)
	}
	list = nil
	for _, p := range pairs {
		list = append(list, strings.ReplaceAll(p[0], " ", "Ġ")+" "+strings.ReplaceAll(p[1], " ", "Ġ"))
	}
	return list, nil
}

func (t *tokenizerFiles) mergesText() (list []string, err error) {
	raw, err := files.ReadFS(t.files, "merges.txt", maxVocabulary)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for i, line := range strings.Split(string(raw), "\n") {
		parts := strings.Fields(line)
		if len(parts) == 2 && !(i == 0 && strings.HasPrefix(line, "#")) {
			list = append(list, parts[0]+" "+parts[1])
		}
	}
	return list, err
}

// sentencePiece is the metadata of a SentencePiece BPE, of a tokenizer.model or of a tokenizer.json made of one.
func (t *tokenizerFiles) sentencePiece(entries []tokenizer.Entry, size int, noSpace bool) ([]gguf.Pair, error) {
	pieces := t.pieces
	if pieces == nil {
		var err error
		if pieces, err = t.piecesOfMerges(entries); err != nil {
			return nil, err
		}
	}
	if len(pieces) > size {
		return nil, fmt.Errorf("the tokenizer has %d tokens, config.json a vocabulary of %d", len(pieces), size)
	}
	tokens, scores, types := make([]string, size), make([]float32, size), make([]int32, size)
	for id := range tokens {
		tokens[id], scores[id], types[id] = fmt.Sprintf("[PAD%d]", id), missingScore, tokenUnused
		if id < len(pieces) {
			p := pieces[id]
			tokens[id], scores[id], types[id] = p.Text, p.Score, int32(p.Kind)
			if p.Kind == int(tokenUser) {
				types[id] = tokenNormal // as the converter has it: it asks SentencePiece for the other kinds alone
			}
		}
		if id < len(entries) && entries[id].Added {
			tokens[id], types[id] = kindOf(entries[id])
			scores[id] = addedScore
		}
	}
	meta := []gguf.Pair{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.pre", Value: "default"}, {Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.scores", Value: scores}, {Key: "tokenizer.ggml.token_type", Value: types}}
	if add, ok := t.addSpacePrefix(); ok || noSpace {
		meta = append(meta, gguf.Pair{Key: "tokenizer.ggml.add_space_prefix", Value: add && !noSpace})
	}
	return meta, nil
}

// piecesOfMerges gives the tokens of a tokenizer.json scores by which llama.cpp merges in the order of its merges: the later the first of
// those that make a token, the lower. (llama.cpp's converter gives all of them one score, and the order is lost.)
func (t *tokenizerFiles) piecesOfMerges(entries []tokenizer.Entry) ([]tokenizer.Piece, error) {
	merges, err := t.merges()
	if err != nil {
		return nil, err
	}
	rank := map[string]int{}
	for i, line := range merges {
		left, right, _ := strings.Cut(line, " ")
		if whole := left + right; rank[whole] == 0 {
			rank[whole] = i + 1
		}
	}
	list := make([]tokenizer.Piece, len(entries))
	for id, e := range entries {
		list[id] = tokenizer.Piece{Text: e.Text, Score: -float32(cmp.Or(rank[e.Text], len(merges)+1)), Kind: int(tokenNormal)}
		switch {
		case e.Text == "":
			list[id] = tokenizer.Piece{Text: fmt.Sprintf("[PAD%d]", id), Score: missingScore, Kind: int(tokenUnused)}
		case byteToken.MatchString(e.Text):
			list[id].Kind = int(tokenByte)
		}
	}
	return list, nil
}

var byteToken = regexp.MustCompile(`^<0x[0-9A-Fa-f]{2}>$`)

// addSpacePrefix says whether a space goes before a text, where a file says so.
func (t *tokenizerFiles) addSpacePrefix() (add, ok bool) {
	if raw, there := t.config["add_prefix_space"]; there && json.Unmarshal(raw, &add) == nil && string(raw) != "null" {
		return add, true
	}
	if t.hasJSON && !prepends(t.json.Normalizer, 0) && !prepends(t.json.PreTokenizer, 0) {
		return false, true
	}
	return false, false
}

// prepends says whether a component puts a space before a text.
func prepends(c *component, depth int) bool {
	if c == nil || depth > maxDepth {
		return false
	}
	for _, parts := range [][]component{c.Normalizers, c.PreTokenizers} {
		for i := range parts {
			if prepends(&parts[i], depth+1) {
				return true
			}
		}
	}
	return c.Type == "Prepend" || c.Type == "Metaspace" && c.PrependScheme != "never"
}
