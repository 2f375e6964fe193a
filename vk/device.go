package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/vk/internal/native"
)

// Options choose and bound a device. The zero value is the best device with all it has.
type Options struct {
	Device       string // index in rank, UUID, or part of the name; "" is VKCOME_DEVICE, else the best
	MaxTier      *Tier  // use no feature above this tier; nil is VKCOME_TIER, else all
	MaxMemory    int64  // bytes of device memory to use at most; 0 is 80 % of the heap
	Profile      string // pass for another device, one of Profiles; "" is VKCOME_PROFILE, else none
	StorageRange int64  // pretend that an argument of a kernel holds at most this many bytes; 0 is the device's own limit
	Staging      bool   // go through staging buffers even where device memory can be mapped (what discrete GPUs do)
	Validate     bool   // run under the Khronos validation layer; also set by VKCOME_VALIDATE=1
	CacheDir     string // compiled pipelines; "" is the user's cache folder, "-" is none
	Reports      bool   // have the driver's compiler say what it made of each kernel, see Reports; compiled pipelines are then not cached
}

// Device is an open device. Its methods may be called from several goroutines; a Recorder may not.
type Device struct {
	Info Info
	Tier Tier

	Addresses bool // kernels can take the addresses of buffers, see Address

	native *native.Device
	opts   Options

	mu        sync.Mutex // everything below
	arena     arena
	kernels   map[kernelKey]*Kernel
	reports   []Report
	recorders map[*Recorder]struct{}
	closed    bool

	stampBits   int     // of the compute queue's timestamps; 0: it has none
	stampPeriod float64 // ns

	queue     sync.Mutex // submissions
	transfer  int        // index of the queue for uploads; 0 is the compute queue
	bindRange int64      // bytes that one binding holds, of which an argument may have less: Limits.StorageRange
	cachePath string
	cacheName string // the driver's, in names of cache files
	cacheSum  [32]byte
	attached  sync.Map
}

// Open opens a device.
func Open(o Options) (*Device, error) {
	if o.Device == "" {
		o.Device = os.Getenv("VKCOME_DEVICE")
	}
	if name := os.Getenv("VKCOME_TIER"); o.MaxTier == nil && name != "" {
		t, err := ParseTier(name)
		if err != nil {
			return nil, fmt.Errorf("vk: VKCOME_TIER: %w", err)
		}
		o.MaxTier = &t
	}
	if o.Profile == "" {
		o.Profile = os.Getenv(ProfileVariable)
	}
	o.Validate = o.Validate || os.Getenv("VKCOME_VALIDATE") == "1"
	instance, err := acquire(o.Validate)
	if err != nil {
		return nil, err
	}
	d, err := open(instance, o)
	if err != nil {
		release()
		return nil, err
	}
	return d, nil
}

func open(instance *native.Instance, o Options) (*Device, error) {
	physical, info, err := choose(rank(instance), o.Device)
	if err != nil {
		return nil, err
	}
	if o.Profile != "" {
		p, err := ParseProfile(o.Profile)
		if err != nil {
			return nil, err
		}
		p.apply(&info)
	}
	d := &Device{Info: info, Tier: info.Tier, opts: o, kernels: map[kernelKey]*Kernel{}, recorders: map[*Recorder]struct{}{}}
	if o.MaxTier != nil {
		d.Tier = min(d.Tier, *o.MaxTier)
	}
	l := &d.Info.Limits
	d.bindRange = l.StorageRange
	if l.StorageBuffers < native.MaxBindings {
		l.OffsetAlignment = max(l.OffsetAlignment, sharesAlign)
	}
	if l.StorageBuffers < mostBuffers {
		l.StorageRange /= mostBuffers
	}
	if o.StorageRange > 0 {
		l.StorageRange = min(l.StorageRange, o.StorageRange)
	}
	families := []uint32{uint32(computeFamily(physical))}
	d.stampBits, d.stampPeriod = int(physical.Queues[families[0]].TimestampBits), float64(physical.TimestampPeriod)
	if t := transferFamily(physical); t >= 0 {
		families, d.transfer = append(families, uint32(t)), 1
	}
	d.cachePath = cachePath(o.CacheDir, physical)
	if d.cachePath != "" {
		d.cacheName = cacheName(physical)
	}
	data := loadCache(d.cachePath, physical)
	// Kernels take addresses on CPU drivers only, where they pay.
	d.Addresses = info.Kind == CPU && physical.BufferAddress
	if o.Reports && !physical.Reports {
		return nil, fmt.Errorf("vk: %s has no VK_KHR_pipeline_executable_properties: its driver's compiler says nothing of kernels", info.Name)
	}
	if d.native, err = native.NewDevice(physical, families, d.Addresses, o.Reports, data); err != nil {
		return nil, fmt.Errorf("vk: open %s: %w", info.Name, wrap(err))
	}
	d.cacheSum = sha256.Sum256(data)
	if err := d.arena.init(d, physical); err != nil {
		d.native.Close()
		return nil, err
	}
	return d, nil
}

// Limits are the bounds that the device is used within.
func (d *Device) Limits() Limits { return d.Info.Limits }

// Close waits for the device, saves the compiled pipelines and frees everything. Buffers and recorders that are still open are
// freed too and reported as an error: whoever holds them must not use them any more.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var leaks error
	if len(d.recorders) > 0 || d.arena.buffers > 0 {
		leaks = fmt.Errorf("vk: close %s: %d recorders and %d buffers are still open", d.Info.Name, len(d.recorders), d.arena.buffers)
	}
	for r := range d.recorders {
		leaks = errors.Join(leaks, r.close())
	}
	d.saveCache()
	for _, k := range d.kernels {
		d.native.DestroyPipeline(k.pipeline)
	}
	d.arena.close()
	d.native.Close()
	release()
	return leaks
}

// The pipeline cache file is a magic word, the SHA-256 of the data, and the driver's data, whose own header names vendor, device
// and cache UUID. The name holds the driver's identity, so that another driver never reads it.
var cacheMagic = []byte("VKCOMEC1")

func cachePath(dir string, p *native.PhysicalDevice) string {
	if dir == "-" {
		return ""
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(base, "vkcome")
	}
	return filepath.Join(dir, "pipelines-"+cacheName(p)+".bin")
}

// cacheName identifies a driver and the device that it drives.
func cacheName(p *native.PhysicalDevice) string {
	return fmt.Sprintf("%04x-%04x-%08x-%s", p.Vendor, p.Device, p.DriverVersion, hex.EncodeToString(p.CacheUUID[:]))
}

// loadCache returns nothing where there is no file or a file that is damaged or another driver's: the cache then starts empty.
func loadCache(path string, p *native.PhysicalDevice) []byte {
	if path == "" {
		return nil
	}
	raw, err := files.Read(path, maxPipelines)
	if err != nil {
		return nil
	}
	return parseCache(raw, p)
}

func (d *Device) saveCache() {
	if d.cachePath == "" || len(d.kernels) == 0 {
		return
	}
	// A cache that cannot be had or written (a read-only home, a full disk) costs time at the next start and nothing else.
	data, err := d.native.CacheData()
	if err != nil {
		return
	}
	sum := sha256.Sum256(data)
	if sum == d.cacheSum {
		return
	}
	_ = WriteFile(d.cachePath, bytes.Join([][]byte{cacheMagic, sum[:], data}, nil))
}

// TakeMessages returns what the validation layer said since the last call, of all devices.
func TakeMessages() []string { return native.TakeMessages() }
