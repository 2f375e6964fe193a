// Package spirv reads from compiled shaders what a caller has to agree with: their push constants, specialization constants and
// bindings.
package spirv

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Interface is what a kernel takes from its caller.
type Interface struct {
	Push     []Member   `json:"push,omitempty"`     // by offset
	Spec     []Constant `json:"spec,omitempty"`     // by ID
	Driver   []Constant `json:"driver,omitempty"`   // by ID: those from FirstDriver on, which go by the driver and not by the caller
	Bindings []Binding  `json:"bindings,omitempty"` // of set 0, by index; there may be gaps
}

// Member is a push constant.
type Member struct {
	Name   string `json:"name"`
	Type   string `json:"type"`   // uint, int, float, or address: of a buffer, 8 bytes
	Offset int    `json:"offset"` // bytes
}

// Words is how many 32-bit words the member takes.
func (m Member) Words() int {
	if m.Type == Address {
		return 2
	}
	return 1
}

// Address is the type of a member that holds the address of a buffer.
const Address = "address"

// Constant is a specialization constant.
type Constant struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"` // uint, int, float or bool
}

// FirstDriver is the first ID of the specialization constants that package vk sets by what a driver lacks.
const FirstDriver = 16

// Binding is a buffer. A shader may declare one several times, with elements of different types.
type Binding struct {
	Index  int    `json:"index"`
	Name   string `json:"name"`             // of the shader's variables or, for a block, of its last member, joined with commas
	Texels bool   `json:"texels,omitempty"` // a texel buffer, else a storage buffer
	Read   bool   `json:"read,omitempty"`   // not writeonly
	Write  bool   `json:"write,omitempty"`  // not readonly
}

// What the parser looks at. Source: the SPIR-V specification 1.6, sections 3.20, 3.7 and 3.49.
const (
	magic       = 0x07230203
	headerWords = 5

	opSourceContinued, opSource, opSourceExtension, opName, opMemberName, opString, opLine = 2, 3, 4, 5, 6, 7, 8
	opTypeBool, opTypeInt, opTypeFloat, opTypeImage, opTypeArray, opTypeRuntimeArray       = 20, 21, 22, 25, 28, 29
	opTypeStruct, opTypePointer, opVariable, opDecorate, opMemberDecorate                  = 30, 32, 59, 71, 72
	opSpecConstantTrue, opSpecConstantFalse, opSpecConstant, opNoLine, opModuleProcessed   = 48, 49, 50, 317, 330

	decSpecID, decBufferBlock, decNonWritable, decNonReadable, decBinding, decSet, decOffset = 1, 3, 24, 25, 33, 34, 35

	classUniformConstant, classUniform, classPushConstant, classStorageBuffer, classPhysical = 0, 2, 9, 12, 5349

	dimBuffer = 5
)

// kind is a type: its name, or what its parts are.
type kind struct {
	name    string
	class   uint32   // of a pointer
	to      uint32   // of a pointer
	members []uint32 // of a struct
	image   bool     // a texel buffer
}

// marks are decorations by their number; what they say, 0 where they say nothing.
type marks map[uint32]uint32

type variable struct{ id, pointer, class uint32 }

type module struct {
	names       map[uint32]string
	memberNames map[[2]uint32]string
	marks       map[uint32]marks
	memberMarks map[[2]uint32]marks
	kinds       map[uint32]kind
	variables   []variable
	constants   []variable // specialization constants: pointer is their type
}

// Parse reads the interface of a module in little-endian words.
func Parse(code []byte) (*Interface, error) {
	m := &module{names: map[uint32]string{}, memberNames: map[[2]uint32]string{}, marks: map[uint32]marks{}, memberMarks: map[[2]uint32]marks{}, kinds: map[uint32]kind{}}
	if err := instructions(code, func(op uint32, args []uint32, _ []byte) error { return m.read(op, args) }); err != nil {
		return nil, err
	}
	i := &Interface{}
	for _, c := range m.constants {
		if id, ok := m.marks[c.id][decSpecID]; ok {
			i.addConstant(Constant{int(id), m.names[c.id], m.kinds[c.pointer].name})
		}
	}
	for _, v := range m.variables {
		to := m.kinds[m.kinds[v.pointer].to]
		switch v.class {
		case classPushConstant:
			if err := m.push(i, m.kinds[v.pointer].to); err != nil {
				return nil, err
			}
		case classStorageBuffer, classUniform, classUniformConstant:
			if v.class == classUniformConstant && !to.image || m.marks[v.id][decSet] != 0 {
				return nil, fmt.Errorf("spirv: variable %q is neither a storage buffer nor a texel buffer of set 0", m.names[v.id])
			}
			i.addBinding(m.binding(v, to))
		}
	}
	slices.SortFunc(i.Push, func(a, b Member) int { return a.Offset - b.Offset })
	slices.SortFunc(i.Spec, func(a, b Constant) int { return a.ID - b.ID })
	slices.SortFunc(i.Driver, func(a, b Constant) int { return a.ID - b.ID })
	slices.SortFunc(i.Bindings, func(a, b Binding) int { return a.Index - b.Index })
	return i, nil
}

// addConstant adds a specialization constant. The workgroup's size is one that glslang makes without a name: where the shader gives
// the same ID to a constant of its own, that is meant.
func (i *Interface) addConstant(c Constant) {
	at := slices.IndexFunc(i.Spec, func(o Constant) bool { return o.ID == c.ID })
	switch {
	case c.ID >= FirstDriver:
		i.Driver = append(i.Driver, c)
	case at < 0:
		i.Spec = append(i.Spec, c)
	case i.Spec[at].Name == "":
		i.Spec[at] = c
	}
}

func (i *Interface) addBinding(b Binding) {
	at := slices.IndexFunc(i.Bindings, func(o Binding) bool { return o.Index == b.Index })
	if at < 0 {
		i.Bindings = append(i.Bindings, b)
		return
	}
	old := &i.Bindings[at]
	names := append(strings.Split(old.Name, ","), b.Name)
	slices.Sort(names)
	old.Name = strings.Join(slices.Compact(names), ",")
	old.Read, old.Write = old.Read || b.Read, old.Write || b.Write
}

// binding describes a variable. A block's decorations are those of its members: of all of them, as GLSL puts them.
func (m *module) binding(v variable, to kind) Binding {
	b := Binding{Index: int(m.marks[v.id][decBinding]), Name: m.names[v.id], Texels: to.image}
	_, noRead := m.marks[v.id][decNonReadable]
	_, noWrite := m.marks[v.id][decNonWritable]
	if len(to.members) > 0 {
		id := m.kinds[v.pointer].to
		last := [2]uint32{id, uint32(len(to.members) - 1)}
		b.Name = m.memberNames[last]
		_, noRead = m.memberMarks[last][decNonReadable]
		_, noWrite = m.memberMarks[last][decNonWritable]
	}
	b.Read, b.Write = !noRead, !noWrite
	return b
}

func (m *module) push(i *Interface, id uint32) error {
	for n, t := range m.kinds[id].members {
		at := [2]uint32{id, uint32(n)}
		k := m.kinds[t]
		name := k.name
		if k.class == classPhysical {
			name = Address
		}
		if name == "" {
			return fmt.Errorf("spirv: push constant %q is neither a word nor an address", m.memberNames[at])
		}
		i.Push = append(i.Push, Member{m.memberNames[at], name, int(m.memberMarks[at][decOffset])})
	}
	return nil
}

// read takes in an instruction.
func (m *module) read(op uint32, args []uint32) error {
	least := map[uint32]int{opName: 2, opMemberName: 3, opDecorate: 2, opMemberDecorate: 3, opTypeBool: 1, opTypeInt: 3, opTypeFloat: 2, opTypeImage: 3,
		opTypeStruct: 1, opTypePointer: 3, opVariable: 3, opSpecConstantTrue: 2, opSpecConstantFalse: 2, opSpecConstant: 3}
	if len(args) < least[op] {
		return fmt.Errorf("spirv: instruction %d of %d words", op, len(args)+1)
	}
	switch op {
	case opName:
		m.names[args[0]] = text(args[1:])
	case opMemberName:
		m.memberNames[[2]uint32{args[0], args[1]}] = text(args[2:])
	case opDecorate:
		mark(m.marks, args[0], args[1:])
	case opMemberDecorate:
		mark(m.memberMarks, [2]uint32{args[0], args[1]}, args[2:])
	case opTypeBool:
		m.kinds[args[0]] = kind{name: "bool"}
	case opTypeInt:
		if args[1] == 32 {
			m.kinds[args[0]] = kind{name: [...]string{"uint", "int"}[args[2]&1]}
		}
	case opTypeFloat:
		if args[1] == 32 {
			m.kinds[args[0]] = kind{name: "float"}
		}
	case opTypeImage:
		m.kinds[args[0]] = kind{image: args[2] == dimBuffer}
	case opTypeStruct:
		m.kinds[args[0]] = kind{members: slices.Clone(args[1:])}
	case opTypePointer:
		m.kinds[args[0]] = kind{class: args[1], to: args[2]}
	case opVariable:
		m.variables = append(m.variables, variable{args[1], args[0], args[2]})
	case opSpecConstantTrue, opSpecConstantFalse, opSpecConstant:
		m.constants = append(m.constants, variable{id: args[1], pointer: args[0]})
	}
	return nil
}

func mark[K comparable](all map[K]marks, of K, args []uint32) {
	if all[of] == nil {
		all[of] = marks{}
	}
	value := uint32(0)
	if len(args) > 1 {
		value = args[1]
	}
	all[of][args[0]] = value
}

// text is a string of words, which ends with a zero.
func text(words []uint32) string {
	raw := make([]byte, 0, 4*len(words))
	for _, w := range words {
		raw = binary.LittleEndian.AppendUint32(raw, w)
	}
	s, _, _ := strings.Cut(string(raw), "\x00")
	return s
}

// instructions calls f for each instruction of a module, with its words behind the first and all of its bytes.
func instructions(code []byte, f func(op uint32, args []uint32, raw []byte) error) error {
	if len(code)%4 != 0 || len(code) < 4*headerWords || binary.LittleEndian.Uint32(code) != magic {
		return errors.New("spirv: not a module of little-endian words")
	}
	for at := 4 * headerWords; at < len(code); {
		first := binary.LittleEndian.Uint32(code[at:])
		n := int(first>>16) * 4
		if n == 0 || at+n > len(code) {
			return fmt.Errorf("spirv: instruction at byte %d of %d has %d bytes", at, len(code), n)
		}
		args := make([]uint32, n/4-1)
		for i := range args {
			args[i] = binary.LittleEndian.Uint32(code[at+4*i+4:])
		}
		if err := f(first&math.MaxUint16, args, code[at:at+n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// Strip is a module without what is for debuggers: names, and what the source was. glslang's -g0 gives the same words.
func Strip(code []byte) ([]byte, error) {
	debug := []uint32{opSourceContinued, opSource, opSourceExtension, opName, opMemberName, opString, opLine, opNoLine, opModuleProcessed}
	out := slices.Clone(code[:min(len(code), 4*headerWords)])
	err := instructions(code, func(op uint32, _ []uint32, raw []byte) error {
		if !slices.Contains(debug, op) {
			out = append(out, raw...)
		}
		return nil
	})
	return out, err
}

// Words is how many 32-bit words of push constants the kernel takes.
func (i *Interface) Words() int {
	n := 0
	for _, m := range i.Push {
		n = max(n, m.Offset/4+m.Words())
	}
	return n
}

// Binding is the binding of an index, nil where the shader declares none.
func (i *Interface) Binding(index int) *Binding {
	at, ok := slices.BinarySearchFunc(i.Bindings, index, func(b Binding, index int) int { return cmp.Compare(b.Index, index) })
	if !ok {
		return nil
	}
	return &i.Bindings[at]
}
