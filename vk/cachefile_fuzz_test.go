package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/vkcome/vkcome/vk/internal/native"
)

func pipelines(data []byte) []byte {
	sum := sha256.Sum256(data)
	return bytes.Join([][]byte{cacheMagic, sum[:], data}, nil)
}

// of makes data the driver's own, if there is room for its header.
func of(p *native.PhysicalDevice, data []byte) []byte {
	data = bytes.Clone(data)
	if len(data) >= 32 {
		binary.LittleEndian.PutUint32(data[8:], p.Vendor)
		binary.LittleEndian.PutUint32(data[12:], p.Device)
		copy(data[16:32], p.CacheUUID[:])
	}
	return data
}

// FuzzPipelines reads files of compiled pipelines: nothing reaches a driver but what has the right sum and is its own.
func FuzzPipelines(f *testing.F) {
	p := &native.PhysicalDevice{}
	p.Vendor, p.Device, p.CacheUUID[3] = 7, 9, 1
	good := pipelines(of(p, make([]byte, 40)))
	if parseCache(good, p) == nil {
		f.Fatal("a good one is not read")
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if parseCache(bad, p) != nil {
			f.Fatalf("read with bit %d changed", bit)
		}
	}
	f.Add(good)
	f.Add(good[:70])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, text := range [][]byte{raw, pipelines(raw), pipelines(of(p, raw))} {
			data := parseCache(text, p)
			if data != nil && (len(data) < 32 || !bytes.Equal(data, text[len(cacheMagic)+32:]) || !bytes.Equal(data[16:32], p.CacheUUID[:])) {
				t.Errorf("%x gives %x", text, data)
			}
		}
	})
}
