package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// CacheFile is the path of a file in the cache folder for what was found out about this device and driver: kind-DEVICE.ext. It is ""
// where nothing is to be cached. Another driver, or another version of it, has another path.
func (d *Device) CacheFile(kind, ext string) string {
	if d.cacheName == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(d.cachePath), fmt.Sprintf("%s-%s-%s%s", kind, d.Info.UUID, d.cacheName, ext))
}

// maxPipelines bounds the file of compiled pipelines: some thousands, of 100 kB each.
const maxPipelines = 1 << 30

// parseCache is the driver's data in a file of compiled pipelines, nil where it is damaged or another driver's.
func parseCache(raw []byte, p *native.PhysicalDevice) []byte {
	if len(raw) < len(cacheMagic)+32+32 || !bytes.HasPrefix(raw, cacheMagic) {
		return nil
	}
	sum, data := raw[len(cacheMagic):len(cacheMagic)+32], raw[len(cacheMagic)+32:]
	if actual := sha256.Sum256(data); !bytes.Equal(sum, actual[:]) {
		return nil
	}
	u := binary.LittleEndian.Uint32
	if u(data[8:]) != p.Vendor || u(data[12:]) != p.Device || !bytes.Equal(data[16:32], p.CacheUUID[:]) {
		return nil
	}
	return data
}

// WriteFile writes a file of the cache folder in one step: who opens path sees the old contents or the new.
func WriteFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".cache-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// Attach keeps value with the device under key, in place of what was there; Attached returns it, nil if there is none. They are for
// packages that know something about a device which must not outlive it; a key has a type of its own, as a context's.
func (d *Device) Attach(key, value any)    { d.attached.Store(key, value) }
func (d *Device) Attached(key any) (v any) { v, _ = d.attached.Load(key); return v }
