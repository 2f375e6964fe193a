// Command gpu compiles every kernel that vkcome can choose on GPUs that are not here, and tells what their drivers' compilers made of it: registers,
// spills, occupancy, and what the loops hold. Mesa's drivers compile for the real hardware behind a shim that answers as the kernel would
// (.ci/extra-drivers.sh mesa26, and intel); nothing runs, so nothing here is a speed.
//
//	make gpu-report                                   all families, into .ci/gpu/table and .ci/gpu/README.md; some 15 minutes
//	go run ./.ci/gpu -check -families navi31,ga102    fail where a kernel does not compile, spills, or got worse than the table
//	go run ./.ci/gpu -families navi31 -kernels '^linear' -code DIR     also keep the machine code
//	go run ./.ci/gpu -families ga102 -spirv FILE -spec 128,64          a shader from elsewhere, compiled in the same way and printed
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

// family is a GPU that a driver compiles for.
type family struct {
	Name, Shim string // Shim as .ci/extra-drivers.sh's gpu takes it
	What       string
	dialect    dialect
}

var families = []family{
	{"vega10", "amd:vega10", "AMD GCN 5 (Radeon RX Vega)", aco},
	{"navi21", "amd:navi21", "AMD RDNA 2 (Radeon RX 6800)", aco},
	{"navi31", "amd:navi31", "AMD RDNA 3 (Radeon RX 7900)", aco},
	{"gfx1201", "amd:gfx1201", "AMD RDNA 4 (Radeon RX 9070)", aco},
	{"tu104", "nv:164", "NVIDIA Turing (GeForce RTX 2080), by NVK", nak},
	{"ga102", "nv:172", "NVIDIA Ampere (GeForce RTX 3090), by NVK", nak},
	{"dg2", "intel:dg2", "Intel Xe HPG (Arc A770)", brw},
	{"bmg", "intel:bmg", "Intel Xe2 (Arc B580)", brw},
	{"m1", "apple", "Apple M1, by Honeykrisp", agx},
	{"adreno740", "fd:740", "Qualcomm Adreno 740, by Turnip", ir3},
}

func main() {
	var s settings
	names := flag.String("families", "", "by commas (default all whose drivers are there)")
	flag.StringVar(&s.drivers, "drivers", ".drivers/mesa26", "folder of .ci/extra-drivers.sh mesa26")
	flag.StringVar(&s.table, "table", ".ci/gpu/table", "folder of the committed tables")
	flag.BoolVar(&s.check, "check", false, "compare with the tables, and write nothing")
	kernels := flag.String("kernels", "", "print and keep code of the kernels that this expression matches alone")
	flag.StringVar(&s.code, "code", "", "folder for machine code")
	flag.StringVar(&s.spirv, "spirv", "", "compile and print this file's shader, and none of ours")
	flag.StringVar(&s.spec, "spec", "", "its specialization constants 0, 1, … by commas")
	flag.IntVar(&s.bindings, "bindings", 8, "its storage buffers")
	flag.IntVar(&s.subgroup, "subgroup", 0, "size of its subgroups (default any)")
	one := flag.Bool("one", false, "compile on the device that is there, and print JSON: what this program starts itself for, behind a shim")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() (err error) {
		if *one {
			return s.compile(os.Stdout)
		}
		if s.spirv != "" && (s.check || *kernels != "") {
			return errors.New("-spirv: no table has its kernel, so that -check and -kernels have no use")
		}
		if *kernels != "" {
			if s.pick, err = regexp.Compile(*kernels); err != nil {
				return err
			}
		}
		list, err := chosen(*names, s.drivers)
		if err != nil {
			return err
		}
		return s.run(ctx, list)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpu:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	drivers, table, code string
	check                bool
	pick                 *regexp.Regexp // of kernels' names; nil: all

	spirv, spec        string // a shader in place of ours
	bindings, subgroup int
}

// source is the shader of -spirv.
func (s settings) source() (k vk.Source, err error) {
	code, err := os.ReadFile(s.spirv)
	if err != nil {
		return k, err
	}
	k = vk.Source{Name: strings.TrimSuffix(filepath.Base(s.spirv), ".spv"), SPIRV: string(code), Bindings: s.bindings, Subgroup: s.subgroup}
	for _, word := range strings.FieldsFunc(s.spec, func(r rune) bool { return r == ',' }) {
		v, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return k, fmt.Errorf("-spec: %w", err)
		}
		k.Spec = append(k.Spec, uint32(v))
	}
	return k, nil
}

// prints says whether what came of a family is printed, and no table is written.
func (s settings) prints() bool { return s.pick != nil || s.spirv != "" }

func (s settings) run(ctx context.Context, list []family) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var bad []error
	for _, f := range list {
		begin := time.Now()
		made, err := f.survey(ctx, self, s)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %d kernels in %v\n", f.Name, len(made.Kernels), time.Since(begin).Round(time.Second))
		switch {
		case s.check:
			bad = append(bad, f.compare(made, s.table)...)
		case s.prints():
			err = made.print(os.Stdout)
		default:
			err = made.write(filepath.Join(s.table, f.Name+".json"))
		}
		if err != nil {
			return err
		}
	}
	if !s.check && !s.prints() {
		if err := summarise(s.table, filepath.Join(filepath.Dir(s.table), "README.md")); err != nil {
			return err
		}
	}
	return errors.Join(bad...)
}

// chosen are families by their names, or all that the drivers have a shim for.
func chosen(names, drivers string) (list []family, err error) {
	for _, f := range families {
		kind, _, _ := strings.Cut(f.Shim, ":")
		if names != "" {
			if slices.Contains(strings.Split(names, ","), f.Name) {
				list = append(list, f)
			}
			continue
		}
		if kind == "intel" {
			if shims, _ := filepath.Glob(filepath.Join(drivers, "root/usr/lib/*/libintel_noop_drm_shim.so")); len(shims) == 0 {
				fmt.Fprintf(os.Stderr, "%s: left out: Intel's shim is not in Debian's package, .ci/extra-drivers.sh intel %s makes it\n", f.Name, drivers)
				continue
			}
		}
		list = append(list, f)
	}
	if n := len(strings.Split(names, ",")); names != "" && n != len(list) {
		var all []string
		for _, f := range families {
			all = append(all, f.Name)
		}
		return nil, fmt.Errorf("-families %s: expected some of %s", names, strings.Join(all, ","))
	}
	return list, nil
}

// compiled is what a child prints.
type compiled struct {
	Device, Driver string
	Reports        []vk.Report
}

// compile surveys the device, or compiles the shader of -spirv.
func (s settings) compile(to io.Writer) (err error) {
	d, err := vk.Open(vk.Options{Reports: true, CacheDir: "-"})
	if err != nil {
		return err
	}
	if s.spirv != "" {
		source, err := s.source()
		if err != nil {
			return err
		}
		if _, err := d.Kernel(source); err != nil {
			return err
		}
	} else {
		r := d.NewSurvey()
		if err := op.Survey(r); err != nil {
			return err
		}
		if left := unsurveyed(r.Surveyed()); len(left) > 0 {
			return fmt.Errorf("op.Survey leaves out %s", strings.Join(left, ", "))
		}
	}
	// The device is not closed: a shim's driver may not survive that.
	return json.NewEncoder(to).Encode(compiled{d.Info.Name, d.Info.Driver + " " + d.Info.DriverVersion, d.Reports()})
}

// unsurveyed are the kernels that GPUs may run and a survey did not meet: all but those for CPU drivers, those that measure a device, and those that
// need cooperative matrices, which not every GPU has. f16 and bf16 often have the same code.
func unsurveyed(met []string) (left []string) {
	seen := map[string]bool{}
	for _, name := range met {
		seen[shaders.SPIRV(name)] = true
	}
	for _, v := range shaders.Variants() {
		other := strings.Contains(v.Name, "_cpu") || strings.Contains(v.Name, "_texels") || strings.HasPrefix(v.Name, "bench_")
		for _, part := range []string{"_coopmat", "tohalf", "halfrows"} {
			other = other || strings.Contains(v.Name, part)
		}
		if !other && !seen[shaders.SPIRV(v.Name)] {
			left = append(left, v.Name)
		}
	}
	return left
}

// survey compiles for a family in a process of its own, and reads what came of it.
func (f family) survey(ctx context.Context, self string, s settings) (*Table, error) {
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(s.drivers, "gpu"), f.Shim, self, "-one",
		"-spirv", s.spirv, "-spec", s.spec, "-bindings", strconv.Itoa(s.bindings), "-subgroup", strconv.Itoa(s.subgroup))
	cmd.Env = append(os.Environ(), "radv_cooperative_matrix2_nv=true") // what NVIDIA's own driver offers too, and RADV when asked
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(problems.String()), "\n")
		return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	var c compiled
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		return nil, err
	}
	t := &Table{Family: f.Name, What: f.What, Device: c.Device, Driver: c.Driver}
	for _, r := range c.Reports {
		if s.pick != nil && !s.pick.MatchString(r.Kernel) {
			continue
		}
		k := f.dialect.kernel(r)
		t.Kernels = append(t.Kernels, k)
		if s.code == "" {
			continue
		}
		for _, part := range r.Code {
			name := strings.ReplaceAll(fmt.Sprintf("%s.%s.%s", f.Name, k.name(), part.Name), "/", "_")
			if err := os.MkdirAll(s.code, 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(s.code, strings.ReplaceAll(name, " ", "_")), []byte(part.Text), 0o644); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}
