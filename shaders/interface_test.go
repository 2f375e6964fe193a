package shaders

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/shaders/spirv"
)

// The table has a line for every variant, and what it says is what the committed words say, but for names, which those do not have.
func TestInterfaces(t *testing.T) {
	if len(takes()) != len(load()) {
		t.Errorf("%d lines for %d variants", len(takes()), len(load()))
	}
	for _, v := range Variants() {
		table := InterfaceOf(v.Name)
		if table == nil {
			t.Errorf("%s: no line", v.Name)
			continue
		}
		words, err := spirv.Parse([]byte(SPIRV(v.Name)))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		nameless := spirv.Interface{}
		for _, m := range table.Push {
			if m.Name == "" {
				t.Errorf("%s: a push constant without a name", v.Name)
			}
			m.Name = ""
			nameless.Push = append(nameless.Push, m)
		}
		for _, c := range table.Spec {
			if c.Name == "" {
				t.Errorf("%s: a specialization constant without a name", v.Name)
			}
			c.Name = ""
			nameless.Spec = append(nameless.Spec, c)
		}
		for _, c := range table.Driver { // callers know nothing of others
			if c != (spirv.Constant{ID: spirv.FirstDriver, Name: "HALF_BY_INTEGERS", Type: "uint"}) {
				t.Errorf("%s: driver's constant %+v", v.Name, c)
			}
			c.Name = ""
			nameless.Driver = append(nameless.Driver, c)
		}
		for _, b := range table.Bindings {
			if b.Name == "" {
				t.Errorf("%s: a binding without a name", v.Name)
			}
			b.Name = ""
			nameless.Bindings = append(nameless.Bindings, b)
		}
		for i := range words.Bindings { // the names of two declarations of one binding, both empty, are joined
			words.Bindings[i].Name = ""
		}
		if !reflect.DeepEqual(*words, nameless) {
			t.Errorf("%s: the words take %+v, the table says %+v", v.Name, *words, nameless)
		}
	}
}

// What a wrapper can do wrong is refused, each with the name of what disagrees.
func TestCheck(t *testing.T) {
	// swiglu: count; WORKGROUP and GELU; reads gate and up, writes y. random_f32 has a float, linear_cpu_f32 an address and a gap, swiglu_texels texels.
	swiglu := Use{Push: 1, Spec: 2, Bindings: 3, Read: 0b011, Write: 0b100}
	random := Use{Push: 4, Floats: 0b1000, Spec: 1, Bindings: 1, Write: 1}
	linear := Use{Push: 8, Floats: 1 << 5, Addresses: 1 << 6, Spec: 5, Bindings: 7, Texels: 0b111, Read: 0b111111, Write: 1 << 6}
	swigluNames, randomNames := []string{"count"}, []string{"elements", "first", "seed", "scale"}
	specials := map[string][]string{"linear_cpu_f32": {"WORKGROUP", "BIASED", "EPILOGUE", "ROWS", "STEPS"}}
	for _, name := range []string{"swiglu", "swiglu_texels", "swoglu"} {
		specials[name] = []string{"WORKGROUP", "GELU"}
	}
	specials["random_f32"] = []string{"WORKGROUP"}
	linearNames := []string{"rows", "columns", "depth", "column", "stride", "eps", "x"}
	for _, c := range []struct {
		what, name string
		use        Use
		change     func(u *Use)
		push       []string
		want       string // in the error; "" where there is none
	}{
		{"right", "swiglu", swiglu, func(*Use) {}, swigluNames, ""},
		{"right, with a float", "random_f32", random, func(*Use) {}, randomNames, ""},
		{"right, with an address", "linear_cpu_f32", linear, func(*Use) {}, linearNames, ""},
		{"right, a binding not touched", "swiglu", swiglu, func(u *Use) { u.Read = 0b001 }, swigluNames, ""},
		{"no such variant", "swoglu", swiglu, func(*Use) {}, swigluNames, "no such variant"},
		{"a constant too many", "swiglu", swiglu, func(u *Use) { u.Push = 2 }, swigluNames, "2 words of push constants given, the shader has 1"},
		{"a name too few", "swiglu", swiglu, func(*Use) {}, nil, "the shader has 1"},
		{"another name", "random_f32", random, func(*Use) {}, []string{"first", "elements", "seed", "scale"}, "push constant 0 is elements in the shader, first given"},
		{"an integer for a float", "random_f32", random, func(u *Use) { u.Floats = 0 }, randomNames, "push constant 3, scale, is of type float, uint given"},
		{"a float for an integer", "random_f32", random, func(u *Use) { u.Floats |= 1 }, randomNames, "push constant 0, elements, is of type uint, float given"},
		{"words for an address", "linear_cpu_f32", linear, func(u *Use) { u.Addresses = 0 }, linearNames, "push constant 6, x, is of type address, uint given"},
		{"a specialization constant too few", "swiglu", swiglu, func(u *Use) { u.Spec = 0 }, swigluNames, "0 specialization constants given, the shader has 2"},
		{"a buffer too few", "swiglu", swiglu, func(u *Use) { u.Bindings = 2 }, swigluNames, "2 buffers bound, the shader has 3"},
		{"texels", "swiglu", swiglu, func(u *Use) { u.Texels = 1 }, swigluNames, "binding 0, gate,gate4: a texel buffer is false in the shader"},
		{"no texels", "swiglu_texels", swiglu, func(*Use) {}, swigluNames, "binding 0, gate: a texel buffer is true in the shader"},
		{"an input written", "swiglu", swiglu, func(u *Use) { u.Write |= 1 }, swigluNames, "binding 0, gate,gate4: the shader only reads it, its use says that it reads and writes it"},
		{"an output read", "swiglu", swiglu, func(u *Use) { u.Read, u.Write = 0b111, 0 }, swigluNames, "binding 2, y,y4: the shader only writes it, its use says that it only reads it"},
		{"a gap written", "linear_cpu_f32", linear, func(u *Use) { u.Write |= 1 << 2 }, linearNames, "binding 2 is taken to be written, the shader has none"},
	} {
		u := c.use
		c.change(&u)
		for range 2 { // the second time it is remembered
			err := Check(c.name, u, c.push, specials[c.name])
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.what, err, c.want)
			}
		}
	}
	for _, c := range []struct {
		spec []string
		want string
	}{
		{nil, "specialization constants [] given, the shader has 5"},
		{[]string{"WORKGROUP", "EPILOGUE", "BIASED", "ROWS", "STEPS"}, "specialization constant 1 is BIASED in the shader, EPILOGUE given"},
	} {
		if err := Check("linear_cpu_f32", linear, linearNames, c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.spec, err, c.want)
		}
	}
}

// Every kernel that binds more buffers than a device has to offer can have some of them share, but for those with texel buffers; what it takes from its
// caller is then the same, and where each buffer begins.
func TestShare(t *testing.T) {
	n := 0
	for _, v := range Variants() {
		was := InterfaceOf(v.Name)
		if len(was.Bindings) < 5 || slices.ContainsFunc(was.Bindings, func(b spirv.Binding) bool { return b.Texels }) {
			continue
		}
		n++
		to := make([]int, was.Bindings[len(was.Bindings)-1].Index+1)
		for i := range to {
			to[i] = i % 4
		}
		code, err := spirv.Share([]byte(SPIRV(v.Name)), to)
		again, _ := spirv.Share([]byte(SPIRV(v.Name)), to)
		if err != nil || !bytes.Equal(code, again) {
			t.Errorf("%s: %v, or another module the second time", v.Name, err)
			continue
		}
		is, err := spirv.Parse(code)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if is.Words() != was.Words()+len(to) || is.Words() > 32 {
			t.Errorf("%s: %d words of push constants, %d before, %d buffers, room for 32", v.Name, is.Words(), was.Words(), len(to))
		}
		if len(is.Bindings) != 4 || len(is.Spec)+len(is.Driver) != len(was.Spec)+len(was.Driver) {
			t.Errorf("%s: %d bindings, %d constants, expected 4 and %d", v.Name, len(is.Bindings), len(is.Spec)+len(is.Driver), len(was.Spec)+len(was.Driver))
		}
	}
	if n < 30 {
		t.Errorf("%d kernels of five buffers and more, expected 30 at least", n)
	}
}
