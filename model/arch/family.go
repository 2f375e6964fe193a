package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Family is a kind of model: what its class in transformers fixes in code rather than in config.json, and how its files name things.
type Family struct {
	Architecture string // as architectures names it
	ModelType    string // as model_type does
	MaxPosition  int    // max_position_embeddings where the file has none; 0: it must be there

	// Read reads the keys that the family has besides those of every model (hidden_size, num_hidden_layers, num_attention_heads,
	// vocab_size, max_position_embeddings, token ids and dtype, which are read before). Whatever would change the arithmetic and is not
	// supported must be an error.
	Read func(f *Fields, c *Config)

	Top   []Stored // the tensors outside the layers, in the order in which they are written
	Layer []Stored // those of a layer, named behind Prefix
	// Prefix is what stands before a layer's names, with its number for %d.
	Prefix string

	// PerLayer gives, for a model of the layers keep of c, the key and the value of an array with one entry a layer that c's file leaves to
	// a default which counts layers, so that each layer stays what it was. ok says whether there is one. nil: there is none.
	PerLayer func(c *Config, keep []int) (key string, value []byte, ok bool)
	// Anew gives, for such a model, the values of keys that are written anew, or added, so that each layer stays what it was. nil: there are none.
	Anew func(c *Config, keep []int) map[string][]byte
}

// Stored is a tensor in a family's files: its name, and the roles whose rows it holds, one behind the other. A name with a %d stands for a
// tensor for each expert, which holds its rows.
type Stored struct {
	Name  string
	Roles []Role
}

var families []*Family

// register adds a family. It is called when the package is initialized.
func register(f Family) *Family {
	families = append(families, &f)
	slices.SortFunc(families, func(a, b *Family) int { return cmp.Compare(a.Architecture, b.Architecture) })
	return &f
}

// Families lists the families by architecture.
func Families() []*Family { return slices.Clone(families) }

// findFamily goes by the model_type of a config.json, as transformers does: architectures may name the class of a decoder without its head,
// of a classifier, or of another family. Only a file without a model_type is known by its architectures.
func findFamily(f *Fields) (*Family, error) {
	var names []string
	f.get("architectures", &names)
	modelType := f.text("model_type", "")
	if f.err != nil {
		return nil, f.err
	}
	var supported []string
	for _, a := range families {
		if modelType == a.ModelType || modelType == "" && slices.Contains(names, a.Architecture) {
			return a, f.towers("model_type " + strconv.Quote(a.ModelType))
		}
		supported = append(supported, a.Architecture)
	}
	what := "architecture " + clip(strings.Join(names, ", "))
	switch {
	case len(names) == 0 && modelType == "":
		what = "no architectures and no model_type"
	case len(names) == 0:
		what = fmt.Sprintf("model_type %q", clip(modelType))
	case modelType != "":
		what += fmt.Sprintf(" of model_type %q", clip(modelType))
	}
	if err := f.towers(what); err != nil {
		return nil, err
	}
	return nil, Unsupported("%s, supported are %s", what, strings.Join(supported, ", "))
}

// towers refuses a model of more than text, what, whose config.json has the configs of its parts.
func (f *Fields) towers(what string) error {
	var parts []string
	for _, part := range [][2]string{{"a vision tower", "vision_config"}, {"an audio tower", "audio_config"}} {
		if f.has(part[1]) {
			parts = append(parts, fmt.Sprintf("%s (%s)", part[0], part[1]))
		}
	}
	var text Fields
	f.get("text_config", &text.values)
	modelType := text.text("model_type", "")
	switch {
	case f.err != nil || text.err != nil:
		return cmp.Or(f.err, text.err)
	case len(parts) == 0 && !f.has("text_config"):
		return nil
	case len(parts) == 0:
		parts = []string{"a model of text (text_config) beside other parts"}
	}
	of := ""
	if modelType != "" {
		of = fmt.Sprintf(" (model_type %q)", clip(modelType))
	}
	return Unsupported("%s has %s, which is not supported: take its model of text%s, saved by itself", what, strings.Join(parts, " and "), of)
}

// Named lists tensors that hold one role each, by role.
func Named(names map[Role]string) (list []Stored) {
	for r := range NumRoles {
		if name, ok := names[r]; ok {
			list = append(list, Stored{name, []Role{r}})
		}
	}
	return list
}

// Fuse puts a tensor that holds several roles in the place of the first of them.
func Fuse(list []Stored, name string, roles ...Role) (out []Stored) {
	for _, s := range list {
		switch {
		case s.Roles[0] == roles[0]:
			out = append(out, Stored{name, roles})
		case !slices.Contains(roles, s.Roles[0]):
			out = append(out, s)
		}
	}
	return out
}

// Tensor is a tensor that a model's files hold: a matrix is [out, in], a vector has one dimension.
type Tensor struct {
	Name  string
	Shape []int
	Roles []Role // whose rows it holds, one behind the other
	Part  int    // it holds part Part of Parts equal parts of the rows of each role
	Parts int    // 1 but for tensors of an expert
}

// TopTensors lists the tensors outside the layers, in the order in which they are written. A tied LM head is not among them.
func (c *Config) TopTensors() []Tensor { return c.Tensors(c.family.Top, "", c.Has) }

// LayerTensors lists the tensors of a layer, in the order in which they are written: biases and norms only where the model has them.
func (c *Config) LayerTensors(layer int) []Tensor {
	return c.Tensors(c.family.Layer, fmt.Sprintf(c.family.Prefix, layer), func(r Role) bool { return c.HasIn(layer, r) })
}

// Tensors lists those of stored tensors whose first role there says is there, with prefix before their names.
func (c *Config) Tensors(stored []Stored, prefix string, there func(r Role) bool) (list []Tensor) {
	for _, s := range stored {
		if !there(s.Roles[0]) {
			continue
		}
		name, parts := func(int) string { return s.Name }, 1
		if strings.Contains(s.Name, "%d") {
			name, parts = func(i int) string { return fmt.Sprintf(s.Name, i) }, c.Experts
		}
		rows, cols := 0, 0
		for _, r := range s.Roles {
			var n int
			n, cols = c.Shape(r)
			rows += n / parts
		}
		shape := []int{rows, cols}
		if s.Roles[0].Info().Vector() {
			shape = []int{cols}
		}
		for i := range parts {
			list = append(list, Tensor{prefix + name(i), shape, s.Roles, i, parts})
		}
	}
	return list
}

// Operation names what computes with a role's tensor: its module in a layer, as self_attn.q_proj.
func (c *Config) Operation(r Role) string {
	for _, s := range c.family.Layer {
		if slices.Contains(s.Roles, r) {
			return module(s.Name)
		}
	}
	return module(r.Info().Name)
}

// module is a tensor's; that of the experts is one.
func module(name string) string {
	return strings.Replace(strings.TrimSuffix(name, ".weight"), ".%d", "", 1)
}

// Bare is the name of a tensor in checkpoints of a decoder without its LM head.
func Bare(name string) string { return strings.TrimPrefix(name, "model.") }
