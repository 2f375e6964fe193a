package spirv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// What Share looks at and writes besides.
const (
	opArrayLength, opConstant, opFunction, opLoad, opStore, opAccessChain, opInBoundsAccessChain = 68, 43, 54, 61, 62, 65, 66
	opIAdd, opShiftRightLogical                                                                  = 128, 194
	decArrayStride                                                                               = 6
	boundWord                                                                                    = 3 // of the header: above all IDs
)

// Share is a kernel of which several storage buffers are parts of one: binding i, as it was, is a part of binding to[i]. Where the part begins, in
// 32-bit words, is what the caller pushes behind the kernel's own Words of push constants, a word for each element of to. A part begins at a multiple
// of its elements, of which none has more than 16 bytes.
//
// The kernel must be one of this project's: a storage buffer is a block of one array whose length only the binding tells, all are accessed element by
// element, and there are push constants, of which one at least is a uint.
func Share(code []byte, to []int) ([]byte, error) {
	s := &sharing{to: to, fresh: binary.LittleEndian.Uint32(code[4*boundWord : 4*boundWord+4]), binding: map[uint32]int{}, stride: map[uint32]uint32{}, kinds: map[uint32]kind{}, ends: map[uint32]uint32{}, vars: map[uint32]variable{}}
	if err := instructions(code, func(op uint32, args []uint32, _ []byte) error { return s.read(op, args) }); err != nil {
		return nil, err
	}
	if err := s.plan(); err != nil {
		return nil, err
	}
	s.out = slices.Clone(code[:4*headerWords])
	if err := instructions(code, s.write); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(s.out[4*boundWord:], s.fresh)
	return s.out, nil
}

// sharing is what Share knows of a module, and what it has written of the new one.
type sharing struct {
	to      []int
	fresh   uint32            // the next ID that nothing has
	binding map[uint32]int    // by variable
	stride  map[uint32]uint32 // bytes of an element, by array
	kinds   map[uint32]kind
	ends    map[uint32]uint32 // behind the last member, by struct
	vars    map[uint32]variable

	uint, push, pushBlock, pushedUint uint32         // the type, the variable of push constants, its struct, and a pointer to a uint of it
	makePointer                       bool           // pushedUint is to be declared
	first                             uint32         // of the new members
	members                           []uint32       // constants that number these, by binding
	shifts                            [3]uint32      // constants to shift by
	parts                             map[uint32]int // by variable that is shared: the shift that makes elements of words
	decorated, declared               bool
	out                               []byte
}

func (s *sharing) read(op uint32, args []uint32) error {
	switch {
	case op == opDecorate && len(args) == 3 && args[1] == decBinding:
		s.binding[args[0]] = int(args[2])
	case op == opDecorate && len(args) == 3 && args[1] == decArrayStride:
		s.stride[args[0]] = args[2]
	case op == opMemberDecorate && len(args) == 4 && args[2] == decOffset:
		s.ends[args[0]] = max(s.ends[args[0]], args[3]+4) // no push constant that is last has more than a word, which Share checks
	case op == opTypeInt && len(args) == 3 && args[1] == 32 && args[2] == 0:
		s.uint = args[0]
	case op == opTypeStruct && len(args) > 0:
		s.kinds[args[0]] = kind{members: slices.Clone(args[1:])}
	case op == opTypePointer && len(args) == 3:
		s.kinds[args[0]] = kind{class: args[1], to: args[2]}
		if args[1] == classPushConstant && args[2] == s.uint {
			s.pushedUint = args[0]
		}
	case op == opVariable && len(args) >= 3:
		s.vars[args[1]] = variable{args[1], args[0], args[2]}
	}
	return nil
}

// plan finds the buffers and the push constants, and gives IDs to what is new.
func (s *sharing) plan() error {
	s.parts = map[uint32]int{}
	for id, v := range s.vars {
		block := s.kinds[v.pointer].to
		switch v.class {
		case classPushConstant:
			s.push, s.pushBlock = id, block
		case classStorageBuffer:
			i, ok := s.binding[id]
			members := s.kinds[block].members
			if !ok || i >= len(s.to) || len(members) != 1 {
				return fmt.Errorf("spirv: buffer at binding %d of %d: expected a block of one array", i, len(s.to))
			}
			stride := s.stride[members[0]]
			if stride != 4 && stride != 8 && stride != 16 {
				return fmt.Errorf("spirv: buffer at binding %d: elements of %d bytes, expected 4, 8 or 16", i, stride)
			}
			s.parts[id] = bits.TrailingZeros32(stride / 4)
		}
	}
	if s.push == 0 || s.uint == 0 || !slices.Contains(s.kinds[s.pushBlock].members, s.uint) {
		return errors.New("spirv: no push constants with a uint, behind which others could be put")
	}
	members := s.kinds[s.pushBlock].members
	if int(s.ends[s.pushBlock]) != 4*len(members) {
		return fmt.Errorf("spirv: push constants of %d bytes, expected %d words", s.ends[s.pushBlock], len(members))
	}
	s.first = uint32(len(members))
	for range s.to {
		s.members = append(s.members, s.id())
	}
	for shift := 1; shift <= 2; shift++ { // in order, so that the module is the same each time
		s.shifts[shift] = s.id()
	}
	if s.pushedUint == 0 {
		s.pushedUint, s.makePointer = s.id(), true
	}
	return nil
}

func (s *sharing) id() uint32 {
	s.fresh++
	return s.fresh - 1
}

// put writes an instruction.
func (s *sharing) put(op uint32, args ...uint32) {
	s.out = binary.LittleEndian.AppendUint32(s.out, uint32(len(args)+1)<<16|op)
	for _, a := range args {
		s.out = binary.LittleEndian.AppendUint32(s.out, a)
	}
}

// write writes an instruction of the old module as the new one has it.
func (s *sharing) write(op uint32, args []uint32, raw []byte) error {
	switch op {
	case opDecorate:
		if _, ok := s.parts[args[0]]; ok && args[1] == decBinding {
			s.put(op, args[0], args[1], uint32(s.to[args[2]]))
			return nil
		}
	case opMemberDecorate:
		if args[0] == s.pushBlock && !s.decorated {
			s.decorated = true
			for i := range s.to {
				s.put(op, s.pushBlock, s.first+uint32(i), decOffset, 4*(s.first+uint32(i)))
			}
		}
	case opTypeStruct:
		if args[0] == s.pushBlock {
			s.put(op, append(args, slices.Repeat([]uint32{s.uint}, len(s.to))...)...)
			return nil
		}
	case opFunction:
		if !s.declared {
			s.declare()
		}
	case opAccessChain, opInBoundsAccessChain:
		if shift, ok := s.parts[args[2]]; ok {
			if len(args) < 5 {
				return fmt.Errorf("spirv: a buffer is accessed as a whole")
			}
			args = slices.Clone(args)
			args[4] = s.moved(args[4], s.members[s.binding[args[2]]], shift)
			s.put(op, args...)
			return nil
		}
	case opLoad, opArrayLength, opStore:
		at := 2 // of the pointer
		if op == opStore {
			at = 0
		}
		if _, ok := s.parts[args[at]]; ok {
			return fmt.Errorf("spirv: a buffer is used as a whole, by instruction %d", op)
		}
	}
	s.out = append(s.out, raw...)
	return nil
}

// declare writes the types and constants that are new, before the first function.
func (s *sharing) declare() {
	s.declared = true
	if s.makePointer {
		s.put(opTypePointer, s.pushedUint, classPushConstant, s.uint)
	}
	for i, id := range s.members {
		s.put(opConstant, s.uint, id, s.first+uint32(i))
	}
	for shift := 1; shift <= 2; shift++ {
		s.put(opConstant, s.uint, s.shifts[shift], uint32(shift))
	}
}

// moved writes the sum of an index and of where a part begins: what the push constant says, in elements.
func (s *sharing) moved(index, member uint32, shift int) uint32 {
	pointer, begin, sum := s.id(), s.id(), s.id()
	s.put(opAccessChain, s.pushedUint, pointer, s.push, member)
	s.put(opLoad, s.uint, begin, pointer)
	if shift > 0 {
		words := begin
		begin = s.id()
		s.put(opShiftRightLogical, s.uint, begin, words, s.shifts[shift])
	}
	s.put(opIAdd, s.uint, sum, index, begin)
	return sum
}
