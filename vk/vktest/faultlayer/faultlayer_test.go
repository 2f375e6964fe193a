package faultlayer

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryCall compares the layer's entry points with those that package native names and that give a VkResult, as the header says: a call
// that is new must be known here.
func TestEveryCall(t *testing.T) {
	header, err := os.ReadFile(filepath.Join(headers(t), "vulkan", "vulkan_core.h"))
	if err != nil {
		t.Fatal(err)
	}
	fallible := map[string]bool{}
	for _, m := range regexp.MustCompile(`VkResult VKAPI_CALL (vk\w+)\(`).FindAllSubmatch(header, -1) {
		fallible[string(m[1])] = true
	}
	const native = "../../internal/native"
	used := map[string]bool{}
	for _, pattern := range []struct{ files, call string }{{"*.go", `\bvulkan\.([A-Z]\w+)\(`}, {"*.c", `"vk([A-Z]\w+)"`}} {
		paths, err := filepath.Glob(filepath.Join(native, pattern.files))
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(pattern.call).FindAllSubmatch(raw, -1) {
				if name := "vk" + string(m[1]); fallible[name] {
					used[name] = true
				}
			}
		}
	}
	delete(used, "vkCreateDebugReportCallbackEXT") // under validation alone

	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\tF\((vk\w+),|I_(vkCreate(?:Instance|Device))\b`).FindAllStringSubmatch(string(source), -1) {
		known[m[1]+m[2]] = true
	}
	if len(used) < 25 || !maps.Equal(used, known) {
		t.Errorf("native calls\n%s\nthe layer knows\n%s", list(used), list(known))
	}
	for name := range results {
		if !known[name] {
			t.Errorf("results of %s, which the layer does not know", name)
		}
	}
}

func list(names map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(names)), " ")
}
