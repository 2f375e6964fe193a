// Command embed is a program that embeds vkcome: it does what a desktop tool needs, each once, on a small model that vkcome carries.
//
//	go run ./cmd/examples/embed
//
// It lists devices, opens and inspects a model, meets one that was not copied whole, says what pruning takes, prunes with progress, cancels
// and resumes, generates text and measures perplexity. A device that is lost on the way it closes, and goes on with another. All that it calls
// is in the list of what embedding programs are promised: prune/API.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // the library ends what it does and says so; it never ends the program
	defer stop()
	if err := tour(ctx, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// tour shows one thing after the other. The library prints nothing: all that is printed is printed here.
func tour(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "vkcome-embed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	devices, err := list(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, devices.close()) }()

	folder := filepath.Join(dir, "tiny12") // stands for a model that a user chose
	files, err := embedded.Files()
	if err != nil {
		return err
	}
	if err := os.CopyFS(folder, files); err != nil {
		return err
	}
	if err := damaged(out, folder, filepath.Join(dir, "damaged")); err != nil {
		return err
	}
	m, err := model.Open(folder) // reads the config and the headers; weights stay in their files
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Fprintf(out, "%s: %d layers of %d channels, %d parameters, %d bytes\n", m.Config.Architecture, len(m.Layers), m.Config.HiddenSize, m.Parameters(), m.Bytes())
	calibration, held, err := windows(m)
	if err != nil {
		return err
	}
	small := filepath.Join(dir, "tiny10")
	if err := prunes(ctx, out, devices, m, calibration, small); err != nil {
		return err
	}
	if err := cancels(ctx, out, devices, m, calibration, filepath.Join(dir, "tiny9")); err != nil {
		return err
	}
	return uses(ctx, out, devices, small, held)
}

// damaged meets a copy of a model that lacks the end of its weights. An error of one model is no reason to end: the caller opens another.
func damaged(out io.Writer, folder, copied string) error {
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		return err
	}
	if err := os.Truncate(filepath.Join(copied, "model.safetensors"), 100_000); err != nil {
		return err
	}
	_, err := model.Open(copied)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("a model that was not copied whole: %w", err)
	}
	fmt.Fprintf(out, "not copied whole: %v\n", err)
	return nil
}

// windows makes of a text what a model is calibrated on, and what it is measured on. corpus.Load reads files, and data sets by their names.
func windows(m *model.Model) (calibration, held [][]uint32, err error) {
	t, err := m.Tokenizer()
	if err != nil {
		return nil, nil, err
	}
	tokens, err := corpus.Encode(t, embedded.Text)
	if err != nil {
		return nil, nil, err
	}
	all, err := corpus.Cut(tokens, 64)
	if err != nil {
		return nil, nil, err
	}
	return all[:8], all[8:12], nil
}

// prunes says what a run would take, and does it.
func prunes(ctx context.Context, out io.Writer, devices *devices, m *model.Model, windows [][]uint32, to string) error {
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 10, Windows: windows}) // options that make no sense are an error now, not in an hour
	if err != nil {
		return err
	}
	err = devices.use(out, func(d *vk.Device) error {
		p, err := plan.Predict(ctx, d)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "to %d layers by %s: at most %.0f s and %d MiB of the device\n", p.TargetLayers, p.Method, p.Seconds, p.DeviceBytes>>20)
		return nil
	})
	if err != nil {
		return err
	}
	last := ""
	progress := func(s prune.Status) { // called often; a bar would show Done of Total
		if s.Stage != last {
			last = s.Stage
			fmt.Fprintf(out, "  %s\n", s.Stage)
		}
	}
	return devices.use(out, func(d *vk.Device) error {
		// With Resume a run goes on where one with these options stopped, and otherwise begins: so this can be called again after any error.
		lineage, err := plan.RunTo(ctx, d, prune.Output{Dir: to, Resume: true, AnyDevice: true}, progress)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "pruned from %d to %d layers in %d steps\n", lineage.OriginalLayers, len(lineage.Tree), len(lineage.Steps))
		return nil
	})
}

// cancels stops a run after its first step, looks at what that leaves, and finishes it.
func cancels(ctx context.Context, out io.Writer, devices *devices, m *model.Model, windows [][]uint32, to string) error {
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 9, Windows: windows})
	if err != nil {
		return err
	}
	err = devices.use(out, func(d *vk.Device) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := plan.RunTo(ctx, d, prune.Output{Dir: to, Resume: true, AnyDevice: true}, func(s prune.Status) {
			if len(s.Tree) == 11 { // of twelve layers, one merge is done
				cancel()
			}
		})
		return err
	})
	var unfinished *prune.Unfinished
	if !errors.Is(err, context.Canceled) || !errors.As(err, &unfinished) {
		return fmt.Errorf("a run that was cancelled: %w", err)
	}
	if err := ctx.Err(); err != nil { // it was the user
		return err
	}
	_, err = os.Stat(to)
	fmt.Fprintf(out, "cancelled after %d step: no output (%t), and work in %s\n", unfinished.Step, errors.Is(err, os.ErrNotExist), filepath.Base(unfinished.Work))
	return devices.use(out, func(d *vk.Device) error {
		lineage, err := plan.RunTo(ctx, d, prune.Output{Dir: to, Resume: true, AnyDevice: true}, nil)
		if err != nil {
			return err
		}
		_, err = os.Stat(unfinished.Work)
		fmt.Fprintf(out, "resumed: %d layers, and the work is gone (%t)\n", len(lineage.Tree), errors.Is(err, os.ErrNotExist))
		return nil
	})
}

// uses opens a pruned model, which is a model as any other, and lets it write and be measured.
func uses(ctx context.Context, out io.Writer, devices *devices, folder string, windows [][]uint32) (err error) {
	m, err := model.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	t, err := m.Tokenizer()
	if err != nil {
		return err
	}
	prompt, err := corpus.Encode(t, "The film is")
	if err != nil {
		return err
	}
	return devices.use(out, func(d *vk.Device) error {
		w, err := generate.NewWriter(d, m, t, generate.WriterOptions{Tokens: 8})
		if err != nil {
			return err
		}
		written := ""
		_, err = w.Write(ctx, prompt, func(piece string) { written += piece })
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
		p, err := eval.RunPerplexity(ctx, d, m, windows, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "it writes %q, and its perplexity is %.1f on %d tokens\n", "The film is"+written, p.Perplexity, p.TokensScored)
		return nil
	})
}
