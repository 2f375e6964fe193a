package lsq

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
)

// Equations are the sums of a regression on the host.
type Equations struct {
	shape  Shape
	panels [][]fixed // those without tokens are nil
	tokens []int64   // of each panel
	total  fixed     // T, of the tokens of the last panel
}

// NewEquations are sums over no tokens. Panels take memory when they have some.
func NewEquations(shape Shape) *Equations {
	q := &Equations{shape: shape}
	if shape.check() == nil {
		q.panels, q.tokens = make([][]fixed, shape.Panels()), make([]int64, shape.Panels())
	}
	return q
}

// Shape is the regression's size.
func (q *Equations) Shape() Shape { return q.shape }

// Tokens is how many tokens all panels have.
func (q *Equations) Tokens() int {
	if len(q.tokens) == 0 {
		return 0
	}
	return int(slices.Min(q.tokens))
}

// Loss0 is T = Σ_t w_t ‖e_t‖²: the loss of D = 0.
func (q *Equations) Loss0() float64 { return q.total.float() }

// add adds the sums of a panel over tokens.
func (q *Equations) add(p int, v []fixed, tokens int64) error {
	if tokens == 0 {
		return nil
	}
	if q.panels[p] == nil {
		q.panels[p] = make([]fixed, len(v))
	}
	for i := range v {
		if err := q.panels[p][i].add(v[i]); err != nil {
			return err
		}
	}
	q.tokens[p] += tokens
	return nil
}

// complete fails where panels lack tokens that others have.
func (q *Equations) complete() error {
	if err := q.shape.check(); err != nil {
		return err
	}
	if most := slices.Max(q.tokens); most == 0 || q.Tokens() != int(most) {
		return fmt.Errorf("lsq: sums over %d tokens in some panels, over %d in others", q.Tokens(), most)
	}
	return nil
}

// gramRow is row i of G up to its diagonal.
func (q *Equations) gramRow(i int) []fixed {
	p := i / panelRows
	begin, _, cols, _ := q.shape.panel(p)
	return q.panels[p][(i-begin)*cols:][:i+1]
}

// gram is element (i, j) of G.
func (q *Equations) gram(i, j int) float64 {
	if i < j {
		i, j = j, i
	}
	return q.gramRow(i)[j].float()
}

// cross is row o of C.
func (q *Equations) cross(o int) []fixed {
	p := q.shape.gramPanels() + o/panelRows
	begin, _, cols, _ := q.shape.panel(p)
	return q.panels[p][(o-begin)*cols : (o-begin+1)*cols]
}

// meanDiagonal is m: over the inputs, without that of the bias.
func (q *Equations) meanDiagonal() float64 {
	sum := 0.0
	for i := range q.shape.In {
		sum += q.gram(i, i)
	}
	return sum / float64(q.shape.In)
}

// The file of equations: a magic, the shape, T, and each panel with its tokens and its integers, if it has some; then the SHA-256 of all
// that. Integers are little-endian.
const magic = "vkcome lsq 1\x00\x00\x00\x00"

// head is what the file of a shape begins with.
func head(s Shape) []byte {
	raw := []byte(magic)
	for _, v := range []int{s.In, s.Out, b2i(s.Bias)} {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return raw
}

// Marshal writes the equations for MergeFrom.
func (q *Equations) Marshal(w io.Writer) error {
	if err := q.shape.check(); err != nil {
		return err
	}
	sum := sha256.New()
	to := io.MultiWriter(w, sum)
	if _, err := to.Write(encode(head(q.shape), []fixed{q.total})); err != nil {
		return err
	}
	for p, v := range q.panels {
		if _, err := to.Write(binary.LittleEndian.AppendUint64(nil, uint64(q.tokens[p]))); err != nil {
			return err
		}
		for part := range slices.Chunk(v, someFixed) {
			if _, err := to.Write(encode(nil, part)); err != nil {
				return err
			}
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// MergeFrom adds what Marshal wrote of sums over as many tokens as are expected, which are other tokens. It is exact: the order of merges changes
// nothing. It takes no memory but for panels that q lacks, reads no further than the end of the equations, and refuses another shape, other numbers
// of tokens, and what was cut off or changed. After an error q is of no use.
func (q *Equations) MergeFrom(r io.Reader, tokens int) error {
	err := q.mergeFrom(&reader{r, sha256.New()}, int64(tokens))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the end is missing")
	}
	if err != nil {
		return fmt.Errorf("lsq: equations: %w", err)
	}
	return nil
}

func (q *Equations) mergeFrom(from *reader, tokens int64) error {
	total, err := from.head(q.shape)
	if err != nil {
		return err
	}
	for p := range q.panels {
		switch n, err := from.tokens(); {
		case err != nil:
			return err
		case n != uint64(tokens):
			return fmt.Errorf("panel %d of %d tokens, expected %d", p, n, tokens)
		case n == 0:
			continue
		}
		if q.panels[p] == nil {
			q.panels[p] = make([]fixed, q.shape.elements(p))
		}
		q.tokens[p] += tokens
		if err := from.addTo(q.panels[p]); err != nil {
			return err
		}
	}
	if err := from.end(); err != nil {
		return err
	}
	if err := q.total.add(total); err != nil {
		return err
	}
	return q.signs()
}

// reader reads the parts of a file of equations, one after the other.
type reader struct {
	r   io.Reader
	sum hash.Hash // of what was read
}

// next is the next bytes.
func (f *reader) next(raw []byte) error {
	if _, err := io.ReadFull(f.r, raw); err != nil {
		return err
	}
	_, err := f.sum.Write(raw)
	return err
}

// head is T of equations of a shape.
func (f *reader) head(shape Shape) (total fixed, err error) {
	want := head(shape)
	raw := make([]byte, len(want)+fixedBytes)
	if err := f.next(raw[:len(magic)]); err != nil {
		return total, err
	}
	if found := raw[:len(magic)]; string(found) != magic {
		return total, fmt.Errorf("starts with %q, want %q", found, magic)
	}
	if err := f.next(raw[len(magic):]); err != nil {
		return total, err
	}
	if !bytes.HasPrefix(raw, want) {
		n := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[len(magic)+8*i:]) }
		return total, fmt.Errorf("of %d inputs, %d outputs, bias %d, expected %v", n(0), n(1), n(2), shape)
	}
	return decode(raw[len(want):])[0], nil
}

// tokens is how many the next panel has.
func (f *reader) tokens() (uint64, error) {
	var raw [8]byte
	if err := f.next(raw[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(raw[:]), nil
}

const someFixed = 1 << 16 // integers that are written or read at a time

// addTo adds the next integers to others.
func (f *reader) addTo(v []fixed) error {
	raw := make([]byte, fixedBytes*min(len(v), someFixed))
	for part := range slices.Chunk(v, someFixed) {
		raw := raw[:fixedBytes*len(part)]
		if err := f.next(raw); err != nil {
			return err
		}
		for i, more := range decode(raw) {
			if err := part[i].add(more); err != nil {
				return err
			}
		}
	}
	return nil
}

// end compares the SHA-256.
func (f *reader) end() error {
	want, says := f.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(f.r, says); err != nil {
		return err
	}
	if !bytes.Equal(want, says) {
		return fmt.Errorf("its SHA-256 is %x, it says %x", want, says)
	}
	return nil
}

// signs refuses sums of squares that are negative.
func (q *Equations) signs() error {
	if q.total.high < 0 {
		return errors.New("a sum of squares is negative")
	}
	for i := range q.shape.inputs() {
		if q.panels[i/panelRows] != nil && math.Signbit(q.gram(i, i)) {
			return fmt.Errorf("element %d of the diagonal is negative", i)
		}
	}
	return nil
}
