package torchfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Values that a pickle makes are nil, bool, int64, float64, string, []any (a tuple), *list, *dict, global, storage and Tensor; a *big.Int only
// for the magic number of the older format.
type (
	list struct{ items []any }
	dict struct{ keys, values []any }
	// global is a name that a pickle asks for: known says what is done for it.
	global struct{ module, name string }
	// mark is on the stack where a tuple, or what goes into a list or dictionary, begins.
	mark struct{}
)

// storage is the part of a file that tensors are views of.
type storage struct {
	kind     storageKind
	begin    int64 // in the file
	elements int
}

// storageKind is the class of a storage: the dtype of its elements, as safetensors has it, and their bytes.
type storageKind struct {
	dtype string
	size  int
}

var storageKinds = map[string]storageKind{
	"FloatStorage": {"F32", 4}, "HalfStorage": {"F16", 2}, "BFloat16Storage": {"BF16", 2}, "DoubleStorage": {"F64", 8},
	"LongStorage": {"I64", 8}, "IntStorage": {"I32", 4}, "ShortStorage": {"I16", 2}, "CharStorage": {"I8", 1}, "ByteStorage": {"U8", 1}, "BoolStorage": {"BOOL", 1},
}

// calls are the functions that a checkpoint may call, by module and name, and what each gives.
var calls = map[global]func(args []any) (any, error){
	{"collections", "OrderedDict"}: func(args []any) (any, error) {
		if len(args) != 0 {
			return nil, errors.New("an OrderedDict of something, expected an empty one")
		}
		return &dict{}, nil
	},
	{"torch._utils", "_rebuild_tensor_v2"}: rebuildTensor,
	{"torch._utils", "_rebuild_parameter"}: func(args []any) (any, error) {
		if len(args) == 3 {
			if t, ok := args[0].(Tensor); ok {
				return t, nil
			}
		}
		return nil, errors.New("a parameter of something else than a tensor")
	},
	{"torch", "Size"}: func(args []any) (any, error) {
		if len(args) == 1 {
			if t, ok := args[0].([]any); ok {
				return t, nil
			}
		}
		return nil, errors.New("a torch.Size of something else than a tuple")
	},
}

// rebuildTensor makes a tensor of a storage, an offset, a shape, strides, and what concerns gradients.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 6 {
		return nil, fmt.Errorf("_rebuild_tensor_v2 of %d values, expected 6", len(args))
	}
	s, ok := args[0].(storage)
	offset, ok2 := args[1].(int64)
	shape, err := integers(args[2])
	strides, err2 := integers(args[3])
	if !ok || !ok2 || err != nil || err2 != nil {
		return nil, fmt.Errorf("_rebuild_tensor_v2 of %T, %T, %T, %T, expected a storage, an integer and two tuples of integers", args[0], args[1], args[2], args[3])
	}
	return newTensor(s, offset, shape, strides)
}

func integers(tuple any) (out []int64, err error) {
	items, ok := tuple.([]any)
	for _, v := range items {
		n, isInt := v.(int64)
		out, ok = append(out, n), ok && isInt
	}
	if !ok {
		return nil, errors.New("no tuple of integers")
	}
	return out, nil
}

// machine runs a pickle as far as a checkpoint needs it. Every opcode takes bytes of the pickle and makes one value at most, so that memory is
// bounded by the pickle's length.
type machine struct {
	in     []byte
	at     int
	stack  []any
	memo   map[uint32]any
	lookup func(id []any) (any, error) // of a persistent id: a storage
	dry    bool                        // tensors are made of nothing
}

// run gives the value that the pickle which begins at m.at stands for, and leaves m.at behind it.
func (m *machine) run() (any, error) {
	m.stack, m.memo = nil, map[uint32]any{}
	for {
		op, err := m.bytes(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			break
		}
		if err := m.step(op[0]); err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", m.at, err)
		}
	}
	return m.pop()
}

var errShort = errors.New("the pickle ends too early")

func (m *machine) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(m.in)-m.at {
		return nil, errShort
	}
	m.at += n
	return m.in[m.at-n : m.at], nil
}

// number reads n bytes, little-endian.
func (m *machine) number(n int) (v uint64, err error) {
	raw, err := m.bytes(n)
	for i, b := range raw {
		v |= uint64(b) << (8 * i)
	}
	return v, err
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("nothing on the stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popN takes the last n values off the stack, into memory of their own.
func (m *machine) popN(n int) ([]any, error) {
	if len(m.stack) < n {
		return nil, errors.New("too little on the stack")
	}
	out := append([]any{}, m.stack[len(m.stack)-n:]...)
	m.stack = m.stack[:len(m.stack)-n]
	return out, nil
}

// popMark takes what lies behind the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			out, err := m.popN(len(m.stack) - i - 1)
			m.stack = m.stack[:i]
			return out, err
		}
	}
	return nil, errors.New("no mark on the stack")
}

// step does one opcode. Names of opcodes are those of pickletools.
func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.number(1)
		if err == nil && (v < 2 || v > 5) {
			err = fmt.Errorf("protocol %d, supported are 2 to 5", v)
		}
		return err
	case 0x95: // FRAME: its length
		_, err := m.bytes(8)
		return err
	case '(': // MARK
		m.push(mark{})
	case '}': // EMPTY_DICT
		m.push(&dict{})
	case ']': // EMPTY_LIST
		m.push(&list{})
	case 'N': // NONE
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case ')', 0x85, 0x86, 0x87: // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3
		n := 0
		if op != ')' {
			n = int(op) - 0x84
		}
		return m.tuple(m.popN(n))
	case 't': // TUPLE
		return m.tuple(m.popMark())
	case 'K', 'M', 'J', 0x8a, 'G': // BININT1, BININT2, BININT, LONG1, BINFLOAT
		return m.numeral(op)
	case 'X', 0x8c, 'U', 'T', 'c', 0x93: // BINUNICODE, SHORT_BINUNICODE, SHORT_BINSTRING, BINSTRING, GLOBAL, STACK_GLOBAL
		return m.name(op)
	case 'q', 'r', 'h', 'j', 0x94: // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET, MEMOIZE
		return m.remember(op)
	case 'a', 'e', 's', 'u': // APPEND, APPENDS, SETITEM, SETITEMS
		return m.fill(op)
	case 'R': // REDUCE
		return m.call()
	case 'Q': // BINPERSID
		id, err := m.pop()
		if err != nil {
			return err
		}
		tuple, ok := id.([]any)
		if !ok {
			return fmt.Errorf("a persistent id of %T, expected a tuple", id)
		}
		v, err := m.lookup(tuple)
		m.push(v)
		return err
	case 'b': // BUILD: attributes of a dictionary, as the versions of modules; none is a tensor
		parts, err := m.popN(2)
		if err != nil {
			return err
		}
		if _, ok := parts[0].(*dict); !ok {
			return fmt.Errorf("attributes of %s, expected of a dictionary", kindOf(parts[0]))
		}
		m.push(parts[0])
	default:
		return fmt.Errorf("opcode %#x is not one of a checkpoint of tensors", op)
	}
	return nil
}

func (m *machine) tuple(items []any, err error) error {
	m.push(items)
	return err
}

func (m *machine) numeral(op byte) error {
	switch op {
	case 'K', 'M':
		v, err := m.number(map[byte]int{'K': 1, 'M': 2}[op])
		m.push(int64(v))
		return err
	case 'J':
		v, err := m.number(4)
		m.push(int64(int32(v)))
		return err
	case 'G':
		raw, err := m.bytes(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(raw)))
		return nil
	}
	n, err := m.number(1)
	if err != nil {
		return err
	}
	raw, err := m.bytes(int(n))
	if err != nil {
		return err
	}
	if len(raw) > 8 {
		if len(raw) > 16 {
			return fmt.Errorf("an integer of %d bytes", len(raw))
		}
		v := new(big.Int)
		for i := range raw {
			v.Or(v, new(big.Int).Lsh(big.NewInt(int64(raw[i])), uint(8*i)))
		}
		m.push(v)
		return nil
	}
	var v uint64
	for i, b := range raw {
		v |= uint64(b) << (8 * i)
	}
	if n := len(raw); n > 0 && n < 8 && raw[n-1]&0x80 != 0 { // two's complement
		v |= math.MaxUint64 << (8 * n)
	}
	m.push(int64(v))
	return nil
}

// name reads a text, or a global of two names.
func (m *machine) name(op byte) error {
	switch op {
	case 'c':
		g := global{}
		for _, dst := range []*string{&g.module, &g.name} {
			end := strings.IndexByte(string(m.in[m.at:min(len(m.in), m.at+256)]), '\n')
			if end < 0 {
				return errors.New("the name of a global has no end")
			}
			raw, err := m.bytes(end + 1)
			if err != nil {
				return err
			}
			*dst = string(raw[:end])
		}
		return m.pushGlobal(g)
	case 0x93:
		parts, err := m.popN(2)
		if err != nil {
			return err
		}
		module, ok := parts[0].(string)
		name, ok2 := parts[1].(string)
		if !ok || !ok2 {
			return errors.New("a global whose names are no texts")
		}
		return m.pushGlobal(global{module, name})
	}
	width := 4
	if op == 0x8c || op == 'U' {
		width = 1
	}
	n, err := m.number(width)
	if err != nil {
		return err
	}
	raw, err := m.bytes(int(n))
	m.push(string(raw))
	return err
}

// pushGlobal refuses what a checkpoint has no use for before anything is done with it.
func (m *machine) pushGlobal(g global) error {
	_, isStorage := storageKinds[g.name]
	if calls[g] == nil && !(g.module == "torch" && isStorage) {
		return fmt.Errorf("the file asks for %q of %q, which no checkpoint of tensors needs: it is not read", clip(g.name), clip(g.module))
	}
	m.push(g)
	return nil
}

func clip(text string) string { return text[:min(len(text), 60)] }

func (m *machine) remember(op byte) error {
	n := uint64(len(m.memo))
	if op != 0x94 {
		var err error
		if n, err = m.number(map[byte]int{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op]); err != nil {
			return err
		}
	}
	if op == 'h' || op == 'j' {
		v, ok := m.memo[uint32(n)]
		if !ok {
			return fmt.Errorf("value %d was never remembered", n)
		}
		m.push(v)
		return nil
	}
	if len(m.stack) == 0 {
		return errors.New("nothing on the stack")
	}
	m.memo[uint32(n)] = m.stack[len(m.stack)-1]
	return nil
}

// fill puts values into the list or dictionary below them.
func (m *machine) fill(op byte) (err error) {
	var items []any
	switch op {
	case 'a':
		items, err = m.popN(1)
	case 's':
		items, err = m.popN(2)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return errors.New("nothing on the stack")
	}
	switch into := m.stack[len(m.stack)-1].(type) {
	case *list:
		if op == 'a' || op == 'e' {
			into.items = append(into.items, items...)
			return nil
		}
	case *dict:
		if (op == 's' || op == 'u') && len(items)%2 == 0 {
			for i := 0; i < len(items); i += 2 {
				into.keys, into.values = append(into.keys, items[i]), append(into.values, items[i+1])
			}
			return nil
		}
	}
	return fmt.Errorf("%d values for %s", len(items), kindOf(m.stack[len(m.stack)-1]))
}

// call does what a known function does.
func (m *machine) call() error {
	parts, err := m.popN(2)
	if err != nil {
		return err
	}
	g, ok := parts[0].(global)
	args, ok2 := parts[1].([]any)
	if !ok || !ok2 || calls[g] == nil {
		return fmt.Errorf("a call of %s with %s", kindOf(parts[0]), kindOf(parts[1]))
	}
	if m.dry && g.module != "collections" {
		m.push(Tensor{})
		return nil
	}
	v, err := calls[g](args)
	m.push(v)
	return err
}

func kindOf(v any) string {
	if g, ok := v.(global); ok {
		return clip(g.module + "." + g.name)
	}
	return fmt.Sprintf("%T", v)
}
