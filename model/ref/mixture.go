package ref

import (
	"fmt"
	"slices"
)

// load is the mean share of each expert over all tokens, of which sums has the sums.
func load(sums []float64, tokens int) []float64 {
	var list []float64
	for _, v := range sums {
		list = append(list, v/float64(tokens))
	}
	return list
}

// mixture is the keys of config.json that models with experts have.
type mixture struct {
	NumLocalExperts *int  `json:"num_local_experts"`
	NumExperts      *int  `json:"num_experts"` // another name of it
	PerToken        int   `json:"num_experts_per_tok"`
	ExpertFFN       int   `json:"moe_intermediate_size"`
	NormTopK        bool  `json:"norm_topk_prob"`
	SparseStep      *int  `json:"decoder_sparse_step"`
	DenseLayers     []int `json:"mlp_only_layers"`
}

// experts is how many layer i has, 0 where its MLP is dense.
func (c *config) experts(i int) int {
	step, n := 1, 0
	if c.SparseStep != nil {
		step = *c.SparseStep
	}
	for _, key := range []*int{c.NumLocalExperts, c.NumExperts} {
		if key != nil {
			n = *key
		}
	}
	if slices.Contains(c.DenseLayers, i) || (i+1)%step != 0 {
		return 0
	}
	return n
}

// mlp finds the tensors of layer i's MLP, whose names begin with at.
func (c *config) mlp(find *finder, n names, a Config, at string, i int, l *Layer) {
	experts := c.experts(i)
	if experts == 0 {
		l.Up, l.Down = find.matrix(at+n.up+".weight", a.FFN, a.Hidden), find.matrix(at+n.down+".weight", a.Hidden, a.FFN)
		l.UpBias, l.DownBias = find.optional(at+n.up+".bias", a.FFN), find.optional(at+n.down+".bias", a.Hidden)
		if n.gate != "" {
			l.Gate, l.GateBias = find.matrix(at+n.gate+".weight", a.FFN, a.Hidden), find.optional(at+n.gate+".bias", a.FFN)
		}
		return
	}
	ffn, block, of := c.ExpertFFN, "mlp.", [3]string{"gate_proj", "up_proj", "down_proj"}
	if c.ModelType == "mixtral" {
		ffn, block, of = a.FFN, "block_sparse_moe.", [3]string{"w1", "w3", "w2"}
	}
	l.Router = find.matrix(at+block+"gate.weight", experts, a.Hidden)
	var gate, up, down []Mat
	for e := range experts {
		expert := fmt.Sprintf("%s%sexperts.%d.", at, block, e)
		gate, up = append(gate, find.matrix(expert+of[0]+".weight", ffn, a.Hidden)), append(up, find.matrix(expert+of[1]+".weight", ffn, a.Hidden))
		down = append(down, find.matrix(expert+of[2]+".weight", a.Hidden, ffn))
	}
	l.Gate, l.Up, l.Down = ConcatRows(gate...), ConcatRows(up...), ConcatRows(down...)
}
