package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// jsonTokenizer is a tokenizer.json: text is cut at added tokens, normalized, cut into words and each word merged.
type jsonTokenizer struct {
	vocabulary
	raw, normalized matcher // added tokens looked for before and after normalization
	normalizers     []func(*jsonEncoder, string) string
	splitters       []splitter
	decoders        []decoder
	joiner          string // between tokens when there is no decoder

	vocab        map[string]int // of the model: without added tokens
	merges       map[pair]merge
	unk          int32 // -1 when there is none
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool // a word that is a token is that token
	wordwise     bool // no token crosses from one word into the next
}

type pair struct{ left, right int32 }

type merge struct{ rank, id int32 }

// file is the part of a tokenizer.json that is read.
type file struct {
	Model struct {
		Type         string         `json:"type"`
		Vocab        map[string]int `json:"vocab"`
		Merges       merges         `json:"merges"`
		Dropout      float64        `json:"dropout"`
		Unk          *string        `json:"unk_token"`
		Prefix       string         `json:"continuing_subword_prefix"`
		Suffix       string         `json:"end_of_word_suffix"`
		FuseUnk      bool           `json:"fuse_unk"`
		ByteFallback bool           `json:"byte_fallback"`
		IgnoreMerges bool           `json:"ignore_merges"`
	} `json:"model"`
	Added         []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
}

// component holds the fields of every normalizer, pre-tokenizer, post-processor and decoder.
type component struct {
	Type           string       `json:"type"`
	Normalizers    []*component `json:"normalizers"`
	PreTokenizers  []*component `json:"pretokenizers"`
	Processors     []*component `json:"processors"`
	Decoders       []*component `json:"decoders"`
	Pattern        pattern      `json:"pattern"`
	Content        string       `json:"content"`
	Prepend        string       `json:"prepend"`
	Behavior       string       `json:"behavior"`
	Invert         bool         `json:"invert"`
	AddPrefixSpace *bool        `json:"add_prefix_space"`
	UseRegex       *bool        `json:"use_regex"`
	Individual     bool         `json:"individual_digits"`
	Replacement    string       `json:"replacement"`
	PrependScheme  string       `json:"prepend_scheme"`
	Split          *bool        `json:"split"`
	Start          int          `json:"start"`
	Stop           int          `json:"stop"`
	Single         []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct{}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"`
}

// pattern is {"String": "x"} or {"Regex": "x"}.
type pattern struct {
	String *string
	Regex  *string
}

// merges are pairs, written ["a", "b"] or, before 2024, "a b".
type merges [][2]string

func (m *merges) UnmarshalJSON(raw []byte) error {
	var pairs [][]string
	var lines []string
	if json.Unmarshal(raw, &lines) == nil {
		for _, line := range lines {
			if !strings.HasPrefix(line, "#version") {
				pairs = append(pairs, strings.Split(line, " "))
			}
		}
	} else if err := json.Unmarshal(raw, &pairs); err != nil {
		return err
	}
	*m = make(merges, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("merge %d: %q is not a pair", i, short(strings.Join(p, " ")))
		}
		(*m)[i] = [2]string(p)
	}
	return nil
}

func parseJSON(raw, rawConfig []byte) (Tokenizer, error) {
	cfg, err := parseConfig(rawConfig)
	if err != nil {
		return nil, err
	}
	var f file
	// The type comes first: another model's vocabulary may not even have the form that BPE has.
	var kind struct {
		Model struct {
			Type *string `json:"type"`
		} `json:"model"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, err
	}
	if kind := kind.Model.Type; kind != nil && *kind != "BPE" { // GPT-2's file has no type
		return nil, fmt.Errorf("model type %q is not supported, only BPE", short(*kind))
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	t := &jsonTokenizer{vocabulary: newVocabulary()}
	if err := t.model(&f); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if t.normalizers, err = newNormalizers(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.splitters, err = newSplitters(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.decoders, err = newDecoders(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	if f.Decoder == nil {
		t.joiner = " "
	}
	for _, a := range f.Added {
		if err := t.add(a); err != nil {
			return nil, fmt.Errorf("added_tokens: %w", err)
		}
	}
	for _, a := range t.added {
		if a.Normalized {
			t.normalized.add((&jsonEncoder{t: t}).normalize(a.Content), a)
		} else {
			t.raw.add(a.Content, a)
		}
	}
	if id, ok := templateBOS(f.PostProcessor, 0); ok {
		if _, known := t.tokens[id]; !known {
			return nil, fmt.Errorf("post_processor: id %d is not in the vocabulary", id)
		}
		t.bos, t.prefix, t.addBOS = id, id, true
	}
	t.configure(cfg)
	return t, nil
}

// model enters vocabulary and merges.
func (t *jsonTokenizer) model(f *file) error {
	m := &f.Model
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
		if err := t.set(token, id); err != nil {
			return err
		}
		t.wordwise = t.wordwise && !joinsWords(token)
	}
	t.unk = -1
	if m.Unk != nil {
		id, ok := t.ids[*m.Unk]
		if !ok {
			return fmt.Errorf("unk_token %q is not in the vocabulary", short(*m.Unk))
		}
		t.unk = int32(id)
	}
	t.merges = make(map[pair]merge, len(m.Merges))
	for rank, p := range m.Merges {
		left, okLeft := t.ids[p[0]]
		right, okRight := t.ids[p[1]]
		id, ok := t.ids[p[0]+p[1]]
		if !okLeft || !okRight || !ok {
			return fmt.Errorf("merge %d: %q + %q: part or whole is not in the vocabulary", rank, short(p[0]), short(p[1]))
		}
		t.merges[pair{int32(left), int32(right)}] = merge{int32(rank), int32(id)}
	}
	return nil
}

// templateBOS is the special token that a TemplateProcessing puts in front of a single text.
func templateBOS(c *component, depth int) (int, bool) {
	if c == nil || depth > maxDepth {
		return 0, false
	}
	for _, p := range c.Processors {
		if id, ok := templateBOS(p, depth+1); ok {
			return id, true
		}
	}
	if c.Type != "TemplateProcessing" || len(c.Single) == 0 || c.Single[0].SpecialToken == nil {
		return 0, false
	}
	special, ok := c.SpecialTokens[c.Single[0].SpecialToken.ID]
	if !ok || len(special.IDs) == 0 {
		return 0, false
	}
	return special.IDs[0], true
}

// Limits on what a stranger's file may ask for; real ones nest two deep and have five parts.
const (
	maxDepth  = 8
	maxParts  = 64
	maxGrowth = 4096 // times the bytes of a text, by all normalizers together
)

// flatten lists the parts of nested Sequences in order.
func flatten(c *component, parts func(*component) []*component) ([]*component, error) {
	var list []*component
	var walk func(c *component, depth int) error
	walk = func(c *component, depth int) error {
		switch {
		case c == nil:
			return nil
		case depth > maxDepth || len(list) >= maxParts:
			return errors.New("too many parts")
		case c.Type != "Sequence":
			list = append(list, c)
			return nil
		}
		for _, p := range parts(c) {
			if err := walk(p, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return list, walk(c, 0)
}

func newNormalizers(c *component) ([]func(*jsonEncoder, string) string, error) {
	parts, err := flatten(c, func(c *component) []*component { return c.Normalizers })
	if err != nil {
		return nil, err
	}
	var list []func(*jsonEncoder, string) string
	growth := 1
	for _, p := range parts {
		var step func(*jsonEncoder, string) string
		switch p.Type {
		case "NFC", "NFD", "NFKC", "NFKD":
			form := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[p.Type]
			growth *= 18 // the worst that NFKD does
			step = func(_ *jsonEncoder, text string) string { return form.String(text) }
		case "Prepend":
			growth *= 1 + len(p.Prepend)
			step = func(_ *jsonEncoder, text string) string {
				if text == "" {
					return ""
				}
				return p.Prepend + text
			}
		case "Replace":
			r, err := newReplacer(p)
			if err != nil {
				return nil, err
			}
			growth *= r.growth()
			step = r.replace
		default:
			return nil, fmt.Errorf("type %q is not supported", short(p.Type))
		}
		if growth > maxGrowth {
			return nil, errors.New("a text could grow without measure")
		}
		list = append(list, step)
	}
	return list, nil
}

// replacer is the Replace of normalizers and decoders.
type replacer struct {
	text    string // what to replace, or
	regex   *regex // nil
	content string
}

func newReplacer(c *component) (*replacer, error) {
	r := &replacer{content: c.Content}
	switch p := c.Pattern; {
	case p.String != nil && *p.String != "":
		r.text = *p.String
	case p.Regex != nil:
		var err error
		if r.regex, err = newRegex(*p.Regex); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("no pattern in a Replace")
	}
	return r, nil
}

// growth bounds how many times longer a text gets.
func (r *replacer) growth() int {
	if r.regex != nil {
		return 1 + len(r.content) // it may match nothing at all, everywhere
	}
	return max(1, (len(r.content)+len(r.text)-1)/len(r.text))
}

func (r *replacer) replace(e *jsonEncoder, text string) string {
	if r.regex == nil {
		return strings.ReplaceAll(text, r.text, r.content)
	}
	var out strings.Builder
	for _, m := range r.regex.split(e, text) {
		if m.match {
			out.WriteString(r.content)
		} else {
			out.WriteString(text[m.begin:m.end])
		}
	}
	return out.String()
}

func (t *jsonTokenizer) Encode(text string) []int        { return t.encode(text, false) }
func (t *jsonTokenizer) EncodeSpecial(text string) []int { return t.encode(text, true) }

// jsonEncoder is the working memory of one call.
type jsonEncoder struct {
	t       *jsonTokenizer
	seen    cache
	symbols []symbol
	heap    []candidate
	expired bool // a pattern of this file ran into its time limit
}

func (t *jsonTokenizer) encode(text string, special bool) []int {
	var out []int
	e := &jsonEncoder{t: t, seen: cache{}}
	first := true // at the start of the text
	for _, s := range t.raw.split(validUTF8(text), special) {
		if s.id >= 0 {
			out = append(out, s.id)
			first = false
			continue
		}
		for _, s := range t.normalized.split(e.normalize(s.text), special) {
			if s.id >= 0 {
				out = append(out, s.id)
			} else {
				out = e.words(s.text, first, out)
			}
			first = false
		}
	}
	return out
}

func (e *jsonEncoder) normalize(text string) string {
	for _, n := range e.t.normalizers {
		text = n(e, text)
	}
	return text
}

// words cuts a text into words and encodes each.
func (e *jsonEncoder) words(text string, first bool, out []int) []int {
	words := []string{text}
	for _, s := range e.t.splitters {
		words = s(e, words, first)
	}
	for _, word := range words {
		for word != "" {
			n := len(word)
			if e.t.wordwise {
				n = nextWord(word)
			}
			ids, ok := e.seen[word[:n]]
			if !ok {
				ids = e.word(word[:n])
				e.seen.put(word[:n], ids)
			}
			out = append(out, ids...)
			word = word[n:]
		}
	}
	return out
}

// word merges one word.
func (e *jsonEncoder) word(text string) []int {
	t := e.t
	if id, ok := t.vocab[text]; ok && t.ignoreMerges {
		return []int{id}
	}
	e.symbols = e.symbols[:0]
	add := func(start, size int, id int32) {
		at := int32(len(e.symbols))
		e.symbols = append(e.symbols, symbol{int32(start), int32(size), at - 1, at + 1, id})
	}
	unkStart, unkSize := 0, 0 // unknown characters that wait for their end
	flush := func() {
		if unkSize > 0 {
			add(unkStart, unkSize, t.unk)
			unkSize = 0
		}
	}
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		if id, ok := t.vocab[text[i:i+n]]; ok {
			flush()
			add(i, n, int32(id))
		} else if bytes := t.byteIDs(text[i : i+n]); bytes != nil {
			for j, id := range bytes {
				add(i+j, 1, id)
			}
		} else if t.unk >= 0 { // without an unknown token the character is dropped, as Hugging Face does
			if !t.fuseUnk {
				flush()
			}
			if unkSize == 0 {
				unkStart = i
			}
			unkSize += n
		}
		i += n
	}
	flush()
	if len(e.symbols) == 0 {
		return nil
	}
	e.symbols[len(e.symbols)-1].next = -1
	e.heap = mergeAll(e.symbols, e.heap, func(l, r symbol) (rank, id int32, ok bool) {
		m, ok := t.merges[pair{l.id, r.id}]
		return m.rank, m.id, ok
	})
	var out []int
	for i := int32(0); i >= 0; i = e.symbols[i].next {
		out = append(out, int(e.symbols[i].id))
	}
	return out
}

const hex = "0123456789ABCDEF"

// byteIDs are the ids of the byte tokens of a character, nil unless all are there.
func (t *jsonTokenizer) byteIDs(char string) []int32 {
	if !t.byteFallback {
		return nil
	}
	var ids []int32
	for i := range len(char) {
		id, ok := t.vocab["<0x"+string([]byte{hex[char[i]>>4], hex[char[i]&15]})+">"]
		if !ok {
			return nil
		}
		ids = append(ids, int32(id))
	}
	return ids
}
