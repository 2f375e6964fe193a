package vk_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestDevices(t *testing.T) {
	infos := must(vk.Devices())(t)
	if len(infos) == 0 {
		t.Fatal("no device")
	}
	for k, i := range infos {
		l := i.Limits
		if i.Index != k || i.Name == "" || len(i.UUID) != 36 || i.Driver == "" || i.KindName != i.Kind.String() || i.TierName != i.Tier.String() {
			t.Errorf("device %d: %+v", k, i)
		}
		// What Vulkan 1.1 asks of every device.
		if l.StorageRange < 1<<27 || l.WorkgroupSize < 128 || l.SharedMemory < 16384 || l.StorageBuffers < 4 || l.PushConstants < 128 || l.OffsetAlignment > 256 || l.Allocation < 1<<29 || l.DeviceMemory == 0 {
			t.Errorf("limits of %s: %+v", i.Name, l)
		}
		for _, selector := range []string{i.UUID, strings.ReplaceAll(i.UUID, "-", ""), strings.ToUpper(i.Name)} {
			d, err := vk.Open(vk.Options{Device: selector, CacheDir: "-"})
			if err != nil {
				t.Errorf("open %q: %v", selector, err)
				continue
			}
			if d.Info.Name != i.Name {
				t.Errorf("open %q: %s, want %s", selector, d.Info.Name, i.Name)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Setenv("VKCOME_DEVICE", "no such thing")
	_, err := vk.Open(vk.Options{})
	if !errors.Is(err, vk.ErrNoDevice) {
		t.Errorf("%v, want ErrNoDevice", err)
	}
	contains(t, err, "no such thing", infos[0].Name)
	t.Setenv("VKCOME_DEVICE", "")
	t.Setenv("VKCOME_TIER", "baseline")
	d := must(vk.Open(vk.Options{CacheDir: "-"}))(t)
	if d.Tier != vk.Baseline {
		t.Errorf("tier %v under VKCOME_TIER=baseline", d.Tier)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	t.Setenv("VKCOME_TIER", "best")
	_, err = vk.Open(vk.Options{})
	contains(t, err, "VKCOME_TIER", "best", "coopmat")
}

func TestNoDevice(t *testing.T) {
	for _, name := range []string{"devices", "open"} {
		out, err := helper(t, name, "VK_ICD_FILENAMES=/nonexistent", "VK_DRIVER_FILES=/nonexistent", "VKCOME_VALIDATE=")
		if err == nil || !strings.Contains(out, vk.ErrNoDevice.Error()) || !strings.Contains(out, "mesa-vulkan-drivers") || strings.Count(out, "\n") != 1 {
			t.Errorf("%s without a driver: %v\n%s", name, err, out)
		}
	}
}

// TestCloseLeaks closes a device with buffers and recorders open: an error that counts them, and no crash when they are used later.
func TestCloseLeaks(t *testing.T) {
	vktest.Each(t, func(t *testing.T, shared *vk.Device) {
		d := must(vk.Open(vk.Options{Device: shared.Info.UUID, CacheDir: "-"}))(t)
		var buffers []*vk.Buffer
		for _, use := range []vk.Use{vk.OnDevice, vk.ToDevice, vk.ToHost} {
			buffers = append(buffers, must(d.NewBuffer("left", 64<<20, use))(t))
		}
		r, busy := must(d.NewRecorder())(t), must(d.NewRecorder())(t)
		k := must(affine(d, 0))(t)
		busy.Dispatch(k, [3]int{1, 1, 1}, []uint32{64, 1, 1, 1000, 3, 1}, 1, vk.In(buffers[0].View(0, 256)), vk.Out(buffers[0].View(0, 256)))
		if err := busy.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		contains(t, d.Close(), "2 recorders", "3 buffers", d.Info.Name)

		if err := d.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		d.Free(buffers...)
		for _, r := range []*vk.Recorder{r, busy} {
			r.Dispatch(k, [3]int{1, 1, 1}, nil, 1)
			r.Copy(buffers[0].View(0, 4), buffers[1].View(0, 4))
			if err := r.Wait(context.Background()); !errors.Is(err, vk.ErrClosed) {
				t.Errorf("recorder of a closed device: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("recorder closed again: %v", err)
			}
		}
		_, errBuffer := d.NewBuffer("late", 4, vk.OnDevice)
		_, errKernel := affine(d, 1)
		_, errRecorder := d.NewRecorder()
		errUpload := d.Upload(context.Background(), buffers[0].View(0, 4), make([]byte, 4))
		errDownload := d.Download(context.Background(), make([]byte, 4), buffers[0].View(0, 4))
		for _, err := range []error{errBuffer, errKernel, errRecorder, errUpload, errDownload} {
			if !errors.Is(err, vk.ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		}
	})
}

func TestPipelineCache(t *testing.T) {
	vktest.Each(t, func(t *testing.T, shared *vk.Device) {
		dir := filepath.Join(t.TempDir(), "made", "on demand")
		// use opens the device with the cache folder, compiles a kernel, and returns the cache file.
		use := func() (path string, raw []byte) {
			t.Helper()
			d := must(vk.Open(vk.Options{Device: shared.Info.UUID, CacheDir: dir}))(t)
			_, err := affine(d, 7)
			if err := errors.Join(err, d.Close()); err != nil {
				t.Fatal(err)
			}
			files := must(filepath.Glob(filepath.Join(dir, "*")))(t)
			if len(files) != 1 {
				t.Fatalf("files in the cache: %v", files)
			}
			return files[0], must(os.ReadFile(files[0]))(t)
		}
		path, good := use()
		if !bytes.HasPrefix(good, []byte("VKCOMEC1")) || len(good) < 8+32+32 {
			t.Fatalf("%s begins %.60q", path, good)
		}
		before := must(os.Stat(path))(t)
		_, again := use()
		if after := must(os.Stat(path))(t); !os.SameFile(before, after) && bytes.Equal(good, again) {
			t.Error("written again though nothing was compiled that it does not hold")
		}
		flipped := bytes.Clone(good)
		flipped[len(flipped)-1] ^= 1
		for name, bad := range map[string][]byte{"empty": {}, "a word": good[:4], "no data": good[:40], "cut": good[:len(good)-1], "flipped": flipped, "another program's": []byte(strings.Repeat("pipelines ", 20))} {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, mended := use(); !bytes.HasPrefix(mended, []byte("VKCOMEC1")) || bytes.Equal(mended, bad) {
				t.Errorf("%s: the file was left as it was", name)
			}
		}
		// A place that cannot be written costs nothing but time.
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
			t.Fatal(err)
		}
		d := must(vk.Open(vk.Options{Device: shared.Info.UUID, CacheDir: dir}))(t)
		_, err := affine(d, 7)
		if err := errors.Join(err, d.Close()); err != nil {
			t.Error(err)
		}
		if files := must(os.ReadDir(dir))(t); len(files) != 1 {
			t.Errorf("left behind: %v", files)
		}
	})
}
