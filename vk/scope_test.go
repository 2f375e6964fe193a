package vk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A dry scope counts what the same allocations take, a live one frees them together, and after an error nothing more is allocated.
func TestScope(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		sizes := []int64{1, 0, 255, 256, 257, 70_000, 3 << 20}
		allocate := func(s *vk.Scope) (list []*vk.Buffer) {
			for _, n := range sizes {
				list = append(list, s.Buffer("scope", n, vk.OnDevice))
			}
			s.Buffer("scope", 4096, vk.ToHost)
			return list
		}
		want := d.DryRun(func(s *vk.Scope) {
			if list := allocate(s); !s.Dry() || s.Live() || list[1] != nil || list[2].Size() != 255 || list[2].All().Size() != 255 {
				t.Errorf("a dry scope: dry %v, live %v, a buffer of nothing is %v", s.Dry(), s.Live(), list[1])
			}
		})
		before := d.Memory()
		s := d.NewScope()
		allocate(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if used := d.Memory().Used - before.Used; used != want || s.Bytes() != want || !s.Live() {
			t.Errorf("%d bytes in use, %d counted, a dry run said %d", used, s.Bytes(), want)
		}
		s.Free()
		if after := d.Memory(); after.Used != before.Used || s.Bytes() != 0 {
			t.Errorf("%d bytes are left", after.Used-before.Used)
		}

		s = d.NewScope()
		s.Buffer("fits", 1000, vk.OnDevice)
		if b := s.Buffer("does not", 2*d.MemoryLimit(), vk.OnDevice); b.Size() != 2*d.MemoryLimit() {
			t.Errorf("a stand-in of %d bytes", b.Size())
		}
		s.Buffer("not asked for", 1000, vk.OnDevice)
		s.Wrap("here")
		if used := d.Memory().Used - before.Used; used > 2000 || s.Live() {
			t.Errorf("%d bytes in use after an error, live %v", used, s.Live())
		}
		if err := s.Close(); !errors.Is(err, vk.ErrOutOfMemory) && !errors.Is(err, vk.ErrLimit) || !strings.HasPrefix(err.Error(), "here: ") {
			t.Errorf("too much memory: %v", err)
		}
		if after := d.Memory(); after.Used != before.Used {
			t.Errorf("%d bytes are left after an error", after.Used-before.Used)
		}
		var none *vk.Scope
		none.Free()
	})
}
