package main

import (
	"cmp"
	"errors"
	"fmt"
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
		{"ir3", ir3, "mov.f32f32 r0.x, c0.x\n:l3:\n(sy)(rpt1)mad.f32 r0.x, r0.y, r0.z, r0.x\n(ss)nop\n(rpt2)nop\nldl.u32 r1.x, l[r2.x], 1\nisam.v.base0 (f32)(xyzw)r1.x, r2.x, s#0, t#0\nisam.v.base0 (u32)(xy)r1.x, r2.x, s#0, t#0\nisam.v.base0 (u32)(x)r1.x, r2.x, s#0, t#0\n(sy)add.u r0.x, r0.y, 1\nbr p0.x, #l3\nend\n",
			[]Loop{{Instructions: 7, FMA: 1, Branches: 1, Waits: 1, Loads128: 1, Loads64: 1, Loads32: 1, Shared: 1}}},
		{"nak", nak, "block.u 0 L2 [] -> {\n      b0      = bclear       // delay=1\n      r12..16 = ld.global.a64.constant.b128 [r8..10], pT // delay=1 wr:1\n} -> [3]\nblock 1 L4 [3, 2] -> {\n" +
			"      r0..4     = hmma.m16n8k16.f32 r1..2 r3..4 r0..4 // delay=15 wt=010100 wr:2\n      nop // delay=1\n      r8 p1   = iadd3 r8 c[0x1][0x70] rZ // delay=4\n      r9 = ffma r1 r2 r3 // delay=4\n" +
			"      r10..12 = ld.global.b64 [r8..10], pT // delay=1 wr:1\n@!p0            bra pT L17 // delay=1\n} -> [2, 4]\nblock 2 L5 [1] -> {\n      r1 = mov r2 // delay=1 wt=000001\n      st.shared.strong.cta.b128 [r5.x16] r16..20 // delay=1\n" +
			"      r3..4 = ldsm.16.m8n8.x4 [r5.x16] // delay=1\n      st.local.b32 [r1] r2 // delay=1\n} -> [1]\nblock.u 3 L6 [0] -> {\n      r1 = mov r2 // delay=1\n} -> [1]\nblock 4 L7 [1] -> {\n      exit // delay=1\n} -> []\n",
			[]Loop{{Instructions: 9, Matrix: 1, FMA: 1, Branches: 1, Waits: 1, Loads64: 1, Shared: 2, Scratch: 1}}},
		{"brw", brw, "mov(16)         g91<1>UD        0x00000000UD                    { align1 1H compacted };\n\nLABEL1:\ncmp.ge.f0.0(16) null<1>UD       g123<8,8,1>UD   g90<0,1,0>UD    { align1 1H I@2 };\n" +
			"(+f0.0) break(16) JIP:  LABEL0        UIP:  LABEL0              { align1 1H };\n" +
			"send(16)        g33UD           g76UD           nullUD          0x62403500                0x03000000\n                ugm MsgDesc: ( load, a32, d32, V4, L1STATE_L3MOCS dst_len = 4 bti )  BTI 3  base_offset 0  { align1 1H I@2 $7 };\n" +
			"send(16)        g34UD           g76UD           nullUD          0x62403500                0x03000000\n                ugm MsgDesc: ( load, a32, d32, V1, L1STATE_L3MOCS dst_len = 1 bti )  BTI 3  base_offset 0  { align1 1H I@2 $8 };\n" +
			"send(1)         g35UD           g124UD          nullUD          0x0210d580                0x00000000\n                ugm MsgDesc: ( load, a64, d32, V16, transpose, L1STATE_L3MOCS dst_len = 1 flat )  base_offset 0  { align1 WE_all 1N I@3 $0 };\n" +
			"send(16)        g7UD            g5UD            nullUD          0x02100500                0x002a0000\n                slm MsgDesc: ( load, a32, d32, V2, L1STATE_L3MOCS dst_len = 2 flat )  base_offset 672  { align1 1H $6 };\n" +
			"send(1)         g9UD            g5UD            nullUD          0x0210011f                0x00000000\n                slm MsgDesc: ( fence, a32, threadgroup, none, normal_routing dst_len = 1 flat )  { align1 WE_all 1N $9 };\n" +
			"sync nop(1)                     null<0,1,0>UB                   { align1 WE_all 1N $6.dst };\nmad(16)         g1<1>F          g2<1,1,0>F      g3<1,1,0>F      g4<1,1,0>F { align1 1H F@1 };\nmad(16)         g1<1>UD         g2<1,1,0>UD     g3<1,1,0>UW     0x0004UW { align1 1H };\n" +
			"dpas.8x8(16)    g41<1>F         g1<1,1,0>F      g33<1,1,0>HF    g49<1,1,0>HF { align1 WE_all 1H $8 };\n(+f0.0) sel(16) g37<1>UD        g33<8,8,1>UD    0x00000000UD    { align1 1H $7.dst };\n(+f0.0) if(16)  JIP:  LABEL2          UIP:  LABEL2              { align1 1H };\n" +
			"math inv(16)    g12<1>F         g11<0,1,0>F     null<8,8,1>F    { align1 WE_all 1H F@1 };\n\nLABEL2:\nendif(16)       JIP:  LABEL0                                    { align1 1H };\n\nLABEL0:\nwhile(16)       JIP:  LABEL1                                    { align1 1H };\nadd(16)         g1<1>D          g2<0,1,0>D      1D              { align1 1H };\n",
			[]Loop{{Instructions: 16, Matrix: 1, FMA: 1, Branches: 3, Waits: 2, Loads128: 1, Loads32: 1, Shared: 1}}},
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
	// A row kernel's rows are made of fours, and its loop loads four bytes: BY_FOUR is the constant 3 of rmsnorm_f32.
	narrow := report("rmsnorm_f32", 24, 0, "BB0:\n\tglobal_load_dword v1, v2, off\n\ts_branch BB0\n")
	for four, want := range []string{"", "navi21: rmsnorm_f32-64-0-0-1-w32: its loop has 1 loads of 4 bytes, where four elements of a row make 16"} {
		narrow.Spec = []uint32{64, 0, 0, uint32(four)}
		if bad := f.compare(table(narrow), dir); fmt.Sprint(errors.Join(bad...)) != cmp.Or(want, "<nil>") {
			t.Errorf("loads of four bytes, BY_FOUR %d: %v, want %q", four, bad, want)
		}
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

// TestSource reads a shader from elsewhere and its constants, and refuses what is none.
func TestSource(t *testing.T) {
	s := settings{spirv: filepath.Join(t.TempDir(), "mul.spv"), spec: "128,0,4294967295", bindings: 3, subgroup: 32}
	if _, err := s.source(); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(s.spirv, []byte("words"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := vk.Source{Name: "mul", SPIRV: "words", Bindings: 3, Subgroup: 32, Spec: []uint32{128, 0, 1<<32 - 1}}
	if got, err := s.source(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, spec := range []string{"1,x", "-1", "4294967296"} {
		s.spec = spec
		if _, err := s.source(); err == nil || !strings.Contains(err.Error(), "-spec") {
			t.Errorf("%q: %v", spec, err)
		}
	}
}
