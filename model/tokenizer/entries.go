package tokenizer

import "fmt"

// Entry is a token of a vocabulary.
type Entry struct {
	Text       string
	Added      bool // beside the model's own vocabulary; then
	Special    bool // control tokens, which are not text
	Normalized bool // looked for in normalized text
}

// Entries lists a tokenizer's tokens by id. An id that has none is empty.
func Entries(t Tokenizer) ([]Entry, error) {
	v, ok := t.(interface{ entries() []Entry })
	if !ok {
		return nil, fmt.Errorf("tokenizer: of a %T the tokens cannot be listed", t)
	}
	return v.entries(), nil
}

func (t *bpe) entries() []Entry {
	list := make([]Entry, t.size)
	for id, text := range t.tokens {
		list[id].Text = text
	}
	listed := map[string]bool{}
	for _, v := range t.special.byID {
		listed[v.Content] = true
	}
	for id, a := range t.byID {
		if id < t.pieces && !listed[a.Content] {
			continue // a piece of tokenizer.model that its own kind makes one
		}
		list[id] = Entry{Text: a.Content, Added: true, Special: a.Special, Normalized: a.Normalized}
	}
	return list
}

// Piece is a token of a tokenizer.model.
type Piece struct {
	Text  string
	Score float32
	Kind  int // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte
}

// Pieces lists the tokens of a tokenizer.model by id.
func Pieces(raw []byte) ([]Piece, error) {
	m, err := parseProto(raw)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", modelFile, err)
	}
	list := make([]Piece, len(m.list))
	for id, p := range m.list {
		list[id] = Piece{p.text, p.score, int(p.kind)}
	}
	return list, nil
}
