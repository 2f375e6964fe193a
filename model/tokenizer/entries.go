package tokenizer

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

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

func (v *vocabulary) entries() []Entry {
	list := make([]Entry, v.size)
	for id, text := range v.tokens {
		list[id].Text = text
	}
	for _, a := range v.added {
		list[a.ID] = Entry{Text: a.Content, Added: true, Special: a.Special, Normalized: a.Normalized}
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
func Pieces(raw []byte) (list []Piece, err error) {
	err = eachField(raw, func(number protowire.Number, _ uint64, data []byte) error {
		if number != 1 {
			return nil
		}
		p := Piece{Kind: int(normal)}
		err := eachField(data, func(number protowire.Number, v uint64, data []byte) error {
			switch number {
			case 1:
				p.Text = string(data)
			case 2:
				p.Score = math.Float32frombits(uint32(v))
			case 3:
				p.Kind = int(v)
			}
			return nil
		})
		if p.Kind < int(normal) || p.Kind > int(byteValue) {
			err = errors.Join(err, fmt.Errorf("piece %d: type %d is not supported", len(list), p.Kind))
		}
		list = append(list, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", modelFile, err)
	}
	return list, nil
}
