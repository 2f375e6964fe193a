package op

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// Kernels names the kernels to take where several can do the same, by family. The zero value leaves the choice to the operations.
//
// The environment variable VKCOME_KERNELS holds one for every device of a process, as FAMILY=KERNEL, several with commas:
//
//	linear            products of 5 tokens or more: linear_cpu, linear_cpu_shuffle, linear, linear_coopmat; the last two also with a
//	                  tile, as vkcome tune prints them: linear=linear:64x64/4x8
//	linear_vec        products of up to 4 tokens: linear_cpu_vec, linear_vec
//	attention         of prompts: attention_cpu, attention_cpu_shuffle, attention, attention_coopmat,
//	                  attention_coopmat2
//	attention_decode  of up to 4 tokens after others: attention_cpu_decode, attention_decode
//	attention_bwd     its gradients: attention_bwd_cpu, attention_bwd_cpu_shuffle, attention_bwd, attention_bwd_coopmat
//	loads             of what reduces rows, copies and works element by element: texels, buffers
//
// So VKCOME_KERNELS=linear=linear,loads=buffers is what a GPU runs. A name that there is not, or a kernel that the device has not, is an
// error of the first operation. Where a kernel is there but does not take a shape (linear_cpu wants whole texels in a row, linear_coopmat
// weights of 16 bits), the choice is as without it. Kernels of a family add up in different orders: results differ in their last bits.
type Kernels map[string]string

// KernelsVariable is the environment variable that Kernels describes.
const KernelsVariable = "VKCOME_KERNELS"

const (
	linearMany      = "linear"
	linearFew       = "linear_vec"
	attentionMany   = "attention"
	attentionFew    = "attention_decode"
	attentionBack   = "attention_bwd"
	loadsOf         = "loads"
	loadsByTexels   = "texels"
	loadsByBuffers  = "buffers"
	tileSeparator   = ":"
	shuffledVariant = "_shuffle"
)

// Family is a choice of kernels.
type Family struct {
	Name    string
	Kernels []string
}

// families are all kernels, whether a device has them or not.
var families = []Family{
	{linearMany, []string{"linear_cpu", "linear_cpu_shuffle", "linear", "linear_coopmat"}},
	{linearFew, []string{"linear_cpu_vec", "linear_vec"}},
	{attentionMany, []string{"attention_cpu", "attention_cpu_shuffle", "attention", coopAttention, coopAttentionRows}},
	{attentionFew, []string{"attention_cpu_decode", "attention_decode"}},
	{attentionBack, []string{"attention_bwd_cpu", "attention_bwd_cpu_shuffle", "attention_bwd", "attention_bwd_coopmat"}},
	{loadsOf, []string{loadsByTexels, loadsByBuffers}},
}

// Alternatives are the families of kernels with those that the device has.
func Alternatives(d *vk.Device) []Family {
	var list []Family
	for _, f := range families {
		f.Kernels = slices.DeleteFunc(slices.Clone(f.Kernels), func(name string) bool { return !hasKernel(d, name) })
		list = append(list, f)
	}
	return list
}

// hasKernel says whether the device has a kernel, for the shapes that it is made for.
func hasKernel(d *vk.Device, name string) bool {
	s := AttentionShape{Windows: 1, QueryLen: 64, KeyLen: 64, KeyStride: 64, Heads: 1, KVHeads: 1, HeadDim: 64}
	switch name {
	case "attention", "attention_decode", "attention_bwd", loadsByBuffers:
		return true
	case "attention_cpu_shuffle", "attention_cpu_decode", "attention_bwd_cpu_shuffle":
		return s.onVectors(d)
	case "attention_cpu", "attention_bwd_cpu":
		return s.onVectors(d) && d.Addresses
	case coopAttention, coopAttentionRows:
		way, ok := s.coopWay(d, false, name)
		return ok && way.shader == name
	case "attention_bwd_coopmat":
		_, ofQueries := s.coopBackward(d, false)
		_, ofKeys := s.coopBackward(d, true)
		return ofQueries && ofKeys
	case loadsByTexels:
		return d.Limits().TexelBuffer >= leastRange
	}
	return len(tilesOf(d, name)) > 0
}

// tilesOf are the kernels of a shader for products that the device has, one for each tile.
func tilesOf(d *vk.Device, shader string) (list []linearKernel) {
	w := Tensor{DType: dtype.F16, Rows: 1024, Cols: 1024}
	for _, tokens := range []int{1, 1024} {
		x := Tensor{DType: dtype.F32, Rows: tokens, Cols: w.Cols}
		for _, k := range linearAble(d, x, w, Fused{Scratch: x}) {
			if k.shader == shader {
				list = append(list, k)
			}
		}
		if len(list) > 0 {
			break
		}
	}
	return list
}

// ParseKernels reads FAMILY=KERNEL,… as in VKCOME_KERNELS.
func ParseKernels(text string) (Kernels, error) {
	k := Kernels{}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		family, kernel, ok := strings.Cut(part, "=")
		at := slices.IndexFunc(families, func(f Family) bool { return f.Name == family })
		if !ok || at < 0 {
			return nil, fmt.Errorf("op kernels: %q, expected FAMILY=KERNEL with a family of %s", part, strings.Join(familyNames(), ", "))
		}
		name, tile, tiled := strings.Cut(kernel, tileSeparator)
		if !slices.Contains(families[at].Kernels, name) {
			return nil, fmt.Errorf("op kernels: %s is no kernel of %s, which are %s", name, family, strings.Join(families[at].Kernels, ", "))
		}
		if tiled && (tile == "" || name != "linear" && name != "linear_coopmat") {
			return nil, fmt.Errorf("op kernels: %s: only linear and linear_coopmat have tiles, as in linear=linear:64x64/4x8", part)
		}
		if k[family] != "" {
			return nil, fmt.Errorf("op kernels: %s twice", family)
		}
		k[family] = kernel
	}
	return k, nil
}

func familyNames() (names []string) {
	for _, f := range families {
		names = append(names, f.Name)
	}
	return names
}

// check says whether the device has the kernels.
func (k Kernels) check(d *vk.Device) error {
	if len(k) == 0 {
		return nil
	}
	for _, f := range Alternatives(d) {
		if k[f.Name] == "" {
			continue
		}
		name, tile, tiled := strings.Cut(k[f.Name], tileSeparator)
		if !slices.Contains(f.Kernels, name) {
			return fmt.Errorf("op kernels: %s at tier %v has no %s; of %s it has %s", d.Info.Name, d.Tier, name, f.Name, strings.Join(f.Kernels, ", "))
		}
		if !tiled {
			continue
		}
		var tiles []string
		for _, t := range tilesOf(d, name) {
			tiles = append(tiles, t.tile.String())
		}
		if !slices.Contains(tiles, tile) {
			return fmt.Errorf("op kernels: %s has no tile %s of %s; it has %s", d.Info.Name, tile, name, strings.Join(tiles, ", "))
		}
	}
	return nil
}

type kernelsKey struct{}

// inUse is what a device was told.
type inUse struct {
	kernels Kernels
	err     error
}

// Use makes the device's operations take these kernels; nil takes the operations' choice. Recorders must not be in use meanwhile. A
// kernel that the device has not is an error, and changes nothing.
func (k Kernels) Use(d *vk.Device) error {
	if err := k.check(d); err != nil {
		return err
	}
	d.Attach(kernelsKey{}, inUse{kernels: k})
	return nil
}

// KernelsOf are the kernels that the device was told to take, by default those of VKCOME_KERNELS.
func KernelsOf(d *vk.Device) (Kernels, error) {
	u, ok := d.Attached(kernelsKey{}).(inUse)
	if !ok {
		if u.kernels, u.err = ParseKernels(os.Getenv(KernelsVariable)); u.err == nil {
			u.err = u.kernels.check(d)
		}
		if u.err != nil {
			u = inUse{err: fmt.Errorf("%s: %w", KernelsVariable, u.err)}
		}
		d.Attach(kernelsKey{}, u)
	}
	return u.kernels, u.err
}

// forced is the kernel of a family that the device was told to take, and its tile; "" where it was told nothing.
func forced(d *vk.Device, family string) (kernel, tile string) {
	k, err := KernelsOf(d)
	if err != nil {
		return "", "" // check makes it the recorder's error
	}
	kernel, tile, _ = strings.Cut(k[family], tileSeparator)
	return kernel, tile
}
