// Package shaders holds the compute shaders: one operation is one GLSL file, compiled into spv/ by `make shaders` and embedded, so
// that building vkcome needs no shader compiler.
package shaders

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed spv/*.spv
var compiled embed.FS

//go:embed spv/interfaces.json
var interfaces []byte

var load = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	files, _ := compiled.ReadDir("spv")
	for _, f := range files {
		raw, err := compiled.ReadFile(path.Join("spv", f.Name()))
		if err != nil {
			panic(err) // an embedded file that is listed can be read
		}
		all[strings.TrimSuffix(f.Name(), ".spv")] = string(raw)
	}
	return all
})

// SPIRV returns the words of a variant by its name, "" where there is none.
func SPIRV(name string) string { return load()[name] }

// Hash is the SHA-256 of all variants, by name.
var Hash = sync.OnceValue(func() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(load())) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(SPIRV(name)), SPIRV(name))
	}
	return hex.EncodeToString(h.Sum(nil))
})

// Variant is one compilation of a shader.
type Variant struct {
	Name    string   // of the .spv file
	Source  string   // the .comp file
	Defines []string // macros, NAME or NAME=VALUE
	Newer   bool     // glslang 15 or newer has to compile it
	Env     string   // glslang's target, "" for vulkan1.1
}

// byDType are the shaders compiled once for each dtype of a weight: NAME_f32, NAME_f16, NAME_bf16.
var byDType = []string{
	"rmsnorm",
	"embedding", "finite", "linear", "linear_cpu", "linear_cpu_shuffle", "linear_cpu_vec", "linear_vec",
	"abssum", "gather", "random", "weightedsum",
	"layernorm", "positions", "splitqkv", "tohalf",
	"transpose", "rmsnorm_bwd", "layernorm_bwd",
	"adamw", "fromdtype", "lowrank",
	"fittarget",
}

// texels are the shaders compiled once more to read through texel buffers: NAME_texels, or NAME_texels_f32 and so on.
var texels = []string{
	"abssum", "angulardistance", "bench_read", "blockinfluence", "rmsnorm", "splitqkv",
	"relu", "relu_bwd", "swiglu", "swiglu_bwd", "addscaled", "softcap", "softcap_bwd",
	"embedding_bwd", "layernorm_bwd", "rmsnorm_bwd", "rope_bwd", "transpose",
	"adamw", "cosineloss", "crossentropy_bwd", "gradnorm", "kl", "mse",
	"fixedsum", "residual",
}

// grouped are the shaders compiled once more for rows in groups with weights of their own: NAME_grouped_f32 and so on.
var grouped = []string{"linear", "linear_cpu", "linear_cpu_shuffle", "linear_cpu_vec", "linear_vec"}

// plain are the shaders that touch f32 only.
var plain = []string{
	"attention", "attention_cpu", "attention_cpu_decode", "attention_combine", "attention_decode", "relu", "rope_bwd", "swiglu",
	"angulardistance", "blockinfluence", "crossentropy", "crossentropytile", "kltile", "sensitivity",
	"swiglu_bwd", "relu_bwd", "embedding_bwd", "positions_bwd",
	"addscaled", "softcap", "softcap_bwd",
	"cosineloss", "cosinetarget", "crossentropy_bwd", "kl", "mse", "sumloss", "gradnorm", "gradnorm_total",
	"combine", "group", "grouptiles", "route",
	"cholesky", "fixedsum", "gramoperand", "residual", "triangularinverse", "weightedsquares",
	"bench_fma", "bench_read",
}

// Variants is the one table of what is compiled.
func Variants() []Variant {
	var all []Variant
	add := func(source, suffix string, defines ...string) {
		all = append(all, Variant{Name: source + suffix, Source: source + ".comp", Defines: defines})
		if slices.Contains(texels, source) {
			all = append(all, Variant{Name: source + "_texels" + suffix, Source: source + ".comp", Defines: append(defines, "TEXELS")})
		}
	}
	for _, name := range plain {
		add(name, "")
	}
	for _, v := range []struct{ suffix, define string }{{"_q", "OF_QUERIES"}, {"_kv", "OF_KEYS"}} {
		add("attention_bwd", v.suffix, v.define)
		add("attention_bwd_cpu", v.suffix, v.define)
		add("attention_bwd_cpu", v.suffix+"_shuffle", v.define, "SHUFFLE")
		all = append(all, Variant{Name: "attention_bwd_coopmat" + v.suffix, Source: "attention_bwd_coopmat.comp", Defines: []string{v.define}, Newer: true})
	}
	add("attention", "_packed", "PACKED")
	add("attention_cpu", "_packed", "PACKED")
	add("attention_cpu", "_packed_shuffle", "PACKED", "SHUFFLE")
	all = append(all, Variant{Name: "attention_cpu_shuffle", Source: "attention_cpu.comp", Defines: []string{"SHUFFLE"}},
		Variant{Name: "bench_fma_f16", Source: "bench_fma.comp", Defines: []string{"HALF"}},
		Variant{Name: "bench_coopmat", Source: "bench_coopmat.comp", Newer: true})
	for _, d := range []string{"F32", "F16", "BF16"} {
		for _, name := range byDType {
			add(name, "_"+strings.ToLower(d), d)
		}
		for _, name := range grouped {
			add(name, "_grouped_"+strings.ToLower(d), d, "GROUPED")
		}
	}
	for _, d := range []string{"F32", "BF16"} {
		add("halfrows", "_"+strings.ToLower(d), d)
	}
	return append(all,
		Variant{Name: "attention_coopmat", Source: "attention_coopmat.comp", Newer: true},
		Variant{Name: "attention_coopmat2", Source: "attention_coopmat2.comp", Newer: true, Env: "vulkan1.3"}, // GL_NV_cooperative_matrix2 wants SPIR-V 1.6
		Variant{Name: "linear_coopmat_f32", Source: "linear_coopmat.comp", Defines: []string{"F32"}, Newer: true},
		Variant{Name: "linear_coopmat_f16", Source: "linear_coopmat.comp", Defines: []string{"F16"}, Newer: true},
		Variant{Name: "linear_coopmat_bf16", Source: "linear_coopmat.comp", Defines: []string{"BF16"}, Newer: true})
}
