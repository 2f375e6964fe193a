package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/vk"
)

var logitsVerb = verb{
	name: "logits", args: "MODEL", short: "write the logits of every position to a safetensors file",
	example: "vkcome logits embedded:tiny12 --tokens ids.json --window 128 --out logits.safetensors",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		in := newCorpusFlags(f, 0)
		out := f.String("out", "", "file to write: tensor logits, f32 [windows, window, vocab_size]")
		c := commonFlags(f)
		return func(ctx context.Context, args []string) error {
			if *out == "" {
				return usagef("logits: give --out FILE")
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				windows, err := in.load(ctx, m)
				if err != nil {
					return err
				}
				return c.compute(func(d *vk.Device) error { return logits(ctx, c, d, m, windows, *out) })
			})
		}
	},
}

func logits(ctx context.Context, c *common, d *vk.Device, m *model.Model, windows [][]uint32, out string) error {
	shape := []int{len(windows), len(windows[0]), m.Config.VocabSize}
	w, err := safetensors.Create(out, []safetensors.Entry{{Name: "logits", DType: "F32", Shape: shape}}, nil)
	if err != nil {
		return err
	}
	b := c.bar()
	err = writeLogits(ctx, b, d, m, windows, w)
	b.finish()
	if closeErr := w.Close(); err == nil { // after an error it removes the file and has no more to say
		err = closeErr
	}
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(map[string]any{"out": out, "tensor": "logits", "shape": shape})
	}
	fmt.Fprintf(stdout, "%s: logits %v\n", out, shape)
	return nil
}

func writeLogits(ctx context.Context, b *bar, d *vk.Device, m *model.Model, windows [][]uint32, w *safetensors.Writer) (err error) {
	f, err := run.New(d, m, windows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Run(ctx, m, func(done, total int) { b.set("layers", done, total) }); err != nil {
		return err
	}
	tensor, err := w.Tensor("logits")
	if err != nil {
		return err
	}
	var raw []byte
	return f.Logits(ctx, m, func(window int, logits []float32) error {
		if raw == nil {
			raw = make([]byte, 4*len(logits))
		}
		dtype.F32.Encode(raw, logits)
		b.set("windows", window+1, len(windows))
		_, err := tensor.Write(raw)
		return err
	})
}
