package files_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vkcome/vkcome/model/files"
)

// Every read of a file that changed is an ErrChanged, wherever it was cut and whatever is read; before it, the bytes are the file's.
func TestStored(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 9))
	want := make([]byte, 50_000)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	path := filepath.Join(t.TempDir(), "file")
	for range 300 {
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := files.OpenStored(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rng.IntN(len(want))
		dst := make([]byte, 1+rng.IntN(len(want)-at))
		if n, err := s.ReadAt(dst, int64(at)); err != nil || n != len(dst) || !bytes.Equal(dst, want[at:at+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(dst), at, n, err)
		}
		if n, err := s.ReadAt(make([]byte, 2), int64(len(want)-1)); n != 1 || err != io.EOF {
			t.Errorf("beyond the end: %d, %v", n, err)
		}
		size := rng.Int64N(2 * int64(len(want)))
		err = os.Truncate(path, size)
		if rng.IntN(2) == 0 { // it has its length again, and other bytes
			err = errors.Join(err, os.Truncate(path, int64(len(want))))
		}
		if err := errors.Join(err, os.Chtimes(path, time.Time{}, time.Now().Add(time.Second))); err != nil { // the clock of files is coarse
			t.Fatal(err)
		}
		if _, err := s.ReadAt(dst, int64(at)); !errors.Is(err, files.ErrChanged) {
			t.Fatalf("cut to %d: %v", size, err)
		}
		if err := s.Unchanged(); !errors.Is(err, files.ErrChanged) {
			t.Fatalf("cut to %d: %v", size, err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if _, err := s.ReadAt(dst, 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// A copy has the bytes of the file and no more blocks, holes or not; one that is given up is gone.
func TestCopy(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 10))
	dir := t.TempDir()
	for range 30 {
		path, to := filepath.Join(dir, "file"), filepath.Join(dir, "copy")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		size := rng.Int64N(16 << 20)
		err = f.Truncate(size)
		for range rng.IntN(4) {
			part := make([]byte, rng.IntN(200_000))
			for i := range part {
				part[i] = 1 + byte(i)
			}
			_, wrong := f.WriteAt(part, rng.Int64N(size+1))
			err = errors.Join(err, wrong)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := files.Copy(t.Context(), to, os.DirFS(dir), "file"); err != nil {
			t.Fatal(err)
		}
		want, errA := os.ReadFile(path)
		got, errB := os.ReadFile(to)
		if errA != nil || errB != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d, %v, %v", len(got), len(want), errA, errB)
		}
		if a, b := blocks(t, path), blocks(t, to); b > a+64 {
			t.Errorf("%d blocks of a file of %d", b, a)
		}
		if err := files.Copy(t.Context(), to, os.DirFS(dir), "file"); !errors.Is(err, os.ErrExist) {
			t.Errorf("over a file: %v", err)
		}
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
	}
	huge, to := filepath.Join(dir, "huge"), filepath.Join(dir, "copy of huge")
	if err := errors.Join(os.WriteFile(huge, []byte("begin"), 0o600), os.Truncate(huge, holes)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := files.Copy(t.Context(), to, os.DirFS(dir), "huge"); err != nil || time.Since(began) > 20*time.Second || blocks(t, to) > 1000 {
		t.Errorf("holes: %v, %v, %d blocks", err, time.Since(began), blocks(t, to))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, from := range map[string]func() error{
		"of a disk": func() error { return files.Copy(gone, filepath.Join(dir, "new"), os.DirFS(dir), "file") },
		"of memory": func() error {
			return files.Copy(gone, filepath.Join(dir, "new"), fstest.MapFS{"x": {Data: []byte("text")}}, "x")
		},
	} {
		if err := from(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: left: %v", name, err)
		}
	}
}
