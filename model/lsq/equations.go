package lsq

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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

// Merge adds the sums of other, over other tokens or of other panels. It is exact: the order of merges changes nothing. After an error
// q is of no use.
func (q *Equations) Merge(other *Equations) error {
	if q.shape != other.shape {
		return fmt.Errorf("lsq: equations of %v and of %v cannot be merged", q.shape, other.shape)
	}
	for p, v := range other.panels {
		if err := q.add(p, v, other.tokens[p]); err != nil {
			return err
		}
	}
	return q.total.add(other.total)
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

const maxTokens = 1 << 48

// Marshal writes the equations for Unmarshal.
func (q *Equations) Marshal(w io.Writer) error {
	if err := q.shape.check(); err != nil {
		return err
	}
	sum := sha256.New()
	to := io.MultiWriter(w, sum)
	head := []byte(magic)
	for _, v := range []int{q.shape.In, q.shape.Out, b2i(q.shape.Bias)} {
		head = binary.LittleEndian.AppendUint64(head, uint64(v))
	}
	if _, err := to.Write(encode(head, []fixed{q.total})); err != nil {
		return err
	}
	for p, v := range q.panels {
		if _, err := to.Write(binary.LittleEndian.AppendUint64(nil, uint64(q.tokens[p]))); err != nil {
			return err
		}
		for part := range slices.Chunk(v, 1<<16) {
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

// Unmarshal reads what Marshal wrote, to the end of r. It takes memory as bytes come, and refuses what was cut off or changed.
func Unmarshal(r io.Reader) (*Equations, error) {
	q, err := unmarshal(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the end is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("lsq: file of equations: %w", err)
	}
	return q, nil
}

func unmarshal(r io.Reader) (*Equations, error) {
	sum := sha256.New()
	from := io.TeeReader(r, sum)
	words := func(n int) ([]uint64, error) {
		raw := make([]byte, 8*n)
		if _, err := io.ReadFull(from, raw); err != nil {
			return nil, err
		}
		list := make([]uint64, n)
		for i := range list {
			list[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
		return list, nil
	}
	found := make([]byte, len(magic))
	if _, err := io.ReadFull(from, found); err != nil {
		return nil, err
	}
	if string(found) != magic {
		return nil, fmt.Errorf("starts with %q, want %q", found, magic)
	}
	head, err := words(5)
	if err != nil {
		return nil, err
	}
	if head[0] > maxSize || head[1] > maxSize || head[2] > 1 {
		return nil, fmt.Errorf("%d inputs, %d outputs, bias %d", head[0], head[1], head[2])
	}
	shape := Shape{int(head[0]), int(head[1]), head[2] == 1}
	if err := shape.check(); err != nil {
		return nil, err
	}
	q := NewEquations(shape)
	q.total = fixed{int64(head[4]), head[3]}
	for p := range q.panels {
		tokens, err := words(1)
		if err != nil {
			return nil, err
		}
		if tokens[0] > maxTokens {
			return nil, fmt.Errorf("panel %d of %d tokens", p, tokens[0])
		}
		if q.tokens[p] = int64(tokens[0]); tokens[0] == 0 {
			continue
		}
		if q.panels[p], err = readFixed(from, shape.elements(p)); err != nil {
			return nil, err
		}
	}
	want, end := sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, end); err != nil {
		return nil, err
	}
	if !bytes.Equal(want, end) {
		return nil, fmt.Errorf("its SHA-256 is %x, it says %x", want, end)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil {
		return nil, errors.New("there are bytes behind its end")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return q, q.signs()
}

// readFixed reads n integers, with memory for those that come.
func readFixed(r io.Reader, n int) (v []fixed, err error) {
	raw := make([]byte, fixedBytes*min(n, 1<<16))
	for len(v) < n {
		part := raw[:fixedBytes*min(n-len(v), 1<<16)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		v = append(v, decode(part)...)
	}
	return v, nil
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
