package arch

// Role is what a tensor does in a model. Layer roles come first, in the order of their use.
type Role int

// The roles of a decoder layer. The MLP of an architecture without a gate is Down · relu(Up · x).
const (
	InputNorm Role = iota
	InputNormBias
	Q
	K
	V
	QBias
	KBias
	VBias
	QNorm
	KNorm
	QRowNorm // in their place where Recipe.RowNorm says so
	KRowNorm
	O
	OBias
	AttentionNorm // of what attention gives
	PostNorm      // before the MLP
	PostNormBias
	Gate
	GateBias
	Up
	UpBias
	Down
	DownBias
	Router
	ExpertGate // of all experts of a layer, one behind the other, as the next two
	ExpertUp
	ExpertDown
	MLPNorm    // of what the MLP gives
	LayerRoles // how many roles a layer has
)

// The roles outside the layers.
const (
	Embed     = LayerRoles + iota
	Positions // learned ones
	FinalNorm
	FinalNormBias
	Head
	NumRoles
)

// Kind says how a tensor enters the arithmetic.
type Kind int

const (
	Matrix Kind = iota // multiplied with vectors, or a table of rows
	Bias               // added
	Norm               // the weight of a norm
)

// Merge says how one tensor of several layers becomes that of the layer that replaces them.
type Merge int

const (
	Gather  Merge = iota // the channels that are kept, layer after layer, along the axis that has them
	Average              // the mean over the layers
	Pick                 // the rows of the experts that are kept, layer after layer
	ByRatio              // the sum weighted by the layers' shares
)

// Axis is what the rows or columns of a tensor are.
type Axis int

const (
	One           Axis = iota // a vector's only row
	Hidden                    // channels of the residual stream
	QueryChannels             // head_dim channels of each query head
	KVChannels                // head_dim channels of each key/value head
	HeadChannels              // the channels of one head
	Neurons                   // of the MLP
	Vocabulary
	PositionRows // of a table of learned positions
	Expert       // one of each
	ExpertNeuron // the neurons of an expert
	ExpertHidden // channels of the residual stream, for each expert
	EachNeuron   // neurons, for each expert
)

// MLPKind is a kind of MLP.
type MLPKind int

// The kinds.
const (
	AnyMLP MLPKind = iota
	DenseMLP
	SparseMLP // of experts
)

// Info is all that is known of a role, whatever the model.
type Info struct {
	Name       string // in a layer or a model of the Llama family; of what that lacks, as it would be called there
	Kind       Kind
	Rows, Cols Axis
	Merge      Merge
	DTypeOf    Role                 // the role whose dtype this one must have, as one operation reads both; itself where there is none
	Joins      bool                 // it lies right behind the role before it on the device, so that one matrix product takes both
	MLP        MLPKind              // the kind of MLP that it is a part of
	There      func(c *Config) bool // whether a model has it; nil: every model
}

// Decays says whether weight decay draws the role towards zero: matrices, not norms and biases.
func (i Info) Decays() bool { return i.Kind == Matrix }

// Vector says whether the tensor has one dimension in files.
func (i Info) Vector() bool { return i.Rows == One }

// roles is the one table of roles. What follows from a role anywhere in vkcome is read from it.
var roles = [NumRoles]Info{
	InputNorm:     {Name: "input_layernorm.weight", Kind: Norm, Cols: Hidden, Merge: Average, DTypeOf: InputNorm, There: func(c *Config) bool { return !c.NoInputNorms }},
	InputNormBias: {Name: "input_layernorm.bias", Kind: Bias, Cols: Hidden, Merge: Average, DTypeOf: InputNorm, There: layerNorm},
	Q:             {Name: "self_attn.q_proj.weight", Rows: QueryChannels, Cols: Hidden, DTypeOf: Q},
	K:             {Name: "self_attn.k_proj.weight", Rows: KVChannels, Cols: Hidden, DTypeOf: Q, Joins: true},
	V:             {Name: "self_attn.v_proj.weight", Rows: KVChannels, Cols: Hidden, DTypeOf: Q, Joins: true},
	QBias:         {Name: "self_attn.q_proj.bias", Kind: Bias, Cols: QueryChannels, DTypeOf: Q, There: attentionBias},
	KBias:         {Name: "self_attn.k_proj.bias", Kind: Bias, Cols: KVChannels, DTypeOf: Q, Joins: true, There: attentionBias},
	VBias:         {Name: "self_attn.v_proj.bias", Kind: Bias, Cols: KVChannels, DTypeOf: Q, Joins: true, There: attentionBias},
	QNorm:         {Name: "self_attn.q_norm.weight", Kind: Norm, Cols: HeadChannels, Merge: ByRatio, DTypeOf: QNorm, There: qkNorm},
	KNorm:         {Name: "self_attn.k_norm.weight", Kind: Norm, Cols: HeadChannels, Merge: ByRatio, DTypeOf: QNorm, There: qkNorm},
	// Norms over all heads have weights for the channels of each, which go where their head goes. What they divide by, the root mean square
	// over the heads of one layer, becomes that over the heads of all that are merged.
	QRowNorm:      {Name: "self_attn.q_row_norm.weight", Kind: Norm, Cols: QueryChannels, DTypeOf: QRowNorm, There: rowNorm},
	KRowNorm:      {Name: "self_attn.k_row_norm.weight", Kind: Norm, Cols: KVChannels, DTypeOf: QRowNorm, There: rowNorm},
	O:             {Name: "self_attn.o_proj.weight", Rows: Hidden, Cols: QueryChannels, DTypeOf: O},
	OBias:         {Name: "self_attn.o_proj.bias", Kind: Bias, Cols: Hidden, Merge: ByRatio, DTypeOf: O, There: func(c *Config) bool { return c.OutputBias }},
	AttentionNorm: {Name: "post_self_attn_layernorm.weight", Kind: Norm, Cols: Hidden, Merge: Average, DTypeOf: AttentionNorm, There: outputNorms},
	PostNorm:      {Name: "post_attention_layernorm.weight", Kind: Norm, Cols: Hidden, Merge: Average, DTypeOf: PostNorm, There: postNorm},
	PostNormBias:  {Name: "post_attention_layernorm.bias", Kind: Bias, Cols: Hidden, Merge: Average, DTypeOf: PostNorm, There: func(c *Config) bool { return c.LayerNorm && postNorm(c) }},
	Gate:          {Name: "mlp.gate_proj.weight", Rows: Neurons, Cols: Hidden, DTypeOf: Gate, MLP: DenseMLP, There: gated},
	GateBias:      {Name: "mlp.gate_proj.bias", Kind: Bias, Cols: Neurons, DTypeOf: Gate, MLP: DenseMLP, There: func(c *Config) bool { return c.MLPBias && gated(c) }},
	Up:            {Name: "mlp.up_proj.weight", Rows: Neurons, Cols: Hidden, DTypeOf: Gate, MLP: DenseMLP},
	UpBias:        {Name: "mlp.up_proj.bias", Kind: Bias, Cols: Neurons, DTypeOf: Up, MLP: DenseMLP, There: mlpBias},
	Down:          {Name: "mlp.down_proj.weight", Rows: Hidden, Cols: Neurons, DTypeOf: Down, MLP: DenseMLP},
	DownBias:      {Name: "mlp.down_proj.bias", Kind: Bias, Cols: Hidden, Merge: ByRatio, DTypeOf: Down, MLP: DenseMLP, There: mlpBias},
	Router:        {Name: "mlp.gate.weight", Rows: Expert, Cols: Hidden, Merge: Pick, DTypeOf: Router, MLP: SparseMLP, There: mixed},
	ExpertGate:    {Name: "mlp.experts.%d.gate_proj.weight", Rows: EachNeuron, Cols: Hidden, Merge: Pick, DTypeOf: ExpertGate, MLP: SparseMLP, There: mixed},
	ExpertUp:      {Name: "mlp.experts.%d.up_proj.weight", Rows: EachNeuron, Cols: Hidden, Merge: Pick, DTypeOf: ExpertGate, MLP: SparseMLP, There: mixed},
	ExpertDown:    {Name: "mlp.experts.%d.down_proj.weight", Rows: ExpertHidden, Cols: ExpertNeuron, Merge: Pick, DTypeOf: ExpertDown, MLP: SparseMLP, There: mixed},
	MLPNorm:       {Name: "post_mlp_layernorm.weight", Kind: Norm, Cols: Hidden, Merge: Average, DTypeOf: MLPNorm, There: outputNorms},

	Embed:         {Name: "model.embed_tokens.weight", Rows: Vocabulary, Cols: Hidden, DTypeOf: Embed},
	Positions:     {Name: "model.embed_positions.weight", Rows: PositionRows, Cols: Hidden, DTypeOf: Positions, There: func(c *Config) bool { return c.LearnedPositions }},
	FinalNorm:     {Name: "model.norm.weight", Kind: Norm, Cols: Hidden, DTypeOf: FinalNorm},
	FinalNormBias: {Name: "model.norm.bias", Kind: Bias, Cols: Hidden, DTypeOf: FinalNorm, There: layerNorm},
	Head:          {Name: "lm_head.weight", Rows: Vocabulary, Cols: Hidden, DTypeOf: Head, There: func(c *Config) bool { return !c.TieWordEmbeddings }},
}

func layerNorm(c *Config) bool     { return c.LayerNorm }
func attentionBias(c *Config) bool { return c.AttentionBias }
func qkNorm(c *Config) bool        { return c.QKNorm && !c.RowNorm }
func rowNorm(c *Config) bool       { return c.QKNorm && c.RowNorm }
func outputNorms(c *Config) bool   { return c.OutputNorms }
func postNorm(c *Config) bool      { return !c.NoInputNorms && !c.Parallel }
func gated(c *Config) bool         { return !c.ReLU }
func mixed(c *Config) bool         { return c.Experts > 0 }
func mlpBias(c *Config) bool       { return c.MLPBias }

// Info is what is known of the role.
func (r Role) Info() Info { return roles[r] }

// Has says whether the model has a tensor of a role of its own: a tied LM head is the embedding's.
func (c *Config) Has(r Role) bool { return roles[r].There == nil || roles[r].There(c) }

// Shape is the rows and columns of a role's tensor; a vector has one row.
func (c *Config) Shape(r Role) (rows, cols int) {
	return c.extent(roles[r].Rows), c.extent(roles[r].Cols)
}

func (c *Config) extent(a Axis) int {
	switch a {
	case Hidden:
		return c.HiddenSize
	case QueryChannels:
		return c.Heads * c.HeadDim
	case KVChannels:
		return c.KVHeads * c.HeadDim
	case HeadChannels:
		return c.HeadDim
	case Neurons:
		return c.IntermediateSize
	case Vocabulary:
		return c.VocabSize
	case PositionRows:
		return c.MaxPositionEmbeddings + PositionOffset
	case Expert:
		return c.Experts
	case ExpertNeuron:
		return c.Mixture.Neurons
	case ExpertHidden:
		return c.Experts * c.HiddenSize
	case EachNeuron:
		return c.Experts * c.Mixture.Neurons
	}
	return 1
}
