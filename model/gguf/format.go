package gguf

import "fmt"

// A file is the magic, the version, the numbers of tensors and of metadata values, the metadata, what there is to know of each tensor, and
// at the next multiple of the alignment the tensors' data. All is little-endian. Source: docs/gguf.md of ggml, gguf.cpp of llama.cpp.
const (
	magic            = "GGUF"
	version          = 3 // 2 differs in nothing that is read here
	defaultAlignment = 32
	alignmentKey     = "general.alignment" // a uint32

	maxDims = 4
	maxName = 63 // bytes of a tensor's name, which llama.cpp has 64 for with the zero
)

// The metadata keys under which a file of vkcome's holds what vkcome.json and the file of losses hold in a folder.
const (
	LineageKey = "vkcome.lineage"
	LossesKey  = "vkcome.losses"
)

// Type is how the values of a tensor are stored: ggml_type.
type Type uint32

// The types that are read; those that are written are among them.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// types are the sizes of every type that there is: how many values of a row make a block, and how many bytes that has. Those that are not
// read are here for their names.
var types = map[Type]struct {
	name         string
	block, bytes int
}{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24}, Q8_0: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
	Q2_K: {"Q2_K", 256, 84}, Q3_K: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144}, Q5_K: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8},
	29: {"IQ1_M", 256, 56}, 34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17}, 40: {"NVFP4", 64, 36}, 41: {"Q1_0", 128, 18},
}

func (t Type) String() string {
	if info, ok := types[t]; ok {
		return info.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block says how many values of a row are stored together, and in how many bytes.
func (t Type) Block() (values, bytes int) { return types[t].block, types[t].bytes }

// kind is the type of a metadata value. In Go they are uint8, int8, uint16, int16, uint32, int32, float32, bool, string, uint64, int64 and
// float64, and slices of these.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// Pair is a metadata key with its value, of a type that kind lists.
type Pair struct {
	Key   string
	Value any
}

// Info is what a file says of a tensor before its data.
type Info struct {
	Name  string
	Type  Type
	Shape []int // as Hugging Face has it, [out, in]: the reverse of the order in the file
}

// Bytes is the size of the tensor's data, or an error for a type or a shape that cannot be.
func (i Info) Bytes() (int, error) {
	values, bytes := i.Type.Block()
	if values == 0 {
		return 0, fmt.Errorf("tensor %s: %v is not known", i.Name, i.Type)
	}
	if len(i.Shape) == 0 || len(i.Shape) > maxDims {
		return 0, fmt.Errorf("tensor %s: shape %v, expected 1 to %d dimensions", i.Name, i.Shape, maxDims)
	}
	cols := i.Shape[len(i.Shape)-1]
	if cols%values != 0 {
		return 0, fmt.Errorf("tensor %s: shape %v, rows of %v have a multiple of %d values", i.Name, i.Shape, i.Type, values)
	}
	n := 1
	for at, d := range i.Shape {
		if at == len(i.Shape)-1 {
			d = d / values * bytes
		}
		if d < 0 || n > 0 && d > maxBytes/n {
			return 0, fmt.Errorf("tensor %s: shape %v of %v is too large", i.Name, i.Shape, i.Type)
		}
		n *= d
	}
	return n, nil
}

const maxBytes = 1 << 46 // of a tensor: more than any disk of a model has, and far from overflowing an int64
