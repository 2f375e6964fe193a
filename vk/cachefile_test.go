package vk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestCacheFile(t *testing.T) {
	dir := t.TempDir()
	vktest.EachWith(t, vk.Options{CacheDir: dir}, func(t *testing.T, d *vk.Device) {
		path := d.CacheFile("kind", ".json")
		if filepath.Dir(path) != dir || !strings.HasPrefix(filepath.Base(path), "kind-"+d.Info.UUID) {
			t.Errorf("path %s", path)
		}
		for _, text := range []string{"first", "second"} {
			if err := vk.WriteFile(path, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
				t.Errorf("%q, %v, want %q", raw, err, text)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := vk.WriteFile(filepath.Join(path, "below a file"), nil); err == nil {
			t.Error("a path below a file was written")
		}
	})
	vktest.EachWith(t, vk.Options{CacheDir: "-"}, func(t *testing.T, d *vk.Device) {
		if path := d.CacheFile("kind", ".json"); path != "" {
			t.Errorf("without a cache folder the path is %s", path)
		}
	})
}

func TestAttach(t *testing.T) {
	type key struct{}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		if v := d.Attached(key{}); v != nil {
			t.Errorf("%v before anything was attached", v)
		}
		d.Attach(key{}, 1)
		d.Attach(key{}, 2)
		if v := d.Attached(key{}); v != 2 {
			t.Errorf("%v, want the last value", v)
		}
	})
}
