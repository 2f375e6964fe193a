package shaders

import (
	"encoding/binary"
	"testing"
)

// No length of an array in shared memory depends on a choice between specialization constants: see LESS in common/workgroup.glsl.
func TestSharedLengths(t *testing.T) {
	const (
		typeArray, typePointer, constantOp, variable = 28, 32, 52, 59 // opcodes of SPIR-V
		choice, workgroup                            = 169, 4         // OpSelect; the storage class of shared memory
	)
	lengths := 0
	for _, v := range Variants() {
		code := []byte(SPIRV(v.Name))
		type array struct{ of, length uint32 }
		arrays, pointers, operations := map[uint32]array{}, map[uint32]uint32{}, map[uint32][]uint32{}
		var shared []uint32
		for at := 20; at < len(code); {
			word := func(i int) uint32 { return binary.LittleEndian.Uint32(code[at+4*i:]) }
			n := int(word(0) >> 16)
			switch word(0) & 0xffff {
			case typeArray:
				arrays[word(1)] = array{word(2), word(3)}
			case typePointer:
				pointers[word(1)] = word(3)
			case constantOp:
				for i := 3; i < n; i++ {
					operations[word(2)] = append(operations[word(2)], word(i))
				}
			case variable:
				if word(3) == workgroup {
					shared = append(shared, pointers[word(1)])
				}
			}
			at += 4 * n
		}
		var chosen func(id uint32) bool
		chosen = func(id uint32) bool {
			o := operations[id]
			if len(o) == 0 {
				return false
			}
			for _, operand := range o[1:] {
				if chosen(operand) {
					return true
				}
			}
			return o[0] == choice
		}
		for _, of := range shared {
			for a, ok := arrays[of]; ok; a, ok = arrays[a.of] {
				lengths++
				if chosen(a.length) {
					t.Errorf("%s: the length of an array in shared memory is a choice", v.Name)
				}
			}
		}
	}
	if lengths < 100 {
		t.Errorf("%d lengths, expected those of all kernels", lengths)
	}
}
