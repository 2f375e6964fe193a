package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
)

// TestLoops counts loops that were written by hand, with a loop around the hot one, a branch within, and instructions behind.
func TestLoops(t *testing.T) {
	for _, c := range []struct {
		name    string
		dialect dialect
		text    string
		want    []Loop
	}{
		{"aco", aco, "BB0:\n\ts_mov_b32 s1, 0   ; be810080\nBB1:\n\tv_mov_b32_e32 v1, 0\nBB2:\n\tbuffer_load_b128 v[0:3], v4, s[0:3], 0 offen ; x\n\ts_waitcnt vmcnt(0)\n\ts_cbranch_execz BB3\n\tglobal_load_b64 v[4:5], v6, off\n" +
			"BB3:\n\ts_delay_alu instid0(VALU_DEP_1)\n\tds_load_b64 v[1:2], v0\n\ts_waitcnt lgkmcnt(0)\n\tv_fmac_f32_e32 v1, v2, v3\n\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_mov_b32 v5, v6\n\tv_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]\n\ts_waitcnt vmcnt(1) lgkmcnt(0)\n\tbuffer_load_b32 v9, v4, s[0:3], 0\n" +
			"\ts_cbranch_scc1 BB2 ; again\nBB4:\n\tv_add_u32 v1, v1, v2\n\ts_cbranch_scc0 BB1\nBB5:\n\ts_endpgm\n",
			[]Loop{{Instructions: 12, Matrix: 1, FMA: 3, Branches: 2, Waits: 3, Serial: 1, Loads128: 1, Loads64: 1, Loads32: 1, Shared: 1}}},
		{"rdna 4 waits", aco, "BB0:\n\tglobal_load_b128 v[0:3], v[4:5], off\n\ts_wait_loadcnt 0x1\n\ts_wait_loadcnt 0x0\n\tscratch_load_b32 v1, off\n\ts_branch BB0\n",
			[]Loop{{Instructions: 5, Branches: 1, Waits: 2, Serial: 1, Loads128: 1, Scratch: 1}}},
		{"ir3", ir3, "mov.f32f32 r0.x, c0.x\n:l3:\n(sy)(rpt1)mad.f32 r0.x, r0.y, r0.z, r0.x\n(ss)nop\n(rpt2)nop\nldl.u32 r1.x, l[r2.x], 1\nisam.v.base0 (f32)(xyzw)r1.x, r2.x, s#0, t#0\n(sy)add.u r0.x, r0.y, 1\nbr p0.x, #l3\nend\n",
			[]Loop{{Instructions: 5, FMA: 1, Branches: 1, Waits: 1, Loads32: 1, Shared: 1}}},
		{"nak", nak, "block.u 0 L2 [] -> {\n      b0      = bclear       // delay=1\n      r12..16 = ld.global.a64.constant.b128 [r8..10], pT // delay=1 wr:1\n} -> [3]\nblock 1 L4 [3, 2] -> {\n" +
			"      r0..4     = hmma.m16n8k16.f32 r1..2 r3..4 r0..4 // delay=15 wt=010100 wr:2\n      nop // delay=1\n      r8 p1   = iadd3 r8 c[0x1][0x70] rZ // delay=4\n      r9 = ffma r1 r2 r3 // delay=4\n" +
			"      r10..12 = ld.global.b64 [r8..10], pT // delay=1 wr:1\n@!p0            bra pT L17 // delay=1\n} -> [2, 4]\nblock 2 L5 [1] -> {\n      r1 = mov r2 // delay=1 wt=000001\n      st.shared.strong.cta.b128 [r5.x16] r16..20 // delay=1\n" +
			"      r3..4 = ldsm.16.m8n8.x4 [r5.x16] // delay=1\n      st.local.b32 [r1] r2 // delay=1\n} -> [1]\nblock.u 3 L6 [0] -> {\n      r1 = mov r2 // delay=1\n} -> [1]\nblock 4 L7 [1] -> {\n      exit // delay=1\n} -> []\n",
			[]Loop{{Instructions: 9, Matrix: 1, FMA: 1, Branches: 1, Waits: 1, Loads64: 1, Shared: 2, Scratch: 1}}},
		{"a block outside that stands within", aco, "BB0:\n\ts_nop 0\nBB1:\n\tv_mov_b32_e32 v1, 0\n\ts_cbranch_scc0 BB3\n\ts_branch BB4\nBB2:\n\tv_mov_b32_e32 v2, 0\n\ts_endpgm\nBB3:\n\ts_branch BB2\nBB4:\n\ts_cbranch_scc1 BB1\n",
			[]Loop{{Instructions: 4, Branches: 3}}},
	} {
		if got := c.dialect.loops(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestUnsurveyed has kernels missing that were not met, and none that GPUs do not run.
func TestUnsurveyed(t *testing.T) {
	if left := unsurveyed(nil); !slices.Contains(left, "linear_f32") || slices.Contains(left, "linear_cpu_f32") || slices.Contains(left, "relu_texels") {
		t.Errorf("of nothing met: %v", left)
	}
	if left := unsurveyed([]string{"linear_f32"}); slices.Contains(left, "linear_f32") || !slices.Contains(left, "linear_f16") {
		t.Errorf("of linear_f32 met: %v", left)
	}
}

// TestCheck has a table refuse what spills, what lost its loop, and what got longer for its arithmetic, and take what did not.
func TestCheck(t *testing.T) {
	report := func(name string, vgprs, spilled float64, text string) vk.Report {
		return vk.Report{Kernel: name, Spec: []uint32{64}, Subgroup: 32, Statistics: map[string]float64{"VGPRs": vgprs, "Spilled VGPRs": spilled, "Subgroups per SIMD": 8}, Code: []vk.Code{{Name: "Assembly", Text: text}}}
	}
	loop := func(fmas, others int) string {
		return "BB0:\n" + strings.Repeat("\tv_fmac_f32_e32 v1, v2, v3\n", fmas) + strings.Repeat("\tv_mov_b32 v1, v2\n", others) + "\ts_branch BB0\n"
	}
	f := families[1]
	table := func(reports ...vk.Report) *Table {
		made := &Table{Family: f.Name, Driver: "radv"}
		for _, r := range reports {
			made.Kernels = append(made.Kernels, f.dialect.kernel(r))
		}
		return made
	}
	dir := t.TempDir()
	if bad := f.compare(table(), dir); len(bad) != 1 || !strings.Contains(bad[0].Error(), "make gpu-report") {
		t.Errorf("without a table: %v", bad)
	}
	if err := table(report("a", 96, 0, loop(64, 15)), report("b", 96, 0, loop(64, 15)), report("c", 96, 0, loop(64, 15)), report("d", 96, 3, loop(64, 15))).write(filepath.Join(dir, f.Name+".json")); err != nil {
		t.Fatal(err)
	}
	bad := f.compare(table(report("a", 96, 1, loop(64, 15)), report("b", 96, 0, "BB0:\n\ts_endpgm\n"), report("c", 96, 0, loop(64, 21)), report("d", 96, 3, loop(64, 18)), report("new", 96, 0, "")), dir)
	var text []string
	for _, err := range bad {
		text = append(text, err.Error())
	}
	want := []string{"navi21: a-64-w32 spills: 1, the table has 0", "navi21: b-64-w32 has no loop any more, the table has one of 80 instructions", "navi21: c-64-w32: its loop has 86 instructions of which 64 are arithmetic, the table 80 and 64"}
	if !reflect.DeepEqual(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := summarise(dir, readme); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(readme)
	if err != nil || !strings.HasPrefix(string(raw), "before\n"+begin) || !strings.HasSuffix(string(raw), end+"after\n") || !strings.Contains(string(raw), "`navi21` | radv | 4 | 1 |") || strings.Contains(string(raw), "old") {
		t.Errorf("%v: %s", err, raw)
	}
}
