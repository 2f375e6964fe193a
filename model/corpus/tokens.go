package corpus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/vkcome/vkcome/model/files"
)

const (
	maxTokens    = 1 << 27 // of a list, 512 MiB of them: a hundred thousand windows of a thousand
	maxTokenFile = 2 << 30 // bytes: an id has some 6 and may stand on a line
)

// ReadTokens reads a JSON list of token ids below vocab, 0 if that is not known. Whatever else stands in it is an error that says where.
func ReadTokens(ctx context.Context, path string, vocab int) ([]uint32, error) {
	f, err := files.Open(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	most := uint64(math.MaxUint32)
	if vocab > 0 {
		most = uint64(vocab - 1)
	}
	tokens, err := readTokens(bufio.NewReaderSize(files.Heed(ctx, f), 1<<16), most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tokens, nil
}

// LoadTokens is Load for a list as ReadTokens reads it. Of the options those count that say which windows there are: Window, Context, Windows,
// Tokens and Seed.
func LoadTokens(ctx context.Context, path string, vocab int, o Options) (*Corpus, error) {
	tokens, err := ReadTokens(ctx, path, vocab)
	if err != nil {
		return nil, err
	}
	window, n := o.Window, o.Windows
	if window == 0 {
		window = max(2, len(tokens))
		if o.Context > 0 {
			window = min(window, o.Context)
		}
		window = min(window, DefaultWindow)
	}
	windows, err := Cut(tokens, window)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if n == 0 && o.Tokens > 0 {
		n = max(1, o.Tokens/window)
	}
	return &Corpus{Windows: Sample(windows, n, o.Seed), Source: filepath.Base(path), Tokens: len(tokens)}, nil
}

var errTokens = errors.New("expected a list of token ids in JSON, such as [1, 2, 3]")

// readTokens reads a list of numbers of at most most, and nothing behind it.
func readTokens(r *bufio.Reader, most uint64) (tokens []uint32, err error) {
	switch c, err := afterSpace(r); {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case err != nil || c != '[':
		return nil, errTokens
	}
	for {
		id, c, err := readToken(r, most)
		if errors.Is(err, errEmptyList) && len(tokens) == 0 {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the list of tokens has no end: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("index %d: %w", len(tokens), err)
		}
		if tokens = append(tokens, id); len(tokens) > maxTokens {
			return nil, fmt.Errorf("more than %d tokens; cut the list into several", maxTokens)
		}
		if c == ']' {
			break
		}
	}
	switch _, err := afterSpace(r); {
	case err == nil:
		return nil, errors.New("there is more behind the list of token ids")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return tokens, nil
}

var errEmptyList = errors.New("nothing, expected a token id")

// readToken reads an id and the comma or the bracket behind it.
func readToken(r *bufio.Reader, most uint64) (id uint32, after byte, err error) {
	c, err := afterSpace(r)
	if err != nil {
		return 0, 0, within(err)
	}
	if c == ']' {
		return 0, c, errEmptyList
	}
	var text []byte
	for c != ',' && c != ']' && !isSpace(c) {
		if text = append(text, c); len(text) > 40 {
			break
		}
		if c, err = r.ReadByte(); err != nil {
			return 0, 0, within(err)
		}
	}
	value, whole := uint64(0), len(text) > 0 && (text[0] != '0' || len(text) == 1)
	for _, d := range text {
		if whole = whole && '0' <= d && d <= '9'; whole && value <= most {
			value = 10*value + uint64(d-'0')
		}
	}
	if !whole {
		return 0, 0, fmt.Errorf("%q, expected a token: a whole number from 0 to %d", text, most)
	}
	if value > most {
		return 0, 0, fmt.Errorf("token %s, expected one from 0 to %d", text, most)
	}
	if isSpace(c) {
		if c, err = afterSpace(r); err != nil {
			return 0, 0, within(err)
		}
	}
	if c != ',' && c != ']' {
		return 0, 0, fmt.Errorf("%q behind it, expected a comma or the list's end", c)
	}
	return uint32(value), c, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' } // in JSON

// afterSpace reads the next byte that is no white space of JSON.
func afterSpace(r *bufio.Reader) (byte, error) {
	for {
		switch c, err := r.ReadByte(); {
		case err != nil:
			return 0, err
		case !isSpace(c):
			return c, nil
		}
	}
}
