package op

import (
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// Choice is the kernel that an operation runs by, and why by that one.
type Choice struct {
	Kernel string // the shader, behind a colon the tile where there are several, as in Kernels
	Why    string
}

// chosenBy is what decided among the kernels of a family.
type chosenBy int

const (
	byItself  chosenBy = iota // there is one
	byTuning                  // Tuning says so
	byFilling                 // the first that is enough to fill a GPU
	byLast                    // none is: the last
)

// LinearChoice is how LinearFused does y = x·wᵀ on a device.
func LinearChoice(d *vk.Device, x, w Tensor, f Fused) Choice {
	family, told := linearFamilyOf(d, x, w, f)
	k, by := chosen(d, family, x, w, f)
	c := Choice{Kernel: k.shader}
	if k.tile != (Tile{}) {
		c.Kernel += tileSeparator + k.tile.String()
	}
	switch {
	case told:
		c.Why = "asked for, as by " + KernelsVariable
	case strings.HasPrefix(k.shader, "linear_cpu"):
		c.Why = fmt.Sprintf("a driver on a CPU, whose vectors of %d lanes are its subgroups", d.Limits().SubgroupSize)
	case f.few(x):
		c.Why = fmt.Sprintf("%d tokens or fewer: each weight is read once", linearVecRows)
	case k.half:
		m := coopShape(d)
		c.Why = fmt.Sprintf("cooperative matrices of %d×%d×%d", m.M, m.N, m.K)
		if k.scaled {
			c.Why += ", into whose f16 rows are scaled"
		}
		if k.parts {
			c.Why += ", in two parts each, since f32 arithmetic is slow"
		}
	default:
		why := noMatrices(d, x, w, f)
		switch {
		case why != "":
		case d.Info.Has(vk.SlowMatrices):
			why = "they are slow on this driver"
		default:
			why = "no tile of them fits limits and registers"
		}
		c.Why = "no cooperative matrices: " + why
	}
	switch by {
	case byTuning:
		c.Why += "; of its tiles the fastest near this size by vkcome tune"
	case byFilling:
		c.Why += fmt.Sprintf("; of %d tiles that fit limits and registers the largest that makes %d workgroups, which fill a GPU", len(family), fillGroups)
	case byLast:
		c.Why += fmt.Sprintf("; the last of %d tiles that fit limits and registers, as none makes %d workgroups, which fill a GPU", len(family), fillGroups)
	}
	return c
}

const falseMatrices = "those of this release of its driver are known to crash or to be wrong"

// noMatrices is why cooperative matrices cannot do a product of many tokens, empty where they can.
func noMatrices(d *vk.Device, x, w Tensor, f Fused) string {
	switch {
	case d.Info.Has(vk.FalseMatrices):
		return falseMatrices
	case d.Tier < vk.CoopMatrix:
		return "the device has none, or a lower tier was asked for"
	case coopShape(d).K == 0:
		return "none of the device's shapes, with inputs of f16 and sums of f32, is one that the kernels take"
	case !coopTakes(d, w.DType, f.Half):
		return "weights of F32 would lose bits, and in two parts take three times as long"
	case x.Cols%8 != 0 || !halvesFit(d, x.Cols):
		return "the inputs are no multiple of 8, or too few"
	case f.Scratch.IsZero() || w.DType != dtype.F16 && f.halvesRows(d, w.Cols, w.DType == dtype.F32 && !f.Half) == 0:
		return "the operation was given no scratch for operands in f16"
	}
	return ""
}

// AttentionChoice is how Attention does a shape on a device, without Activity.
func AttentionChoice(d *vk.Device, s AttentionShape) (Choice, error) {
	way, err := s.way(d, false)
	if err != nil {
		return Choice{}, err
	}
	c, family := Choice{Kernel: way.shader}, attentionMany
	if s.decode() {
		family = attentionFew
	}
	if name, _ := forced(d, family); name != "" && name == way.shader {
		c.Why = "asked for, as by " + KernelsVariable
		return c, nil
	}
	switch {
	case way.half:
		of := way.spec.value
		c.Why = fmt.Sprintf("cooperative matrices of %d×%d×%d: %d rows of a group's heads, by tiles of %d keys", of("MATRIX_M"), of("MATRIX_N"), of("MATRIX_K"), way.rows, coopAttentionKeys)
		if way.shader == coopAttentionRows {
			c.Why += ", whose logits are weighed as matrices"
		}
		if way.spec.value("SPLIT") > 1 {
			c.Why += "; two subgroups share rows, since registers are few"
		}
	case way.runs > 0:
		c.Why = fmt.Sprintf("%d queries or fewer: %d rows by runs of %d keys, which are combined", AttentionDecode, way.rows, attentionChunk)
	case way.shader != "attention":
		c.Why = fmt.Sprintf("a driver on a CPU, whose vectors of %d lanes are its subgroups: %d rows at once", d.Limits().SubgroupSize, way.rows)
	default:
		c.Why = fmt.Sprintf("f32, since %s: tiles of %d rows by %d keys, as registers and shared memory allow", s.noMatrices(d), way.rows, 16*way.spec.value("THEIRS"))
	}
	return c, nil
}

// noMatrices is why attention takes no cooperative matrices.
func (s AttentionShape) noMatrices(d *vk.Device) string {
	switch {
	case d.Info.Has(vk.FalseMatrices):
		return "no cooperative matrices, since " + falseMatrices
	case d.Tier < vk.CoopMatrix:
		return "the device has no cooperative matrices, or tier " + d.Tier.String() + " was asked for"
	case !s.Half:
		return "the operation may not round to f16"
	case d.Info.Has(vk.SlowMatrices):
		return "cooperative matrices are slow on this driver"
	}
	return fmt.Sprintf("no cooperative matrices with heads of %d fit limits and registers", s.HeadDim)
}
