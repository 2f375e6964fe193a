package shards

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/lsq"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/work"
)

// Sums and fits are files of one form: a line of work.Seal that says of what they are, their body, and the SHA-256 of both. The body of sums is
// those of the windows to fit and of those held out, as lsq.Equations.Marshal has them; that of a fit that was taken the values of the projection
// and of its bias, if it has one, as the model's dtype has them.
const (
	sumsFormat = "vkcome sums 1"
	fitFormat  = "vkcome fit 1"
	maxHead    = 16 << 10 // bytes of the line, which has some 500
)

// sumsHead says of what sums are.
type sumsHead struct {
	Key        string `json:"key"` // hash
	Layer      int    `json:"layer"`
	Number     int    `json:"number"`
	Projection string `json:"projection"`
	Part       int    `json:"part"`
	Parts      int    `json:"parts"`
}

func (f *Folder) sumsHead(r refit.Round, part int) sumsHead {
	return sumsHead{f.key, r.Fit.Layer, r.Number, r.Fit.Projection, part, f.o.Parts}
}

// fitHead says of what a fit is, and what came of it.
type fitHead struct {
	Key    string    `json:"key"`
	Number int       `json:"number"`
	Fit    refit.Fit `json:"fit"`
}

// write leaves a file under its name when it is whole and on the disk.
func (f *Folder) write(name, format string, head any, body func(io.Writer) error) (err error) {
	f.o.Saving(true)
	defer f.o.Saving(false)
	line, err := work.Seal(format, head)
	if err != nil {
		return err
	}
	path := filepath.Join(f.o.Dir, name)
	out, err := files.OpenFile(path+temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) // the part's own: what a crash left is overwritten
	if err != nil {
		return err
	}
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(out, sum), 1<<20)
	if _, err = buffered.Write(line); err == nil {
		err = body(buffered)
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		_, err = out.Write(sum.Sum(nil))
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, ignored(os.Remove(path+temporary)))
	}
	if err := files.Rename(path+temporary, path); err != nil {
		return errors.Join(err, ignored(os.Remove(path+temporary)))
	}
	return model.SyncDir(f.o.Dir)
}

// body is what of a file comes behind its line.
type body struct {
	*bufio.Reader
	sum hash.Hash // of what was read
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.sum.Write(p[:n])
	return n, err
}

// read reads a file of a part: check looks at what its line says, and rest, unless it is nil, reads its body. A file that is not there is an
// fs.ErrNotExist; any other error names the file and says what to do.
func (f *Folder) read(ctx context.Context, name string, part int, format string, check func(head []byte) error, rest func(*body) error) error {
	path := filepath.Join(f.o.Dir, name)
	in, err := files.Open(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		defer in.Close()
		b := &body{bufio.NewReaderSize(files.Heed(ctx, in), 1<<20), sha256.New()}
		if err = b.line(format, check); err == nil && rest != nil {
			if err = rest(b); err == nil {
				err = b.end()
			}
		}
		err = wrapped(path, err)
	}
	switch {
	case err == nil, ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	}
	return fmt.Errorf("%w; remove it and start part %d again", err, part)
}

// wrapped is an error with the name of the file, which those of opening it have.
func wrapped(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("its end is missing")
	}
	return fmt.Errorf("%s: %w", path, err)
}

// line reads the first line and has check look at what it says.
func (b *body) line(format string, check func(head []byte) error) error {
	line, err := b.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxHead {
		return fmt.Errorf("begins with no line of %q", format)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b.sum.Write(line)
	var head json.RawMessage
	if err := work.Unseal(line, format, &head); err != nil {
		return err
	}
	return check(head)
}

// end compares the SHA-256, behind which there is nothing.
func (b *body) end() error {
	want, says := b.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(b.Reader, says); err != nil {
		return err
	}
	if !bytes.Equal(want, says) {
		return errors.New("is not as it was written: its SHA-256 is another")
	}
	if _, err := b.ReadByte(); err == nil {
		return errors.New("there are bytes behind its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// isSums checks that sums are those of a part.
func (f *Folder) isSums(r refit.Round, part int) func(head []byte) error {
	return func(head []byte) error {
		want, err := json.Marshal(f.sumsHead(r, part))
		if err == nil && !bytes.Equal(head, want) {
			err = fmt.Errorf("is of another fit or part: %.500s, expected %.500s", head, want)
		}
		return err
	}
}

// writeSums leaves the part's own.
func (f *Folder) writeSums(r refit.Round, fitted, held *lsq.Equations) error {
	return f.write(fmt.Sprintf(sumsPattern, r.Fit.Layer, r.Number, f.o.Part), sumsFormat, f.sumsHead(r, f.o.Part), func(w io.Writer) error {
		if err := fitted.Marshal(w); err != nil {
			return err
		}
		return held.Marshal(w)
	})
}

// checkSums says whether the part's own are there: an fs.ErrNotExist if not. Only what they are of is read; part 0 reads the rest.
func (f *Folder) checkSums(ctx context.Context, r refit.Round) error {
	return f.read(ctx, fmt.Sprintf(sumsPattern, r.Fit.Layer, r.Number, f.o.Part), f.o.Part, sumsFormat, f.isSums(r, f.o.Part), nil)
}

// mergeSums adds those of a part.
func (f *Folder) mergeSums(ctx context.Context, r refit.Round, part int, fitted, held *lsq.Equations) error {
	return f.read(ctx, fmt.Sprintf(sumsPattern, r.Fit.Layer, r.Number, part), part, sumsFormat, f.isSums(r, part), func(in *body) error {
		toFit, heldOut := f.o.Tokens(part)
		if err := fitted.MergeFrom(in, toFit); err != nil {
			return err
		}
		return held.MergeFrom(in, heldOut)
	})
}

// writeFit leaves a fit for the other parts.
func (f *Folder) writeFit(r refit.Round, made *model.Layer, record refit.Fit) error {
	return f.write(fmt.Sprintf(fitPattern, r.Fit.Layer, r.Number), fitFormat, fitHead{f.key, r.Number, record}, func(w io.Writer) error {
		if made == nil {
			return nil
		}
		for _, weight := range made.Weights[r.Role : r.Role+2] {
			err := weight.Pieces(func(_ int64, data []byte) error {
				_, err := w.Write(data)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// readFit takes a fit that part 0 left, an fs.ErrNotExist if there is none.
func (f *Folder) readFit(ctx context.Context, r refit.Round) (made *model.Layer, record refit.Fit, err error) {
	var head fitHead
	check := func(text []byte) error {
		if err := files.JSON(text, &head); err != nil {
			return err
		}
		of := refit.Fit{Layer: head.Fit.Layer, Boundary: head.Fit.Boundary, Projection: head.Fit.Projection}
		if head.Key != f.key || head.Number != r.Number || of != r.Fit {
			return fmt.Errorf("is of another fit: %.500s, expected number %d of %s of layer %d, with the key %s", text, r.Number, r.Fit.Projection, r.Fit.Layer, f.key)
		}
		return nil
	}
	err = f.read(ctx, fmt.Sprintf(fitPattern, r.Fit.Layer, r.Number), 0, fitFormat, check, func(in *body) error {
		if !head.Fit.Taken {
			return nil
		}
		weights := slices.Clone(r.Layer.Weights[:])
		for i, w := range weights[r.Role : r.Role+2] {
			if w.IsZero() {
				continue
			}
			data := make([]byte, w.Size())
			if _, err := io.ReadFull(in, data); err != nil {
				return err
			}
			weights[int(r.Role)+i] = model.Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: data}
		}
		made = model.NewLayer(weights)
		return nil
	})
	if err != nil {
		return nil, record, err
	}
	return made, head.Fit, nil
}
