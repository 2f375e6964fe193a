package tokenizer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// bpe is a tokenizer: text is cut at added tokens, normalized, cut into words and each word merged.
type bpe struct {
	addedVocabulary
	normalizers []transform
	splitters   []splitter
	decoders    []decoder
	joiner      string // between tokens when there is no decoder
	cleanUp     bool   // spaces before punctuation go from decoded text

	vocab          map[string]int // of the model: without added tokens
	tokens         map[int]string // a map, since a stranger's ids may have any gaps
	size           int
	merges         map[pair]merge
	unk            int32 // -1 when there is none
	fuseUnk        bool
	byteFallback   bool
	ignoreMerges   bool // a word that is a token is that token
	wordwise       bool // no token crosses from one word into the next
	exactFirst     bool // whether a word begins the text takes places to tell
	plain          bool // special tokens are text even in EncodeSpecial
	prefix, suffix []int
	addBOS         bool
	parts          struct{ normalizers, splitters []*component }
	once           sync.Once
	cuts           places // known once they are asked for
	special        specials
	pieces         int // of the tokenizer.model that it was made of
}

type pair struct{ left, right int32 }

type merge struct{ rank, id int32 }

// parse follows AutoTokenizer: it chooses a class, has it make of the files a tokenizer.json, and adds the tokens that the
// files beside it name.
func (f *Files) parse() (Tokenizer, error) {
	cfg, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	c, err := chooseClass(f, cfg)
	if err != nil {
		return nil, err
	}
	file, source, err := c.file(f)
	if err != nil {
		return nil, err
	}
	s, err := gather(c, cfg, f, file)
	if err != nil {
		return nil, inFile(configFile, err)
	}
	switch {
	case c.rules != nil:
		c.rules(file, cfg, &s)
	case file.pieces != nil:
		pieceRules(file, cfg, &s)
	}
	t, err := newBPE(file)
	if err != nil {
		return nil, inFile(source, err)
	}
	t.special = s
	if file.pieces != nil {
		t.pieces = len(file.pieces.list)
	}
	if err := t.addSpecials(c); err != nil {
		return nil, inFile(configFile, err)
	}
	t.plain = cfg.flag("split_special_tokens", false)
	t.cleanUp = cfg.flag("clean_up_tokenization_spaces", false) && cfg.flag("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false)
	if err := t.around(c, f, file, cfg); err != nil {
		return nil, inFile(configFile, err)
	}
	bos, ok := t.BOS()
	t.addBOS = ok && (cfg.flag("add_bos_token", false) || len(t.prefix) > 0 && t.prefix[0] == bos)
	return t, nil
}

// newBPE makes a tokenizer of a tokenizer.json.
func newBPE(f *file) (*bpe, error) {
	t := &bpe{addedVocabulary: newAddedVocabulary(), tokens: map[int]string{}}
	if err := t.model(&f.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t.next = len(t.vocab)
	var err error
	if t.normalizers, t.parts.normalizers, err = newNormalizers(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.splitters, t.parts.splitters, err = newSplitters(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.decoders, err = newDecoders(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	t.exactFirst = startsMatter(f)
	if f.Decoder == nil {
		t.joiner = " "
	}
	for _, a := range f.Added {
		if err := t.add(a); err != nil {
			return nil, fmt.Errorf("added_tokens: %w", err)
		}
	}
	return t, nil
}

// startsMatter tells whether a Metaspace that marks only the first word comes after something that could take the start of a text away: no word is
// the first then.
func startsMatter(f *file) bool {
	parts, _ := flatten(f.PreTokenizer, func(c *component) []*component { return c.PreTokenizers })
	for i, p := range parts {
		if p.Type == "Metaspace" && p.scheme() == "first" && (i > 0 || f.Normalizer != nil) {
			return true
		}
	}
	return false
}

// model enters vocabulary and merges.
func (t *bpe) model(m *modelPart) error {
	switch {
	case m.Prefix != "":
		return fmt.Errorf("continuing_subword_prefix %q is not supported", short(m.Prefix))
	case m.Suffix != "":
		return fmt.Errorf("end_of_word_suffix %q is not supported", short(m.Suffix))
	case m.Dropout != 0:
		return fmt.Errorf("dropout %v is not supported", m.Dropout)
	case len(m.Vocab) == 0:
		return errors.New("no vocabulary")
	}
	t.vocab = m.Vocab
	t.fuseUnk, t.byteFallback, t.ignoreMerges = m.FuseUnk, m.ByteFallback, m.IgnoreMerges
	_, hasSpace := m.Vocab[space]
	t.wordwise = hasSpace && !m.IgnoreMerges
	for token, id := range m.Vocab {
		if id < 0 || id >= maxID {
			return fmt.Errorf("token %q: id %d, expected 0 to %d", short(token), id, maxID-1)
		}
		// Should two share an id, the lesser spelling stands for it, whatever the order of a map.
		if old, ok := t.tokens[id]; !ok || token < old {
			t.tokens[id] = token
		}
		t.size = max(t.size, id+1)
		t.wordwise = t.wordwise && !joinsWords(token)
	}
	t.unk = -1
	if m.Unk != nil {
		id, ok := t.vocab[*m.Unk]
		if !ok && t.hasBytes() { // then nothing is unknown
			id = -1
		} else if !ok {
			return fmt.Errorf("unk_token %q is not in the vocabulary", short(*m.Unk))
		}
		t.unk = int32(id)
	}
	t.merges = make(map[pair]merge, len(m.Merges))
	for rank, p := range m.Merges {
		left, okLeft := t.vocab[p[0]]
		right, okRight := t.vocab[p[1]]
		id, ok := t.vocab[p[0]+p[1]]
		if !okLeft || !okRight || !ok {
			return fmt.Errorf("merge %d: %q + %q: part or whole is not in the vocabulary", rank, short(p[0]), short(p[1]))
		}
		t.merges[pair{int32(left), int32(right)}] = merge{int32(rank), int32(id)}
	}
	return nil
}

// hasBytes tells whether every character can be written in bytes.
func (t *bpe) hasBytes() bool {
	for b := range 256 {
		if t.byteIDs(string([]byte{byte(b)})) == nil {
			return false
		}
	}
	return true
}

// add enters an added token: a token of the model keeps its id, another gets the next one, whatever id a file gives it.
func (t *bpe) add(a AddedToken) error {
	if a.Content == "" {
		return nil // Hugging Face passes over it too
	}
	id, ok := t.vocab[a.Content]
	if !ok {
		id = -1
	}
	form := a.Content
	if a.Normalized {
		e := &encoder{t: t}
		e.limit(len(a.Content))
		form = t.normalize(e, piece{text: a.Content}).text
		if e.err != nil {
			return fmt.Errorf("token %q: %w", short(a.Content), e.err)
		}
	}
	id, err := t.enter(a, id, form)
	t.size = max(t.size, id+1)
	return err
}

// addSpecials adds the tokens that the files beside the vocabulary name.
func (t *bpe) addSpecials(c *class) error {
	list := t.special.toAdd(t.contents())
	if c.again != nil {
		list = append(list, c.again(&t.special)...)
	}
	for _, a := range list {
		if err := t.add(a); err != nil {
			return err
		}
	}
	return t.build()
}

// around sets prefix and suffix: what the post-processor says; without one, or where no tokenizer.json is there to have one, what
// tokenizer_config.json says.
func (t *bpe) around(c *class, files *Files, f *file, cfg *config) error {
	_, bos := cfg.values["add_bos_token"]
	_, eos := cfg.values["add_eos_token"]
	own := files.JSON == nil && (bos || eos)
	if f.PostProcessor != nil && !own && !c.template {
		var err error
		if t.prefix, t.suffix, err = aroundText(f.PostProcessor); err != nil {
			return &fileError{jsonFile, fmt.Errorf("post_processor: %w", err)}
		}
		for _, id := range slices.Concat(t.prefix, t.suffix) {
			if _, ok := t.Token(id); !ok {
				return &fileError{jsonFile, fmt.Errorf("post_processor: id %d is not in the vocabulary", id)}
			}
		}
		return nil
	}
	for _, end := range []struct {
		flag, name string
		ids        *[]int
	}{{"add_bos_token", "bos_token", &t.prefix}, {"add_eos_token", "eos_token", &t.suffix}} {
		token, named := t.special.named[end.name]
		if !own || !cfg.flag(end.flag, false) || !named {
			continue
		}
		id, ok := t.ID(token.Content)
		if !ok || strings.ContainsFunc(token.Content, asciiSpace) || strings.HasPrefix(token.Content, "$") {
			return fmt.Errorf("%s %q cannot stand in a template", end.name, short(token.Content))
		}
		*end.ids = []int{id}
	}
	return nil
}

func asciiSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

func (t *bpe) VocabSize() int { return t.size }
func (t *bpe) AddBOS() bool   { return t.addBOS }
func (t *bpe) Prefix() []int  { return t.prefix }
func (t *bpe) Suffix() []int  { return t.suffix }

func (t *bpe) BOS() (int, bool) { return t.namedID("bos_token") }
func (t *bpe) EOS() (int, bool) { return t.namedID("eos_token") }

func (t *bpe) namedID(name string) (int, bool) {
	token, ok := t.special.named[name]
	if !ok {
		return 0, false
	}
	return t.ID(token.Content)
}

func (t *bpe) SpecialTokens() map[string]string {
	out := map[string]string{}
	for name, token := range t.special.named {
		out[name] = token.Content
	}
	return out
}

func (t *bpe) Added() []AddedToken {
	var out []AddedToken
	for _, id := range slices.Sorted(maps.Keys(t.byID)) {
		out = append(out, t.byID[id])
	}
	return out
}

func (t *bpe) Token(id int) (string, bool) {
	if a, ok := t.byID[id]; ok {
		return a.Content, true
	}
	token, ok := t.tokens[id]
	return token, ok
}

func (t *bpe) ID(token string) (int, bool) {
	if id, ok := t.ids[token]; ok {
		return id, true
	}
	id, ok := t.vocab[token]
	return id, ok
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
