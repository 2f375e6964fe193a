package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenLoader: where there is no loader the error is of the name that packages have it by, and tells one that is damaged from none.
func TestOpenLoader(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "libdamaged.so.1")
	if err := os.WriteFile(damaged, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names   []string
		want    string
		missing bool
	}{
		{[]string{"libvkcome-none.so.1", "libvkcome-none.so"}, "libvkcome-none.so.1", true},
		{[]string{"libvkcome-none.so.1", damaged}, damaged, false},
		{[]string{damaged, "libvkcome-none.so"}, damaged, false},
		{[]string{other}, "vkGetInstanceProcAddr", false},
	} {
		_, err := openLoader(c.names)
		none := (*NoLoader)(nil)
		if !errors.As(err, &none) || none.Missing != c.missing || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %+v, %v", c.names, none, err)
		}
	}
	if err := LibraryError(damaged); err == nil || !strings.Contains(err.Error(), damaged) {
		t.Error(err)
	}
	if err := LibraryError(other); err != nil {
		t.Error(err)
	}
}
