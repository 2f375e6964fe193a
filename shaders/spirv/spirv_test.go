package spirv

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
)

// assemble is a module of instructions, the first word of each its number.
func assemble(instructions ...[]uint32) []byte {
	words := []uint32{magic, 0x10300, 0, 100, 0}
	for _, i := range instructions {
		words = append(words, uint32(len(i))<<16|i[0])
		words = append(words, i[1:]...)
	}
	var out []byte
	for _, w := range words {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}

// named is an instruction that ends with a name.
func named(name string, head ...uint32) []uint32 {
	raw := append([]byte(name), make([]byte, 4-len(name)%4)...)
	for i := 0; i < len(raw); i += 4 {
		head = append(head, binary.LittleEndian.Uint32(raw[i:]))
	}
	return head
}

const (
	uintT = iota + 1
	floatT
	array
	bufferT
	bufferP
	bufferV
	otherV
	pushT
	pushP
	pushV
	quads
	spec
	driver
	size
	imageT
	imageP
	imageV
)

func sample() (names, rest [][]uint32) {
	names = [][]uint32{
		named("GLSL", opSourceExtension),
		named("count", opMemberName, pushT, 0), named("eps", opMemberName, pushT, 1), named("x", opMemberName, pushT, 2),
		named("y", opMemberName, bufferT, 0), named("GROUP", opName, spec), named("SLOW", opName, driver), named("texels", opName, imageV),
	}
	rest = [][]uint32{
		{opMemberDecorate, pushT, 0, decOffset, 0}, {opMemberDecorate, pushT, 1, decOffset, 4}, {opMemberDecorate, pushT, 2, decOffset, 8},
		{opMemberDecorate, bufferT, 0, decOffset, 0}, {opMemberDecorate, bufferT, 0, decNonReadable},
		{opDecorate, bufferV, decBinding, 2}, {opDecorate, bufferV, decSet, 0}, {opDecorate, otherV, decBinding, 2}, {opDecorate, imageV, decBinding, 0},
		{opDecorate, imageV, decNonWritable}, {opDecorate, size, decSpecID, 0}, {opDecorate, spec, decSpecID, 0}, {opDecorate, driver, decSpecID, FirstDriver},
		{opTypeInt, uintT, 32, 0}, {opTypeFloat, floatT, 32}, {opTypeRuntimeArray, array, floatT}, {opTypeStruct, bufferT, array},
		{opTypePointer, bufferP, classStorageBuffer, bufferT}, {opTypePointer, quads, classPhysical, bufferT}, {opTypeStruct, pushT, uintT, floatT, quads},
		{opTypePointer, pushP, classPushConstant, pushT}, {opTypeImage, imageT, uintT, dimBuffer, 0, 0, 0, 2, 30}, {opTypePointer, imageP, classUniformConstant, imageT},
		{opSpecConstant, uintT, size, 1}, {opSpecConstant, uintT, spec, 64}, {opSpecConstant, uintT, driver, 0},
		{opVariable, bufferP, bufferV, classStorageBuffer}, {opVariable, bufferP, otherV, classStorageBuffer}, {opVariable, pushP, pushV, classPushConstant},
		{opVariable, imageP, imageV, classUniformConstant},
	}
	return names, rest
}

func TestParse(t *testing.T) {
	names, rest := sample()
	got, err := Parse(assemble(append(names, rest...)...))
	want := &Interface{
		Push:     []Member{{"count", "uint", 0}, {"eps", "float", 4}, {"x", Address, 8}},
		Spec:     []Constant{{0, "GROUP", "uint"}},
		Driver:   []Constant{{FirstDriver, "SLOW", "uint"}},
		Bindings: []Binding{{0, "texels", true, true, false}, {2, "y", false, false, true}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if n := want.Words(); n != 4 {
		t.Errorf("%d words of push constants, want 4", n)
	}
	if b := want.Binding(2); b == nil || b.Name != "y" || want.Binding(1) != nil {
		t.Errorf("binding 2 is %v, binding 1 %v", b, want.Binding(1))
	}
}

func TestStrip(t *testing.T) {
	names, rest := sample()
	got, err := Strip(assemble(append(names, rest...)...))
	if err != nil || !bytes.Equal(got, assemble(rest...)) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(assemble(rest...)), err)
	}
}

func TestRefuses(t *testing.T) {
	names, rest := sample()
	good := assemble(append(names, rest...)...)
	for what, code := range map[string][]byte{
		"nothing": nil, "another file": []byte("#version 450 is not SPIR-V"), "a header cut off": good[:16], "a word cut off": good[:len(good)-4],
		"an instruction of no words": append(bytes.Clone(good), 0, 0, 0, 0), "a variable of two words": assemble([]uint32{opVariable, 1}),
		"a set that is not 0": assemble(append(rest, []uint32{opDecorate, bufferV, decSet, 1})...),
	} {
		if i, err := Parse(code); err == nil {
			t.Errorf("%s: %+v, want an error", what, i)
		}
	}
}
