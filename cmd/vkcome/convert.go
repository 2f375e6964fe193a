package main

import (
	"context"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/vk"
)

var convertVerb = verb{
	name: "convert", args: "MODEL OUT", short: "write a model as a GGUF file, or as a Hugging Face folder",
	example: "vkcome convert SmolLM2-360M-Instruct SmolLM2-360M.gguf --type q8_0",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		c.offlineFlag(f)
		kind := typeFlag(f)
		return func(ctx context.Context, args []string) error {
			out := args[1]
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				b := c.bar()
				defer b.finish()
				o := convert.Options{Note: c.noteLine, Progress: func(done, total int64) { b.setBytes("convert", done, total) }}
				var err error
				if o.Type, err = convert.TypeFor(m, out, *kind); err != nil {
					return usageError{err}
				}
				r, err := convert.To(ctx, m, out, o)
				if err != nil {
					return err
				}
				b.finish()
				if c.json {
					return printJSON(r)
				}
				c.note("wrote %s: %d tensors, %s", r.Path, r.Tensors, vk.Bytes(r.Bytes))
				return nil
			})
		}
	},
}

// typeFlag declares --type, of outputs that are GGUF files.
func typeFlag(f *pflag.FlagSet) *string {
	return f.String("type", "", "of a .gguf: "+strings.Join(convert.Types(), ", ")+" (default the model's own, f16 for f32)")
}
