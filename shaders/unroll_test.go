package shaders

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Loops that are to be unrolled go from a number to a constant: a compiler leaves others as they are without a word, and then they count where a
// driver stops an invocation's loops, and index arrays that so are in memory.
func TestUnroll(t *testing.T) {
	unrolled := regexp.MustCompile(`\[\[unroll\]\][^;\n]*;[^;\n]*;`)
	constant := regexp.MustCompile(`^\[\[unroll\]\] for \(u?int (\w+) = \d+; (\w+) < ([A-Z_0-9 */()=!?:]+|\w+\.length\(\));$`)
	found := 0
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || ext != ".comp" && ext != ".glsl" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, loop := range unrolled.FindAllString(string(source), -1) {
			found++
			if m := constant.FindStringSubmatch(loop); m == nil || m[1] != m[2] {
				t.Errorf("%s: %s: expected a loop from a number to a constant", path, loop)
			}
		}
		return err
	})
	if err != nil || found < 100 {
		t.Errorf("%d loops, %v", found, err)
	}
}
