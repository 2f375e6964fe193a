package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/card"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/refit/shards"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Output says where a run writes its model, and where it keeps its work until then.
type Output struct {
	Dir       string        // folder to write, or a GGUF file if it ends in .gguf; its parent must exist
	Type      string        // of a GGUF: one of convert.Types; "" is the model's own
	Force     bool          // replace Dir if vkcome wrote it; without Resume, also remove what an unfinished run left in Work
	Work      string        // folder of checkpoints, removed at the end; "" is DefaultWork(Dir)
	Resume    bool          // go on where a run with the same options stopped; start afresh if none did
	AnyDevice bool          // with Resume: go on although the device, its driver or its tier is another
	Patience  time.Duration // how long to wait for another process that does the same before that is an error
	SaveSteps bool          // of a run that prunes: write the model of N layers after every step but the last too, as StepDir(Dir, N)

	Note   func(line string) // receives lines on how a run is resumed and which checkpoints are damaged; may be nil
	Saving func(begun bool)  // is told when a checkpoint begins to be written, and when it is: ending a process between them loses it; may be nil
}

// DefaultWork is the work folder of a run that writes the folder out: .NAME.vkcome-work beside it.
func DefaultWork(out string) string {
	out = filepath.Clean(out)
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".vkcome-work")
}

// defaults fills in what the zero value stands for.
func (o Output) defaults() Output {
	o.Dir = filepath.Clean(o.Dir)
	if o.Work == "" {
		o.Work = DefaultWork(o.Dir)
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Saving == nil {
		o.Saving = func(bool) {}
	}
	return o
}

// temporary is the name under which an output is written: the same for each run with the work folder, whose lock makes it this run's.
func (o Output) temporary(out string) string {
	path, err := filepath.Abs(o.Work)
	if err != nil {
		path = o.Work
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".tmp-"+hex.EncodeToString(sum[:6]))
}

// StepDir is the folder or file of the model of a number of layers, on the way to that in out: out.LN, or of NAME.gguf NAME.LN.gguf.
func StepDir(out string, layers int) string {
	out = filepath.Clean(out)
	end := ""
	if convert.IsGGUF(out) {
		end = filepath.Ext(out)
	}
	return fmt.Sprintf("%s.L%d%s", strings.TrimSuffix(out, end), layers, end)
}

// patiently calls f until no other process has what f wants to lock, for as long as there is patience.
func (o Output) patiently(ctx context.Context, f func() error) error {
	for begin, told := time.Now(), false; ; told = true {
		err := f()
		locked := errors.Is(err, work.ErrLocked) || errors.Is(err, shards.ErrLocked)
		if !locked || time.Since(begin) >= o.Patience {
			return err
		}
		if !told {
			o.Note(fmt.Sprintf("%v; waiting for its end, %v at most", err, o.Patience))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(o.Patience, time.Second)):
		}
	}
}

// ErrExists is the error for an output that exists and may not be replaced.
var ErrExists = errors.New("exists already")

// CheckOutput refuses what Save would refuse to write, before hours are spent: a folder that exists, which is an ErrExists, or whose parent
// does not exist or cannot be written. With force what vkcome wrote may be replaced, known by its lineage and by the list of its files, if they
// are as it wrote them and nothing else is there, and unless source, the folder or file of the model to be pruned, is it or is in it.
func CheckOutput(out, source string, force bool) error {
	return checkOutput(context.Background(), out, source, force, false)
}

// checkOutput is CheckOutput, and if it is to be thorough with the SHA-256 of large files.
func checkOutput(ctx context.Context, out, source string, force, thorough bool) error {
	if out == "" {
		return errors.New("prune: the name of the output is empty")
	}
	if err := files.CheckName(filepath.Clean(out)); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	parent := filepath.Dir(filepath.Clean(out))
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		return fmt.Errorf("prune: %s: the folder %s does not exist", out, parent)
	}
	if info, err := os.Lstat(out); err == nil {
		if !force {
			return fmt.Errorf("prune: %s %w; choose another name, or prune.Output.Force to replace it", out, ErrExists)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return fmt.Errorf("prune: %s %w and is a link, or no file: it will not be replaced", out, ErrExists)
		}
		if text, err := lineageOf(out); err != nil || text == nil {
			what := "folder"
			if convert.IsGGUF(out) {
				what = "GGUF file"
			}
			return fmt.Errorf("prune: %s %w and is no %s that vkcome wrote (it has no %s): it will not be replaced", out, ErrExists, what, model.Lineage)
		}
		if inside(source, out) {
			return fmt.Errorf("prune: %s %w and holds the model to be pruned: it will not be replaced", out, ErrExists)
		}
		if info.IsDir() {
			if err := ownFiles(ctx, out, source, thorough); err != nil {
				return fmt.Errorf("prune: %s %w and will not be replaced: %w", out, ErrExists, err)
			}
		}
	}
	probe, err := files.MkdirTemp(parent, ".vkcome-")
	if err != nil {
		return fmt.Errorf("prune: %s: %w", out, err)
	}
	return os.Remove(probe)
}

// ownFiles refuses a folder in which there is anything that vkcome did not write. Of one without a list, which an earlier vkcome or convert
// wrote, that is what is no part of a model, no card as vkcome wrote it, and not the same as in the folder of the source; the others are listed
// then if it is thorough.
func ownFiles(ctx context.Context, out, source string, thorough bool) error {
	err := work.Check(ctx, out, thorough)
	if !errors.Is(err, work.ErrNoList) {
		return err
	}
	names, err := work.Names(out)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.ContainsFunc(modelFiles, func(pattern string) bool { match, err := path.Match(pattern, name); return match && err == nil }) {
			continue
		}
		if name == card.File {
			known, err := isCard(filepath.Join(out, name))
			if err != nil {
				return err
			}
			if known {
				continue
			}
		}
		if same, err := sameFile(filepath.Join(out, name), filepath.Join(source, name)); err != nil || !same {
			return errors.Join(&work.Foreign{Dir: out, Name: name, Why: "is no copy of the source's, and the folder has no " + model.FileList}, err)
		}
	}
	if !thorough {
		return nil
	}
	return work.Adopt(ctx, out, names)
}

// modelFiles are the patterns of what a run writes into a folder by itself; the rest are copies of the source's files.
var modelFiles = []string{arch.ConfigFile, model.Lineage, model.Losses, safetensors.SingleFile, safetensors.IndexFile, "model-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].safetensors"}

// maxSideFile bounds the files beside weights that are compared; the largest, tokenizers, have some 40 MB.
const maxSideFile = 1 << 30

// sameFile compares two files; one that is missing is another.
func sameFile(a, b string) (bool, error) {
	first, err := files.Read(a, maxSideFile)
	if err != nil {
		return false, err
	}
	second, err := files.Read(b, maxSideFile)
	if err != nil {
		return false, nil
	}
	return bytes.Equal(first, second), nil
}

// lineageOf is the text of the lineage of a folder or file that vkcome wrote, nil if there is none.
func lineageOf(out string) ([]byte, error) {
	if info, err := os.Stat(out); err != nil || info.IsDir() {
		return files.Read(filepath.Join(out, model.Lineage), maxLineage)
	}
	if err := files.Check(out, 0); err != nil {
		return nil, err
	}
	f, err := gguf.Open(out)
	if err != nil {
		return nil, err
	}
	text, _ := f.Value(gguf.LineageKey)
	line, _ := text.(string)
	if err := f.Close(); err != nil || line == "" {
		return nil, err
	}
	return []byte(line), nil
}

// inside says whether a path is dir or lies in it; one that cannot be resolved does not.
func inside(path, dir string) bool {
	for _, p := range []*string{&path, &dir} {
		real, err := filepath.EvalSymlinks(*p)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			return false
		}
		*p = real
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Result is a pruned or distilled model in memory, and how it came about.
type Result struct {
	Model   *model.Model // shares the original's weights: valid until that is closed
	Lineage Lineage
	Losses  []distill.Record   // of the steps of training
	store   *states.LayerStore // of merged layers
}

// Close removes the files of merged layers, if they lie in files. The Model cannot be used any more.
func (r *Result) Close() error { return r.store.Close() }

// Save writes the model into a temporary folder beside out, opens it, runs it once on the device, and gives it the name out last. An out
// that exists is an ErrExists, or is replaced with force. After an error it is as it was, and the temporary folder is removed. progress
// may be nil.
func (r *Result) Save(ctx context.Context, d *vk.Device, out string, force bool, progress func(Status)) error {
	if err := CheckOutput(out, r.Model.Name, force); err != nil {
		return err
	}
	out = filepath.Clean(out)
	tmp, err := files.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp-")
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if err := os.Remove(tmp); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if progress == nil {
		progress = func(Status) {}
	}
	progress(Status{Stage: "write", Done: 0, Total: 1})
	if r.Lineage.Source.SHA256, err = model.Hash(ctx, r.Model.Files); err != nil {
		return fmt.Errorf("prune: hash of the source: %w", err)
	}
	r.Lineage.Source.Layers = r.Lineage.Steps[0].From
	return r.write(ctx, Output{Dir: out, Force: force}, tmp, progress, func(dir string) error { return verify(ctx, d, dir) })
}

// write writes the model under the name tmp, which does not exist, has it verified unless that is nil, and gives it the name o.Dir.
func (r *Result) write(ctx context.Context, o Output, tmp string, progress func(Status), verify func(dir string) error) (err error) {
	out, file := o.Dir, convert.IsGGUF(o.Dir)
	if err := CheckOutput(out, r.Model.Name, o.Force); err != nil {
		return err
	}
	defer func() { err = joined(err, work.Discard(context.WithoutCancel(ctx), tmp)) }()
	progress(Status{Stage: "write", Done: 0, Total: 1})
	put, made, names := r.writeFolder, tmp, []string(nil)
	if file {
		put, made = r.writeGGUF, filepath.Join(tmp, filepath.Base(out))
		names = []string{quoted.Replace(filepath.Base(out))}
	} else if names, err = r.names(); err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	err = work.Begin(tmp, names)
	if err == nil {
		err = put(ctx, made, o)
	}
	if err == nil && !file {
		err = work.End(ctx, tmp)
	}
	if err != nil {
		return fmt.Errorf("prune: write %s: %w", out, err)
	}
	progress(Status{Stage: "write", Done: 1, Total: 1})
	if verify != nil {
		progress(Status{Stage: "verify", Done: 0, Total: 1})
		if err := verify(made); err != nil {
			return fmt.Errorf("prune: the written model does not run: %w", err)
		}
		progress(Status{Stage: "verify", Done: 1, Total: 1})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkOutput(ctx, out, r.Model.Name, o.Force, true); err != nil { // what came since the run began
		return err
	}
	if file {
		err = files.Rename(made, out) // in one step, also where a file is replaced
	} else {
		err = work.Replace(tmp, out)
	}
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return model.SyncDir(filepath.Dir(out))
}

// names are the patterns of the files that writeFolder writes.
func (r *Result) names() (list []string, err error) {
	entries, err := fs.ReadDir(r.Model.Files, ".")
	for _, e := range entries {
		if !e.IsDir() {
			list = append(list, quoted.Replace(e.Name()))
		}
	}
	return append(append(list, modelFiles...), card.File, "additional_chat_templates/*.jinja"), err
}

// quoted makes a name a pattern of path.Match that matches it alone.
var quoted = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// writeFolder writes a Hugging Face folder with the lineage in vkcome.json, and a card of its own in the place of the source's, whose results
// are not this model's.
func (r *Result) writeFolder(ctx context.Context, dir string, o Output) error {
	head, note, err := readHead(r.Model)
	if err != nil {
		return err
	}
	if note != "" && o.Note != nil {
		o.Note(r.Model.Name + ": " + note)
	}
	if err := r.Model.Write(ctx, dir, model.DefaultShard, card.File); err != nil {
		return err
	}
	text, err := r.Lineage.text()
	if err != nil {
		return err
	}
	losses, err := r.losses()
	if err != nil {
		return err
	}
	about, err := (&modelCard{ctx: ctx, model: r.Model, lineage: &r.Lineage, head: head}).text()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{model.Lineage: text, model.Losses: losses, card.File: about} {
		if len(text) == 0 {
			continue
		}
		if err := files.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeGGUF writes a GGUF file with the lineage in its metadata.
func (r *Result) writeGGUF(ctx context.Context, path string, o Output) (err error) {
	to := convert.Options{Note: o.Note}
	if to.Type, err = convert.TypeFor(r.Model, o.Dir, o.Type); err != nil {
		return err
	}
	if to.Lineage, err = r.Lineage.text(); err != nil {
		return err
	}
	if to.Losses, err = r.losses(); err != nil {
		return err
	}
	_, err = convert.GGUF(ctx, r.Model, path, to)
	return err
}

// losses is a line of JSON for each step of training.
func (r *Result) losses() ([]byte, error) {
	var text bytes.Buffer
	for _, record := range r.Losses {
		if err := json.NewEncoder(&text).Encode(record); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// sweep removes what a run that was killed while writing out left under a temporary name, and gives the folder that it was about to
// replace its name back.
func sweep(ctx context.Context, out, tmp string) error {
	old := tmp + work.Replaced
	if _, err := os.Lstat(out); errors.Is(err, os.ErrNotExist) && work.Check(ctx, old, false) == nil {
		if err := files.Rename(old, out); err != nil {
			return err
		}
	}
	if err := work.Discard(ctx, tmp); err != nil {
		return err
	}
	return work.Discard(ctx, old)
}

// verify opens a written model and runs a few tokens through it.
func verify(ctx context.Context, d *vk.Device, dir string) (err error) {
	open := model.Open
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		open = model.OpenGGUF
	}
	m, err := open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	window := make([]uint32, min(8, m.Config.MaxPositionEmbeddings))
	for i := range window {
		window[i] = uint32(i * (m.Config.VocabSize - 1) / len(window))
	}
	f, err := run.New(d, m, [][]uint32{window})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Run(ctx, m, nil); err != nil {
		return err
	}
	return f.Logits(ctx, m, func(_ int, logits []float32) error {
		for _, v := range logits {
			if v-v != 0 {
				return model.Lasting(errors.New("its logits are not finite"))
			}
		}
		return nil
	})
}
