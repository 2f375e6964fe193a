package shaders

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/vkcome/vkcome/shaders/spirv"
)

var takes = sync.OnceValue(func() map[string]*spirv.Interface {
	table := map[string]*spirv.Interface{}
	if err := json.Unmarshal(interfaces, &table); err != nil {
		panic(err) // shaders/gen wrote it
	}
	return table
})

// InterfaceOf is what a variant takes from its caller, nil where there is none of this name. It was read from the SPIR-V when that was
// compiled.
func InterfaceOf(name string) *spirv.Interface { return takes()[name] }

// Use is how a caller dispatches a variant. Sets have bit i for push constant or binding i.
type Use struct {
	Push      int    // 32-bit words of push constants
	Floats    uint64 // words that are float32s; the others are integers
	Addresses uint64 // words at which the address of a buffer begins, of two words
	Spec      int    // specialization constants, with IDs 0, 1, …
	Bindings  int    // buffers that are bound
	Texels    uint32 // bindings that are texel buffers
	Read      uint32 // bindings that the caller takes to be read
	Write     uint32 // and written; in neither: the variant, as it is specialized, does not touch it
}

// checked is what Check found out: errors, or nil, by use.
var checked sync.Map

type checkKey struct {
	name string
	use  Use
}

// Check compares the use of a variant with the interface that its SPIR-V has: the number of push constants and which of them are
// float32s or addresses, the number of specialization constants, and of each binding whether it is a texel buffer, and whether it is
// read and written. push and spec are the names of push constants and
// specialization constants, in order. The error
// names the variant and what disagrees. The same use is compared once.
func Check(name string, u Use, push, spec []string) error {
	if i := InterfaceOf(name); i != nil {
		if err := samePush(i, push); err != nil {
			return fmt.Errorf("shaders: %s: %w", name, err)
		}
		if err := sameSpec(i, spec); err != nil {
			return fmt.Errorf("shaders: %s: %w", name, err)
		}
	}
	key := checkKey{name, u}
	if err, ok := checked.Load(key); ok {
		err, _ := err.(error)
		return err
	}
	err := compare(InterfaceOf(name), u)
	if err != nil {
		err = fmt.Errorf("shaders: %s: %w", name, err)
	}
	checked.Store(key, err)
	return err
}

// samePush compares names, in every call: a few comparisons of strings that are the same words.
func samePush(i *spirv.Interface, names []string) error {
	if len(names) != len(i.Push) {
		return fmt.Errorf("push constants %v given, the shader has %d", names, len(i.Push))
	}
	for n, m := range i.Push {
		if m.Name != names[n] {
			return fmt.Errorf("push constant %d is %s in the shader, %s given", n, m.Name, names[n])
		}
	}
	return nil
}

// sameSpec does that for the names of specialization constants.
func sameSpec(i *spirv.Interface, names []string) error {
	if len(names) != len(i.Spec) {
		return fmt.Errorf("specialization constants %v given, the shader has %d", names, len(i.Spec))
	}
	for n, c := range i.Spec {
		if c.Name != names[n] {
			return fmt.Errorf("specialization constant %d is %s in the shader, %s given", n, c.Name, names[n])
		}
	}
	return nil
}

func compare(i *spirv.Interface, u Use) error {
	if i == nil {
		return fmt.Errorf("there is no such variant")
	}
	if u.Push != i.Words() {
		return fmt.Errorf("%d words of push constants given, the shader has %d", u.Push, i.Words())
	}
	words := map[int]bool{}
	for _, m := range i.Push {
		at := m.Offset / 4
		given := "uint"
		switch {
		case u.Addresses>>at&1 != 0:
			given = spirv.Address
		case u.Floats>>at&1 != 0:
			given = "float"
		}
		if given != m.Type && !(given == "uint" && m.Type == "int") {
			return fmt.Errorf("push constant %d, %s, is of type %s, %s given", at, m.Name, m.Type, given)
		}
		for w := range m.Words() {
			words[at+w] = true
		}
	}
	if len(words) != u.Push {
		return fmt.Errorf("%d words of push constants given, %d of them mean something", u.Push, len(words))
	}
	if u.Spec != len(i.Spec) {
		return fmt.Errorf("%d specialization constants given, the shader has %d", u.Spec, len(i.Spec))
	}
	for n, c := range i.Spec {
		if c.ID != n || c.Type != "uint" {
			return fmt.Errorf("specialization constant %d, %s, has ID %d and type %s, expected consecutive uints", n, c.Name, c.ID, c.Type)
		}
	}
	return compareBindings(i, u)
}

func compareBindings(i *spirv.Interface, u Use) error {
	last := -1
	if n := len(i.Bindings); n > 0 {
		last = i.Bindings[n-1].Index
	}
	if u.Bindings != last+1 {
		return fmt.Errorf("%d buffers bound, the shader has %d bindings", u.Bindings, last+1)
	}
	for n := range u.Bindings {
		b := i.Binding(n)
		read, write := u.Read>>n&1 != 0, u.Write>>n&1 != 0
		switch {
		case b == nil:
			if write {
				return fmt.Errorf("binding %d is taken to be written, the shader has none", n)
			}
		case b.Texels != (u.Texels>>n&1 != 0):
			return fmt.Errorf("binding %d, %s: a texel buffer is %t in the shader, %t in its use", n, b.Name, b.Texels, !b.Texels)
		case (read || write) && (b.Read != read || b.Write != write):
			return fmt.Errorf("binding %d, %s: the shader %s it, its use says that it %s it", n, b.Name, access(b.Read, b.Write), access(read, write))
		}
	}
	return nil
}

func access(read, write bool) string {
	switch {
	case read && write:
		return "reads and writes"
	case write:
		return "only writes"
	case read:
		return "only reads"
	}
	return "does not touch"
}
