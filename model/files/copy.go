package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// copied is how many bytes are copied between two looks at the context.
const copied = 4 << 20

// Copy copies a file of a file system to a path at which nothing is, and brings it to the disk. On file systems that can, the two share their
// blocks until one is written to; else holes stay holes, so that a sparse file takes no more room than before. It is never a hard link: the
// two would be one file then, and who edits one would edit the other. A copy that comes to no end is removed.
func Copy(ctx context.Context, path string, files fs.FS, name string) (err error) {
	in, err := files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	before, err := in.Stat()
	if err != nil {
		return err
	}
	if err := check(name, before, 0); err != nil {
		return err
	}
	out, err := OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	f, onDisk := in.(*os.File)
	switch {
	case onDisk && clone(out.File, f):
	case onDisk:
		err = copySparse(ctx, out, f, before.Size())
	default:
		err = copyPart(ctx, out, in, before.Size())
	}
	if err != nil {
		return err
	}
	if after, err := in.Stat(); err != nil || onDisk && changed(f.Name(), before, after) != nil {
		return errors.Join(err, changed(f.Name(), before, after))
	}
	return out.Sync()
}

// copySparse copies what lies between the holes of a file.
func copySparse(ctx context.Context, out *File, in *os.File, size int64) error {
	if err := out.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		begin, end, err := nextData(in, at, size)
		if err != nil {
			return err
		}
		if _, err := in.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if err := copyPart(ctx, out, in, end-begin); err != nil {
			return err
		}
		at = end
	}
	return ctx.Err()
}

// copyPart copies the next n bytes.
func copyPart(ctx context.Context, out io.Writer, in io.Reader, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part, err := io.CopyN(out, in, min(n, copied))
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it ends %d bytes too early", ErrChanged, n-part)
		}
		if err != nil {
			return err
		}
		n -= part
	}
	return ctx.Err()
}
