package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/vk"
)

const (
	// SharedFormat is the format of what Share writes, by its own name.
	SharedFormat = "vkcome bench share"
	// SharedSchema is its version. It changes when a field changes its meaning or goes; fields that are new do not change it, and readers pass
	// over those that they do not know.
	SharedSchema = 1
)

// shared is what Share writes. Each field is listed here by itself, so that one that a Report gets later is not given away by accident. The
// README of this folder documents them.
type shared struct {
	Format  string         `json:"format"`
	Schema  int            `json:"schema"`
	Version string         `json:"vkcome"`
	System  string         `json:"system,omitempty"`
	Device  sharedDevice   `json:"device"`
	Tier    string         `json:"tier"`
	Clock   string         `json:"clock"`
	Model   *ModelInfo     `json:"model,omitempty"`
	Results []sharedResult `json:"results"`
	LeftOut []string       `json:"left_out,omitempty"`
}

type sharedDevice struct {
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`
	Tier          string         `json:"tier"`
	Driver        string         `json:"driver"`
	DriverVersion string         `json:"driver_version"`
	API           string         `json:"api"`
	Int64         bool           `json:"int64"`
	Limits        vk.Limits      `json:"limits"`
	CoopShapes    []vk.CoopShape `json:"coop_shapes"`
}

type sharedResult struct {
	Name     string    `json:"name"`
	Unit     string    `json:"unit"`
	Value    float64   `json:"value"`
	Low      float64   `json:"low"`
	High     float64   `json:"high"`
	Seconds  []float64 `json:"seconds"`
	GFlops   float64   `json:"gflops,omitempty"`
	GBytes   float64   `json:"gbytes,omitempty"`
	Fraction float64   `json:"of_floor,omitempty"`
	Bound    string    `json:"floor_bound,omitempty"`
	Kernel   string    `json:"kernel,omitempty"`
	Why      string    `json:"why,omitempty"`
}

// Share writes the report as JSON to be given away. It has the device and its driver, the model by ModelInfo, and what was measured; it has
// no identity of the device (UUID, index), no path, no name of a file, of a machine or of a person, no time, and no messages of drivers.
// What was left out is there by name, without the reason. Names of Options.Extra are the caller's. Reports of llama-bench are refused: they
// have a format of their own.
func (r *Report) Share() ([]byte, error) {
	if r.Tool != "" {
		return nil, fmt.Errorf("bench: a report of %s is shared as it is", r.Tool)
	}
	d := r.Device
	s := shared{Format: SharedFormat, Schema: SharedSchema, Version: r.Version, System: r.System, Tier: r.Tier, Clock: r.Clock, Model: r.Details, Results: []sharedResult{},
		Device: sharedDevice{d.Name, d.KindName, d.TierName, d.Driver, d.DriverVersion, d.API, d.Int64, d.Limits, d.CoopShapes}}
	for _, x := range r.Results {
		s.Results = append(s.Results, sharedResult(x))
	}
	for _, left := range r.LeftOut {
		name, _, _ := strings.Cut(left, ": ")
		s.LeftOut = append(s.LeftOut, name)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(s)
	return out.Bytes(), err
}

// parseShared reads what Share wrote.
func parseShared(raw []byte) (*Report, error) {
	var s shared
	if err := files.JSON(raw, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Format != SharedFormat:
		return nil, fmt.Errorf("format %.100q, expected %q", s.Format, SharedFormat)
	case s.Schema != SharedSchema:
		return nil, fmt.Errorf("a shared report of schema %d, this vkcome reads %d", s.Schema, SharedSchema)
	case s.Device.Name == "":
		return nil, errors.New("the device has no name")
	}
	d := s.Device
	r := &Report{Schema: Schema, Version: s.Version, System: s.System, Tier: s.Tier, Clock: s.Clock, Details: s.Model,
		Device: vk.Info{Name: d.Name, KindName: d.Kind, TierName: d.Tier, Driver: d.Driver, DriverVersion: d.DriverVersion, API: d.API, Int64: d.Int64, Limits: d.Limits, CoopShapes: d.CoopShapes}, LeftOut: s.LeftOut}
	if s.Model != nil {
		r.Model = s.Model.label()
	}
	for _, x := range s.Results {
		r.Results = append(r.Results, Result(x))
	}
	return r, nil
}

// label is what a model without a name is called.
func (m *ModelInfo) label() string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("%s, %s parameters, %s", m.Architecture, count(m.Parameters), m.DType)
}
