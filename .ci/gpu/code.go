package main

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/vk"
)

// Loop is what one turn of a loop holds, as its code stands: what branches leave out is counted as well.
type Loop struct {
	Instructions int `json:"n"`
	Matrix       int `json:"matrix,omitempty"`   // matrix multiplications
	FMA          int `json:"fma,omitempty"`      // multiply-adds of f32 or f16; packed and dual ones count as two
	Branches     int `json:"branches,omitempty"` // the loop's own included
	Waits        int `json:"waits,omitempty"`    // for memory, as instructions of their own or marks on others
	Serial       int `json:"serial,omitempty"`   // loads from global memory that a wait for all before them follows at once
	Loads128     int `json:"ld128,omitempty"`    // from global memory, bits of a lane
	Loads64      int `json:"ld64,omitempty"`
	Loads32      int `json:"ld32,omitempty"` // and narrower
	Shared       int `json:"shared,omitempty"`
	Scratch      int `json:"scratch,omitempty"`
}

func (l Loop) math() int { return l.Matrix + l.FMA }

// class is what an instruction is to a Loop.
type class int

const (
	other class = iota
	matrix
	fma
	fma2
	branch
	wait
	waitAll
	load128
	load64
	load32
	shared
	scratch
	hint // no work: not counted
)

// dialect is how a driver's compiler prints code and names what it counts.
type dialect struct {
	code string // the form of code that is read; "": none is
	// label gives the name of a block that a line begins, and instruction what a line does: its name, and the rest. Where a block goes on to is said by
	// its branches' rest, which has targets, and the next block follows; or, with successors, by a line at its end that lists them all.
	label, instruction, target, successors *regexp.Regexp
	jump, stop                             string // a branch that is always taken, and the end of the program
	class                                  func(op, rest string) class

	// The driver's names of statistics; what has none is 0.
	registers, waves, instructions string
	spills                         []string // added up: to memory
	more                           []string // kept by these names
}

// aco is AMD's, by RADV.
var aco = dialect{
	code: "Assembly", label: regexp.MustCompile(`^(BB\d+):`), instruction: regexp.MustCompile(`^\s+([a-z]\w+)([^;]*)`), target: regexp.MustCompile(`\bBB\d+\b`), jump: "s_branch", stop: "s_endpgm",
	class: func(op, rest string) class {
		width := func() class {
			switch {
			case strings.Contains(op, "_b128") || strings.Contains(op, "dwordx4"):
				return load128
			case strings.Contains(op, "_b64") || strings.Contains(op, "dwordx2"):
				return load64
			}
			return load32
		}
		has := func(prefixes ...string) bool {
			for _, p := range prefixes {
				if strings.HasPrefix(op, p) {
					return true
				}
			}
			return false
		}
		switch {
		case has("v_wmma", "v_swmma"):
			return matrix
		case has("v_pk_fma", "v_dot", "v_dual_fmac", "v_dual_fmaa", "v_dual_fmam"):
			return fma2
		case has("v_fma", "v_mac", "v_mad_f", "v_mad_mix") && !strings.Contains(op, "64") && !strings.Contains(op, "u32") && !strings.Contains(op, "i32"):
			return fma
		case has("s_waitcnt_vmcnt", "s_wait_loadcnt") || has("s_waitcnt") && strings.Contains(rest, "vmcnt(0)"):
			if has("s_wait_loadcnt") && !strings.HasSuffix(strings.TrimSpace(rest), "0x0") && strings.TrimSpace(rest) != "0" {
				return wait
			}
			return waitAll
		case has("s_waitcnt", "s_wait_"):
			return wait
		case has("s_delay", "s_clause", "s_nop"):
			return hint
		case has("s_cbranch", "s_branch"):
			return branch
		case has("buffer_load", "global_load"):
			return width()
		case has("ds_"):
			return shared
		case has("scratch_"):
			return scratch
		}
		return other
	},
	registers: "VGPRs", waves: "Subgroups per SIMD", instructions: "Instructions", spills: []string{"Spilled VGPRs", "Scratch size"},
	more: []string{"Spilled SGPRs", "LDS size", "Latency", "Inverse Throughput"},
}

// nak is NVIDIA's, by NVK. Its waits are marks on instructions.
var nak = dialect{
	code: "NAK assembly", label: regexp.MustCompile(`^block(?:\.u)? (\d+) `), instruction: regexp.MustCompile(`^(?:@\S+)?\s+(?:[^/]*= )?([a-z][a-z0-9]*(?:\.\S+)?)(?: (.*)| *)$`),
	successors: regexp.MustCompile(`^\} -> \[(.*)\]`), target: regexp.MustCompile(`\d+`),
	class: func(op, rest string) class {
		name, _, _ := strings.Cut(op, ".")
		switch {
		case strings.HasSuffix(name, "mma"):
			return matrix
		case name == "ffma":
			return fma
		case name == "hfma2":
			return fma2
		case name == "bra":
			return branch
		case name == "nop":
			return hint
		case strings.HasPrefix(op, "ld.global"):
			switch {
			case strings.Contains(op, ".b128"):
				return load128
			case strings.Contains(op, ".b64"):
				return load64
			}
			return load32
		case strings.HasPrefix(op, "ld.shared"), strings.HasPrefix(op, "st.shared"), name == "ldsm":
			return shared
		case strings.HasPrefix(op, "ld.local"), strings.HasPrefix(op, "st.local"):
			return scratch
		case strings.Contains(rest, " wt="):
			return wait
		}
		return other
	},
	registers: "Number of GPRs", waves: "Max warps/SM", instructions: "Instruction count", spills: []string{"Spills to memory", "SLM size"},
	more: []string{"Spills to reg", "Static cycle count"},
}

// irComponents are those of 32 bits that a load of Adreno's writes.
var irComponents = regexp.MustCompile(`\(([xyzw]+)\)`)

// ir3 is Adreno's, by Turnip. Its waits are marks on instructions.
var ir3 = dialect{
	code: "IR3 Assembly", label: regexp.MustCompile(`^:?(l\d+):`), instruction: regexp.MustCompile(`^((?:\([a-z0-9]+\))*[a-z][\w.]*)(.*)`), target: regexp.MustCompile(`#(l\d+)\b`), jump: "jump", stop: "end",
	class: func(op, rest string) class {
		marked := strings.Contains(op, "(sy)")
		if at := strings.LastIndex(op, ")"); at >= 0 {
			op = op[at+1:]
		}
		switch name, _, _ := strings.Cut(op, "."); {
		case name == "nop":
			return hint
		case name == "br" || name == "jump":
			return branch
		case strings.HasPrefix(op, "mad.f"):
			return fma
		case name == "isam" || name == "ldib" || name == "ldg":
			written := irComponents.FindStringSubmatch(rest)
			switch {
			case strings.HasSuffix(op, ".4") || len(written) > 1 && len(written[1]) == 4:
				return load128
			case strings.HasSuffix(op, ".2") || len(written) > 1 && len(written[1]) == 2:
				return load64
			}
			return load32
		case name == "ldl" || name == "stl" || name == "ldlw" || name == "stlw":
			return shared
		case name == "ldp" || name == "stp":
			return scratch
		case marked:
			return wait
		}
		return other
	},
	registers: "Registers used", waves: "Max Waves Per Core", instructions: "Instruction Count", spills: []string{"STP Count", "LDP Count"},
	more: []string{"NOPs Count"},
}

// agx is Apple's, by Honeykrisp, which hands out no code.
var agx = dialect{registers: "GPRs", waves: "Threads", instructions: "Instructions", spills: []string{"Spills", "Fills", "Scratch"}}

// brw is Intel's, by ANV. What a send does stands in a line of its own below it, which is counted in its place; waits are instructions or marks on others.
// A thread's registers are its own, eight threads a vector engine whatever they hold, so that there is no figure of waves.
var brw = dialect{
	code: "GEN Assembly", label: regexp.MustCompile(`^(LABEL\d+):`), instruction: regexp.MustCompile(`^(?:\([^)]*\) *|\s+)?([a-z][\w.]*)(?: \w+)*(?:\(\d+\)| MsgDesc:)\s*(.*)`), target: regexp.MustCompile(`\bLABEL\d+\b`),
	class: func(op, rest string) class {
		switch name, _, _ := strings.Cut(op, "."); {
		case name == "send" || name == "sendc":
			return hint
		case name == "dpas":
			return matrix
		case name == "mad" && floats.MatchString(rest):
			return fma
		case name == "if" || name == "else" || name == "break" || name == "while" || name == "jmpi":
			return branch
		case op == "ugm" && strings.Contains(rest, " load,") && !strings.Contains(rest, " transpose,"): // the latter is for one lane
			switch {
			case strings.Contains(rest, " d32, V4,"):
				return load128
			case strings.Contains(rest, " d32, V2,"):
				return load64
			}
			return load32
		case op == "slm" && !strings.Contains(rest, " fence,"):
			return shared
		case name == "sync" || waited.MatchString(rest):
			return wait
		}
		return other
	},
	registers: "Max live registers", instructions: "Instructions", spills: []string{"Spills", "Fills", "Scratch Memory Size"},
	more: []string{"SENDs", "Cycles"},
}

// floats is of an instruction that gives floats, waited of one that waits for what a send writes.
var floats, waited = regexp.MustCompile(`^g[\d.]+<\d+>H?F\b`), regexp.MustCompile(`\$\d+\.dst\b`)

// kernel is what is kept of a report.
func (d dialect) kernel(r vk.Report) Kernel {
	k := Kernel{Kernel: r.Kernel, Spec: r.Spec, Subgroup: r.Subgroup, Shared: r.Shared}
	k.Registers, k.Waves, k.Instructions = int(r.Statistics[d.registers]), int(r.Statistics[d.waves]), int(r.Statistics[d.instructions])
	for _, name := range d.spills {
		k.Spills += int(r.Statistics[name])
	}
	for _, name := range d.more {
		if v, ok := r.Statistics[name]; ok && v != 0 {
			if k.More == nil {
				k.More = map[string]float64{}
			}
			k.More[name] = v
		}
	}
	for _, c := range r.Code {
		if d.code != "" && c.Name == d.code {
			k.Loop = hot(d.loops(c.Text))
		}
	}
	return k
}

// block is a run of instructions from a label, or from behind a branch, to the next.
type block struct {
	loop    Loop
	targets []string // labels of blocks that may follow
	ends    bool     // none but those: the next in the code does not follow
	next    []int    // numbers of these blocks
	before  []int    // of those that it may follow
}

// blocks reads code.
func (d dialect) blocks(text string) []block {
	blocks := []block{{}}
	at := map[string]int{}
	open := false // a load was not waited for yet
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := d.label.FindStringSubmatch(line); m != nil {
			at[m[1]] = len(blocks)
			blocks = append(blocks, block{})
			continue
		}
		b := &blocks[len(blocks)-1]
		if d.successors != nil {
			if m := d.successors.FindStringSubmatch(line); m != nil {
				b.ends, b.targets = true, d.target.FindAllString(m[1], -1)
				continue
			}
		}
		m := d.instruction.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c := d.class(m[1], m[2])
		open = b.loop.count(c, open)
		b.ends = b.ends || d.successors == nil && (m[1] == d.jump || m[1] == d.stop)
		if c == branch && d.successors == nil {
			for _, t := range d.target.FindAllStringSubmatch(m[2], -1) {
				b.targets = append(b.targets, t[len(t)-1])
			}
			blocks = append(blocks, block{})
		}
	}
	for i := range blocks {
		b := &blocks[i]
		for _, t := range b.targets {
			if to, ok := at[t]; ok {
				b.next = append(b.next, to)
			}
		}
		if !b.ends && i+1 < len(blocks) {
			b.next = append(b.next, i+1)
		}
		for _, to := range b.next {
			blocks[to].before = append(blocks[to].before, i)
		}
	}
	return blocks
}

// loops are those of a code that hold no other, with what they hold: the blocks on the ways from one that is gone back to, to what goes back.
func (d dialect) loops(text string) (list []Loop) {
	blocks := d.blocks(text)
	bodies := map[int]map[int]bool{} // by the loop's first block
	const onWay, left = 1, 2
	state := make([]int, len(blocks))
	var walk func(i int)
	walk = func(i int) {
		state[i] = onWay
		for _, to := range blocks[i].next {
			switch state[to] {
			case 0:
				walk(to)
			case onWay: // back to the head of a loop: what comes from there to here is its body
				body := bodies[to]
				if body == nil {
					body = map[int]bool{to: true}
					bodies[to] = body
				}
				for rest := []int{i}; len(rest) > 0; {
					j := rest[len(rest)-1]
					rest = rest[:len(rest)-1]
					if !body[j] {
						body[j] = true
						rest = append(rest, blocks[j].before...)
					}
				}
			}
		}
		state[i] = left
	}
	walk(0)
	for _, head := range slices.Sorted(maps.Keys(bodies)) {
		body, inner := bodies[head], true
		for other := range bodies {
			inner = inner && (other == head || !body[other])
		}
		if !inner {
			continue
		}
		var l Loop
		for i := range body {
			l.add(blocks[i].loop)
		}
		list = append(list, l)
	}
	return list
}

// count counts an instruction. open says whether a load before it was not waited for yet, what is given whether one was after it.
func (l *Loop) count(c class, open bool) bool {
	if c != hint {
		l.Instructions++
	}
	switch c {
	case matrix:
		l.Matrix++
	case fma:
		l.FMA++
	case fma2:
		l.FMA += 2
	case branch:
		l.Branches++
	case wait:
		l.Waits++
	case waitAll:
		l.Waits++
		if open {
			l.Serial++
		}
		return false
	case load128:
		l.Loads128++
		return true
	case load64:
		l.Loads64++
		return true
	case load32:
		l.Loads32++
		return true
	case shared:
		l.Shared++
	case scratch:
		l.Scratch++
	}
	return open
}

func (l *Loop) add(o Loop) {
	l.Instructions += o.Instructions
	l.Matrix += o.Matrix
	l.FMA += o.FMA
	l.Branches += o.Branches
	l.Waits += o.Waits
	l.Serial += o.Serial
	l.Loads128 += o.Loads128
	l.Loads64 += o.Loads64
	l.Loads32 += o.Loads32
	l.Shared += o.Shared
	l.Scratch += o.Scratch
}

// hot is the loop with most matrix multiplications, of equals with most arithmetic, of equals the longest; nil if there is none.
func hot(list []Loop) *Loop {
	if len(list) == 0 {
		return nil
	}
	best := slices.MaxFunc(list, func(a, b Loop) int {
		return cmp.Or(cmp.Compare(a.Matrix, b.Matrix), cmp.Compare(a.math(), b.math()), cmp.Compare(a.Instructions, b.Instructions))
	})
	return &best
}
