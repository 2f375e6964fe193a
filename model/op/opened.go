package op

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

// ErrWrong is the error of a device whose kernels compute wrong at every tier.
var ErrWrong = errors.New("computes wrong")

// StepDown says that a device computes wrong at a tier, and is used at a lower one.
type StepDown struct {
	Device   string
	From, To vk.Tier
	Wrong    SelfTestRow // at From, or the first tier below it that is wrong
}

func (s *StepDown) String() string {
	return fmt.Sprintf("%s computes wrong at tier %v and is used at tier %v: %v (op.SelfTest tests all)", s.Device, s.From, s.To, &s.Wrong)
}

// Open opens a device for these operations. At the first use of a device, driver and release of kernels some operations are compared with the same in
// float64, which takes a fraction of a second; what was found is kept in the cache folder. A tier that is wrong is left for the next one that is right:
// that is told by down, nil where it did not happen. A device that is wrong at the baseline tier too is an ErrWrong.
func Open(ctx context.Context, o vk.Options) (d *vk.Device, down *StepDown, err error) {
	for {
		if d, err = vk.Open(o); err != nil {
			return nil, nil, err
		}
		wrong, err := selfTested(ctx, d)
		if err == nil && wrong == nil {
			if down != nil {
				down.To = d.Tier
			}
			return d, down, nil
		}
		tier := d.Tier
		if err = errors.Join(err, d.Close()); err != nil {
			return nil, nil, err
		}
		if down == nil {
			down = &StepDown{Device: d.Info.Name, From: tier, Wrong: *wrong}
		}
		if tier == vk.Baseline {
			return nil, nil, fmt.Errorf("op: %s %w at every tier up to %v: %v; use another device, or another version of its driver (%s %s)", d.Info.Name, ErrWrong, down.From, wrong,
				d.Info.Driver, d.Info.DriverVersion)
		}
		tier--
		o.MaxTier = &tier
	}
}

// SelfTestReport is a self-test of a device at all of its tiers.
type SelfTestReport struct {
	Device        string         `json:"device"`
	UUID          string         `json:"uuid"`
	Driver        string         `json:"driver"`
	DriverVersion string         `json:"driver_version"`
	Tier          string         `json:"tier"`           // the device's, or the highest that the options allow
	Used          string         `json:"used,omitempty"` // the highest that is right; "" where none is
	Rows          []*SelfTestRow `json:"rows"`           // tier by tier, the lowest first
}

// Wrong are the rows of the highest tier that are wrong.
func (r *SelfTestReport) Wrong() (list []*SelfTestRow) {
	for _, row := range r.Rows {
		if row.Tier == r.Tier && !row.OK {
			list = append(list, row)
		}
	}
	return list
}

// SelfTest compares more operations than Open does with the same in float64, at every tier of a device, and keeps what it finds for Open.
func SelfTest(ctx context.Context, o vk.Options) (*SelfTestReport, error) {
	d, err := vk.Open(o)
	if err != nil {
		return nil, err
	}
	r := &SelfTestReport{Device: d.Info.Name, UUID: d.Info.UUID, Driver: d.Info.Driver, DriverVersion: d.Info.DriverVersion, Tier: d.Tier.String()}
	top := d.Tier
	if err := d.Close(); err != nil {
		return nil, err
	}
	for tier := range top + 1 {
		o.MaxTier = &tier
		if err := r.test(ctx, o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// test adds the rows of one tier.
func (r *SelfTestReport) test(ctx context.Context, o vk.Options) (err error) {
	d, err := vk.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	rows, err := runSelfTest(ctx, d, true)
	if err != nil {
		return err
	}
	wrong := firstWrong(rows)
	keepVerdict(d, wrong)
	r.Rows = append(r.Rows, rows...)
	if wrong == nil {
		r.Used = d.Tier.String()
	}
	return nil
}

func firstWrong(rows []*SelfTestRow) *SelfTestRow {
	for _, r := range rows {
		if !r.OK {
			return r
		}
	}
	return nil
}

// selfTested is what is wrong with a device at its tier, nil if nothing is: as kept, or found out now and kept.
func selfTested(ctx context.Context, d *vk.Device) (wrong *SelfTestRow, err error) {
	if v, ok := loadVerdicts(d).Devices[verdictKey(d)]; ok {
		return v.Wrong, nil
	}
	rows, err := runSelfTest(ctx, d, false)
	if err != nil {
		return nil, err
	}
	wrong = firstWrong(rows)
	keepVerdict(d, wrong)
	return wrong, nil
}

// verdicts are what is kept of self-tests of a device by a driver.
type verdicts struct {
	Kernels string             `json:"kernels"` // shaders.Hash: those of another release are tested anew
	Devices map[string]verdict `json:"devices"` // by verdictKey
}

type verdict struct {
	Tier  string       `json:"tier"`
	Wrong *SelfTestRow `json:"wrong"` // the first row that is; null: none
}

// mostVerdicts is how many are kept: tiers, times profiles and limits that a device was opened with, of which tests have some and users one.
const mostVerdicts = 64

// maxVerdicts bounds their file, in bytes: each has some 500.
const maxVerdicts = 1 << 20

// verdictKey is all that the choice of kernels and what a driver makes of them goes by: not only the device and the driver's version, which the
// file's name has, but its tier, its limits, and its name, in which lavapipe says how wide the CPU's vectors are.
func verdictKey(d *vk.Device) string {
	raw, err := json.Marshal(struct {
		vk.Info
		Kind vk.Kind
		Tier vk.Tier
	}{d.Info, d.Info.Kind, d.Tier})
	if err != nil {
		panic(err) // numbers and strings
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// The file is a magic word, the SHA-256 of the JSON in hex, and the JSON. A release whose self-test changed has another magic word.
const verdictMagic = "VKCOMES1 "

func verdictFile(d *vk.Device) string { return d.CacheFile("selftest", ".json") }

// keepVerdict keeps what was found of a device. A cache that cannot be written costs another self-test, and nothing else.
func keepVerdict(d *vk.Device, wrong *SelfTestRow) {
	path := verdictFile(d)
	if path == "" {
		return
	}
	v := loadVerdicts(d)
	if len(v.Devices) >= mostVerdicts {
		clear(v.Devices)
	}
	v.Devices[verdictKey(d)] = verdict{d.Tier.String(), wrong}
	if raw, err := json.Marshal(v); err == nil {
		_ = vk.WriteFile(path, fmt.Appendf(nil, "%s%x\n%s\n", verdictMagic, sha256.Sum256(raw), raw))
	}
}

// loadVerdicts has none where there is no file, or one that is damaged or of other kernels.
func loadVerdicts(d *vk.Device) verdicts {
	none := verdicts{Kernels: shaders.Hash(), Devices: map[string]verdict{}}
	path := verdictFile(d)
	if path == "" {
		return none
	}
	file, err := files.Read(path, maxVerdicts)
	if err != nil {
		return none
	}
	head, raw, ok := strings.Cut(string(file), "\n")
	raw = strings.TrimSuffix(raw, "\n")
	if !ok || head != fmt.Sprintf("%s%x", verdictMagic, sha256.Sum256([]byte(raw))) {
		return none
	}
	var v verdicts
	if json.Unmarshal([]byte(raw), &v) != nil || v.Kernels != none.Kernels || v.Devices == nil {
		return none
	}
	for _, found := range v.Devices {
		if found.Wrong != nil && found.Wrong.OK {
			return none
		}
	}
	return v
}
