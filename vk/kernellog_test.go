package vk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
)

// runAffine dispatches the kernel affine on the best device, twice.
func runAffine() error {
	d, err := vk.Open(vk.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	buf, err := d.NewBuffer("log", 4*workgroup, vk.OnDevice)
	if err != nil {
		return err
	}
	k, err := affine(d, 0)
	if err != nil {
		return err
	}
	r, err := d.NewRecorder()
	if err != nil {
		return err
	}
	defer r.Close()
	for range 2 {
		r.Dispatch(k, [3]int{1, 1, 1}, []uint32{workgroup, 1, 1, 1, 1, 1}, 1, vk.In(buf.All()), vk.Out(buf.All()))
	}
	if err := r.Wait(context.Background()); err != nil {
		return err
	}
	fmt.Printf("affine\t%s, %s %s\n", d.Info.Name, d.Info.Driver, d.Info.DriverVersion)
	return nil
}

// A process with VKCOME_KERNEL_LOG leaves a line for each kernel that it dispatched, whether once or twice.
func TestKernelLog(t *testing.T) {
	dir := t.TempDir()
	want, err := helper(t, "affine", "VKCOME_KERNEL_LOG="+dir)
	if err != nil {
		t.Fatal(err, want)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v, want one", files, err)
	}
	if got, err := os.ReadFile(files[0]); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if out, err := helper(t, "affine", "VKCOME_KERNEL_LOG="+filepath.Join(dir, "absent")); err == nil || !strings.Contains(out, "VKCOME_KERNEL_LOG") {
		t.Errorf("a folder that is not there: %v, %s", err, out)
	}
}
