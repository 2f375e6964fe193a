// Package op holds the GPU operations of a language model: typed verbs on a vk.Recorder.
//
// An operation records its dispatches and returns nothing. One that refuses its arguments, or meets a driver's error, makes that
// the recorder's error; later operations do nothing and Recorder.Wait returns it. Matrices are row-major.
package op

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

// Tensor is a matrix [Rows, Cols] on the device; a vector has one row. The zero Tensor stands for one that is absent.
type Tensor struct {
	vk.View
	DType      dtype.DType
	Rows, Cols int
}

// Of makes a tensor of the first rows·cols elements of a view.
func Of(v vk.View, d dtype.DType, rows, cols int) Tensor {
	return Tensor{v.Slice(0, int64(rows)*int64(cols)*int64(d.Size())), d, rows, cols}
}

// IsZero says whether the tensor is absent.
func (t Tensor) IsZero() bool { return t.Rows == 0 }

// Elements is Rows·Cols.
func (t Tensor) Elements() int { return t.Rows * t.Cols }

// RowBytes is the size of a row.
func (t Tensor) RowBytes() int64 { return int64(t.Cols) * int64(t.DType.Size()) }

// RowRange is the tensor of rows [begin, end).
func (t Tensor) RowRange(begin, end int) Tensor {
	return Tensor{t.View.Slice(int64(begin)*t.RowBytes(), int64(end-begin)*t.RowBytes()), t.DType, end - begin, t.Cols}
}

// Joined is the rows of tensors that lie one behind the other in a buffer, as one tensor.
func Joined(first Tensor, rest ...Tensor) Tensor {
	for _, t := range rest {
		if t.DType != first.DType || t.Cols != first.Cols || first.View.Through(t.View).Size() != first.Size()+t.Size() {
			panic(fmt.Sprintf("op: %v and %v cannot be joined: %v, %v", first, t, first.View, t.View))
		}
		first.View = first.View.Through(t.View)
		first.Rows += t.Rows
	}
	return first
}

// Reshape is the same elements as another matrix.
func (t Tensor) Reshape(rows, cols int) Tensor {
	if rows*cols != t.Elements() {
		panic(fmt.Sprintf("op: reshape of %v to [%d %d]", t, rows, cols))
	}
	t.Rows, t.Cols = rows, cols
	return t
}

// Is reports whether the tensor has this shape.
func (t Tensor) Is(rows, cols int) bool { return t.Rows == rows && t.Cols == cols }

func (t Tensor) String() string { return fmt.Sprintf("%v [%d %d]", t.DType, t.Rows, t.Cols) }

// ShapeError says that an operation's tensors disagree.
type ShapeError struct {
	Op     string
	Detail string
}

func (e *ShapeError) Error() string { return fmt.Sprintf("op %s: shapes disagree: %s", e.Op, e.Detail) }

// check makes a ShapeError of the tensors the recorder's error unless ok; it returns whether the operation may go on.
func check(r *vk.Recorder, op string, ok bool, tensors ...Tensor) bool {
	if _, err := KernelsOf(r.Device()); err != nil {
		r.Fail(err)
	}
	if !ok {
		list := make([]string, len(tensors))
		for i, t := range tensors {
			list[i] = t.String()
		}
		r.Fail(&ShapeError{op, strings.Join(list, ", ")})
	}
	return ok && r.Err() == nil
}

// dispatch records one dispatch of a compiled variant.
func dispatch(r *vk.Recorder, variant string, spec specialized, groups [3]int, push pushed, work float64, args ...vk.Arg) {
	dispatchTexels(r, variant, 0, spec, groups, push, work, args...)
}

// dispatchTexels is dispatch of a variant that reads some bindings as texel buffers, bit i of texels for binding i.
func dispatchTexels(r *vk.Recorder, variant string, texels uint32, spec specialized, groups [3]int, push pushed, work float64, args ...vk.Arg) {
	dispatchSource(r, vk.Source{Name: variant, Texels: texels}, spec, groups, push, work, args...)
}

// compiled are the words of a variant. Tests of the self-test put wrong ones in their place, on some devices.
var compiled = func(_ *vk.Device, variant string) string { return shaders.SPIRV(variant) }

// dispatchSource is dispatch of a variant, s.Name, that asks for more of a device.
func dispatchSource(r *vk.Recorder, s vk.Source, spec specialized, groups [3]int, push pushed, work float64, args ...vk.Arg) {
	if r.Err() != nil {
		return
	}
	s.SPIRV, s.Bindings, s.Spec = compiled(r.Device(), s.Name), vk.Bound(args), spec.values
	if err := agrees(s, spec, push, args); err != nil {
		r.Fail(err)
		return
	}
	k, err := r.Device().Kernel(s)
	if err != nil {
		r.Fail(err)
		return
	}
	r.Dispatch(k, groups, push.words, work, args...)
}

// suffix is the variant of a shader for a weight's dtype.
func suffix(d dtype.DType) string { return "_" + strings.ToLower(d.String()) }

// specialized are specialization constants in the order of their IDs: their names in the shader, and the values.
type specialized struct {
	names  []string
	values []uint32
}

// spec packs specialization constants, which are given in the order of their IDs as names and values: ints, uint32s, and bools as 0 or 1.
func spec(pairs ...any) specialized { return specialized{}.with(pairs...) }

// with adds specialization constants.
func (c specialized) with(pairs ...any) specialized {
	c.names, c.values = slices.Clone(c.names), slices.Clone(c.values)
	for i := 0; i+1 < len(pairs); i += 2 {
		c.names = append(c.names, pairs[i].(string))
		switch v := pairs[i+1].(type) {
		case int:
			c.values = append(c.values, uint32(v))
		case uint32:
			c.values = append(c.values, v)
		case bool:
			c.values = append(c.values, flag(v))
		default:
			panic(fmt.Sprintf("op: specialization constant %s of type %T", pairs[i], v))
		}
	}
	return c
}

// value is that of a name, 0 where there is none.
func (c specialized) value(name string) int {
	if i := slices.Index(c.names, name); i >= 0 {
		return int(c.values[i])
	}
	return 0
}

// after puts others before these.
func (c specialized) after(pairs ...any) specialized {
	first := spec(pairs...)
	return specialized{append(first.names, c.names...), append(first.values, c.values...)}
}

// pushed are push constants: their names in the shader, and the words.
type pushed struct {
	names             []string
	words             []uint32
	floats, addresses uint64 // bit i: word i is a float32, or the first of an address
}

// address stands for the address of a buffer that vk.InAt fills in.
type address struct{}

// push packs push constants, which are given in the shader's order as names and values: ints and uint32s as they are, float32s by
// their bits.
func push(pairs ...any) pushed { return pushed{}.with(pairs...) }

// after puts one word, an integer, before these.
func (p pushed) after(name string, value int) pushed {
	return pushed{append([]string{name}, p.names...), append([]uint32{uint32(value)}, p.words...), p.floats << 1, p.addresses << 1}
}

// with adds push constants.
func (p pushed) with(pairs ...any) pushed {
	for i := 0; i+1 < len(pairs); i += 2 {
		p.names = append(p.names, pairs[i].(string))
		at := len(p.words)
		switch v := pairs[i+1].(type) {
		case int:
			p.words = append(p.words, uint32(v))
		case uint32:
			p.words = append(p.words, v)
		case float32:
			p.floats |= 1 << at
			p.words = append(p.words, math.Float32bits(v))
		case address:
			p.addresses |= 1 << at
			p.words = append(p.words, 0, 0)
		default:
			panic(fmt.Sprintf("op: push constant %s of type %T", pairs[i], v))
		}
	}
	return p
}

// agrees reports how a dispatch of a variant differs from what its SPIR-V takes.
func agrees(s vk.Source, spec specialized, push pushed, args []vk.Arg) error {
	u := shaders.Use{Push: len(push.words), Floats: push.floats, Addresses: push.addresses, Spec: len(s.Spec), Bindings: s.Bindings, Texels: s.Texels}
	filled := uint64(0)
	for i, a := range args {
		if at, ok := a.PushedAt(); ok {
			filled |= 1 << at
			continue
		}
		u.Read |= flag(a.Access&vk.Read != 0) << i
		u.Write |= flag(a.Access&vk.Write != 0) << i
	}
	if filled != push.addresses {
		return fmt.Errorf("op: %s: addresses at push constants %#b, room for them at %#b", s.Name, filled, push.addresses)
	}
	return shaders.Check(s.Name, u, push.names, spec.names)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// pieces calls f for consecutive ranges of n rows, each within what bindings of tensors with these row sizes hold and within
// maxRows (0: no bound); pieces start at offsets that can be bound. Operations whose tensors can outgrow a binding, or whose rows a
// dispatch's workgroups, record themselves once for each piece.
func pieces(r *vk.Recorder, op string, n, maxRows int, f func(begin, end int), rowBytes ...int64) {
	d := r.Device()
	step, unit := n, 1
	if maxRows > 0 {
		step = min(step, maxRows)
	}
	l := d.Limits()
	for _, b := range rowBytes {
		if b > l.StorageRange {
			r.Fail(fmt.Errorf("op %s: a row of %s, %s binds at most %s: %w", op, vk.Bytes(b), d.Info.Name, vk.Bytes(l.StorageRange), vk.ErrLimit))
			return
		}
		step = min(step, int(l.StorageRange/b))
		unit = max(unit, int(l.OffsetAlignment/gcd(l.OffsetAlignment, b)))
	}
	if step < n {
		if step < unit {
			r.Fail(fmt.Errorf("op %s: pieces of %d rows cannot start at multiples of %d bytes on %s: %w", op, step, l.OffsetAlignment, d.Info.Name, vk.ErrLimit))
			return
		}
		step -= step % unit
	}
	for begin := 0; begin < n && r.Err() == nil; begin += step {
		f(begin, min(n, begin+step))
	}
}

const (
	leastRange = 1 << 27 // bytes of a binding that every device allows
	rowGroup   = 64      // invocations of a workgroup where nothing is shared
	maxGroups  = 65_535  // workgroups along an axis that every device allows
)

// largeGroup is how many invocations of a workgroup keep memory busy, as far as the device allows: Vulkan asks for 128.
func largeGroup(d *vk.Device) int { return min(256, d.Limits().WorkgroupSize) }

// onVectors says whether kernels for a CPU driver's vectors are taken. They need no subgroup operation, but the baseline tier is to be
// what a GPU runs.
func onVectors(d *vk.Device) bool {
	return d.Info.Kind == vk.CPU && d.Tier >= vk.Subgroup && d.Limits().TexelBuffer >= leastRange
}

// texelLoads says whether kernels read from texel buffers, which on a CPU driver's vectors is one load for a lane's 16 bytes.
func texelLoads(d *vk.Device) bool {
	if loads, _ := forced(d, loadsOf); loads != "" {
		return loads == loadsByTexels
	}
	return onVectors(d)
}

// rowwise records a kernel that reduces rows: a workgroup a row, or on a CPU's driver an invocation a row by the variant that reads
// its first two arguments as texels, if these rows are made of them.
func rowwise(r *vk.Recorder, shader, suffix string, texels bool, rows, cols int, push pushed, work float64, args ...vk.Arg) {
	rowwiseSpec(r, shader, suffix, 0b11*flag(texels), specialized{}, rows, cols, push, work, args...)
}

// rowwiseSpec is rowwise of a kernel with more specialization constants, whose variant reads as texels the arguments with a bit in
// texels; 0: rows that are not made of them.
func rowwiseSpec(r *vk.Recorder, shader, suffix string, texels uint32, spec specialized, rows, cols int, push pushed, work float64, args ...vk.Arg) {
	if texels != 0 && texelLoads(r.Device()) {
		dispatchTexels(r, shader+"_texels"+suffix, texels, spec.after("WORKGROUP", cpuLanes), [3]int{ceilDiv(rows, cpuLanes), 1, 1}, push, work, args...)
		return
	}
	dispatch(r, shader+suffix, spec.after("WORKGROUP", reduceGroup(r.Device())).with(byFour(cols)...), [3]int{rows, 1, 1}, push, work, args...)
}

// longGroup is reduceGroup where rows may be long, as over a vocabulary: 256 invocations have more of them on its way on a GPU.
func longGroup(d *vk.Device, cols int) uint32 {
	if group := reduceGroup(d); d.Info.Kind == vk.CPU || cols < 1<<13 {
		return group
	}
	return uint32(largeGroup(d))
}

// byFour is the specialization constant of common/fours.glsl for rows of so many columns.
func byFour(cols int) []any { return []any{"BY_FOUR", cols%4 == 0} }

// reduceGroup is how many invocations share a row in the kernels that reduce one. A CPU's take one subgroup: barriers between
// subgroups cost it more than they bring (lavapipe 22.3.6, 1024 rows of 128: 9 ms with 64 invocations, 5 ms with 8).
func reduceGroup(d *vk.Device) uint32 {
	if size := d.Limits().SubgroupSize; d.Info.Kind == vk.CPU && size&(size-1) == 0 && size >= 4 && size < rowGroup {
		return uint32(size)
	}
	return rowGroup
}
