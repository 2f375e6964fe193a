package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

// unlike gives numbers that do not repeat.
type unlike struct{ n int }

func (u *unlike) next() float64 {
	u.n++
	return 1e-3 * float64(1000+u.n*7)
}

// lineage is one of many layers, merged or dropped to fewer, with a number of its own wherever one can be.
func lineage(layers, target int, u *unlike) *prune.Lineage {
	l := &prune.Lineage{Version: "0.1.0", Method: "come", OriginalLayers: layers, Source: prune.Source{SHA256: "feed", Layers: layers},
		Options:     prune.Record{TargetLayers: target, Protect: []int{0, layers - 1}, Method: json.RawMessage(`{"psu":1.25,"norm":"ratio"}`)},
		Calibration: &prune.Calibration{Windows: 61, Window: 509, Seed: 77, Source: "some text"}, Device: prune.Device{Name: "a device", Driver: "d", DriverVersion: "1.2", Tier: "fp16"},
		LayerPasses: &prune.Passes{Done: 12.25, Saved: 87.75, Full: 100}}
	var tree []method.Tree
	for i := range layers {
		tree = append(tree, method.Tree{Layer: i})
	}
	scores := func(n int) (s method.Scores) {
		for range n {
			s = append(s, u.next())
		}
		return s
	}
	for n := layers; n > target; n-- {
		at := n / 2
		s := &method.Step{From: n, To: n - 1, BI: scores(n), SBI: scores(n - 1)}
		if n%3 == 0 {
			s.Operation, s.DropList, s.Layers, s.Scale = method.Removal, []int{at}, []method.Tree{tree[at]}, u.next()
			tree = append(tree[:at:at], tree[at+1:]...)
		} else {
			ratio := float64(n) / float64(3*layers)
			s.Operation, s.MergeList, s.Ratio, s.Layers = method.Concat, []int{at, at + 1}, []float64{ratio, 1 - ratio}, []method.Tree{tree[at], tree[at+1]}
			s.Kept = []merge.Kept{{KVHeads: []int{1}, Neurons: make([]int, 17)}, {KVHeads: []int{0, 2}, Neurons: make([]int, 19)}}
			tree = append(append(tree[:at:at], method.Tree{Merged: s.Layers}), tree[at+2:]...)
		}
		s.Refit = []refit.Fit{{Layer: at - 1, Boundary: at, Projection: "mlp.down_proj", Lambda: u.next(), Before: u.next(), After: u.next(), Taken: n%2 == 0}}
		l.Steps = append(l.Steps, s)
	}
	l.Tree = tree
	l.Distill = &prune.DistillRecord{Schedule: prune.DistillAtEnd, Corpus: *l.Calibration}
	for i, g := range distill.Groups(tree, layers) {
		l.Distill.Stages = append(l.Distill.Stages, &distill.Stage{Group: &g, Steps: 211 + i, Done: 211, Tokens: 4099, Before: u.next(), After: u.next(), Best: 199, Ended: "steps"})
	}
	return l
}

// losses are those of the training of a lineage's layers.
func losses(l *prune.Lineage, steps int) (list []distill.Record) {
	for _, s := range l.Distill.Stages {
		for i := range steps {
			loss := 1 / float64(i+1)
			r := distill.Record{Layer: &s.Group.Layer, Step: i + 1, Loss: &loss}
			if i%10 == 9 {
				r.HeldOut = &loss
			}
			list = append(list, r)
		}
	}
	return list
}

// write is the page, which must not be too large, and be the same a second time.
func write(t *testing.T, p Page) []byte {
	t.Helper()
	var one, two bytes.Buffer
	if err := p.Write(&one); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(&two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("written again, the page is another: %v", err)
	}
	if one.Len() > MaxPage {
		t.Errorf("the page has %d bytes", one.Len())
	}
	return one.Bytes()
}

// page is a page that was parsed.
type page struct {
	elements []*html.Node
	words    map[string]bool // of its text
	text     string
}

func parse(t *testing.T, raw []byte) *page {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{words: map[string]bool{}}
	var text strings.Builder
	for n := range root.Descendants() {
		switch {
		case n.Type == html.ElementNode:
			p.elements = append(p.elements, n)
		case n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "style":
			text.WriteString(n.Data + "\n")
		}
	}
	p.text = text.String()
	for _, w := range strings.FieldsFunc(p.text, func(r rune) bool { return strings.ContainsRune(" \n\u00a0,;:()", r) }) {
		p.words[w] = true
	}
	return p
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func (p *page) find(tag string) (list []*html.Node) {
	for _, n := range p.elements {
		if n.Data == tag {
			list = append(list, n)
		}
	}
	return list
}

// sound checks what holds of every page: ids are unique and whatever names one names one that is there, nothing is fetched, no element has a
// style or a script of its own, and the policy has the hashes of the two that there are.
func (p *page) sound(t *testing.T) {
	t.Helper()
	ids := map[string]bool{}
	for _, n := range p.elements {
		if id, ok := attribute(n, "id"); ok {
			if ids[id] || id == "" {
				t.Errorf("id %q is there twice, or empty", id)
			}
			ids[id] = true
		}
	}
	internal := regexp.MustCompile(`^url\(#([^)]*)\)$`)
	for _, n := range p.elements {
		for _, a := range n.Attr {
			names := []string{}
			switch {
			case strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcset":
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			case a.Key == "href":
				if names = append(names, strings.TrimPrefix(a.Val, "#")); a.Val[0] != '#' {
					t.Errorf("<%s> refers to %q", n.Data, a.Val)
				}
			case a.Key == "aria-labelledby" || a.Key == "aria-describedby":
				names = strings.Fields(a.Val)
			case strings.Contains(a.Val, "url("):
				m := internal.FindStringSubmatch(a.Val)
				if m == nil {
					t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
					continue
				}
				names = append(names, m[1])
			}
			for _, name := range names {
				if !ids[name] {
					t.Errorf("<%s> names %q in %s, which is not there", n.Data, name, a.Key)
				}
			}
		}
		if strings.Contains(" link img iframe object embed base form image use foreignobject ", " "+strings.ToLower(n.Data)+" ") {
			t.Errorf("there is a <%s>", n.Data)
		}
		if n.Data == "svg" {
			role, _ := attribute(n, "role")
			label, _ := attribute(n, "aria-labelledby")
			if hidden, _ := attribute(n, "aria-hidden"); hidden != "true" && (role == "" || label == "") {
				t.Errorf("an <svg> has role %q and is labelled by %q", role, label)
			}
		}
	}
	var policy string
	for _, n := range p.find("meta") {
		if name, _ := attribute(n, "http-equiv"); name == "Content-Security-Policy" {
			policy, _ = attribute(n, "content")
		}
	}
	for _, tag := range []string{"style", "script"} {
		list := p.find(tag)
		if len(list) != 1 {
			t.Fatalf("%d <%s>", len(list), tag)
		}
		sum := sha256.Sum256([]byte(list[0].FirstChild.Data))
		if want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) || !strings.HasPrefix(policy, "default-src 'none'; ") {
			t.Errorf("policy %q, expected %s", policy, want)
		}
		if strings.Contains(list[0].FirstChild.Data, "//") && tag == "style" || strings.Contains(list[0].FirstChild.Data, "http") {
			t.Errorf("<%s> has an address", tag)
		}
	}
}

// numbers lists what a lineage measured and chose.
func numbers(l *prune.Lineage) (list []float64) {
	for _, s := range l.Steps {
		list = append(append(append(append(append(append(list, s.BI...), s.SBI...), s.Losses...), s.Scores...), s.Ratio...), s.Scale, float64(s.From), float64(s.To))
		for _, i := range append(s.MergeList, s.DropList...) {
			list = append(list, float64(i))
		}
		for _, f := range s.Refit {
			list = append(list, float64(f.Layer), float64(f.Boundary), f.Lambda, f.Before, f.After)
		}
		for _, k := range s.Kept {
			list = append(list, float64(len(k.KVHeads)), float64(len(k.Neurons)))
		}
	}
	for _, s := range l.Distill.Stages {
		list = append(list, float64(s.Group.Layer), float64(s.Group.First), float64(s.Group.Last), float64(s.Steps), float64(s.Done), float64(s.Tokens), s.Before, s.After, float64(s.Best))
	}
	return append(list, l.LayerPasses.Done, l.LayerPasses.Saved, float64(l.LayerPasses.Full), float64(l.Options.TargetLayers), 1.25, 77, 61, 509)
}

func TestPage(t *testing.T) {
	l := lineage(30, 21, new(unlike))
	p := Page{Runs: []Run{{Command: "vkcome prune a b", Seconds: 61.25, Device: 3 << 20, Host: 5 << 30}},
		Outputs: []Output{{Name: "small", Lineage: l, Losses: losses(l, 211), Files: []WeightFile{{"model.safetensors", 123456789}}}}}
	got := parse(t, write(t, p))
	got.sound(t)
	for _, v := range numbers(l) {
		if v != 0 && !got.words[num(v)] {
			t.Errorf("%v is nowhere in the page", v)
		}
	}
	for _, want := range []string{"Report: small", "prune", "61.3 s", "3.0 MiB", "5.0 GiB", "123456789", "norm ratio, psu 1.25", "a device, d 1.2, fp16", "some text", "0, 29"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%q is nowhere in the page", want)
		}
	}
	if n := len(got.find("figure")); n < 12 {
		t.Errorf("%d figures", n)
	}
	if err := (Page{}).Write(new(bytes.Buffer)); !errors.Is(err, ErrNothing) {
		t.Errorf("an empty page: %v", err)
	}
}

// many is a comparison of a number of methods at some depths.
func many(methods, layers int, depths ...int) *prune.Comparison {
	u := new(unlike)
	c := &prune.Comparison{Version: "0.1.0", Model: "m", Shared: 7.5, Dense: prune.Compared{Method: "dense", Layers: layers, Parameters: 8e9, Bytes: 16e9, Perplexity: 5.5}}
	for _, d := range depths {
		for m := range methods {
			c.Rows = append(c.Rows, prune.Compared{Method: fmt.Sprintf("method-%d", m), Layers: d, Parameters: int64(d) * 1e8, Bytes: int64(d) * 2e8, Sparsity: 1 - float64(d)/float64(layers), Perplexity: u.next() * 10, Seconds: u.next()})
		}
	}
	return c
}

// TestPageLarge: the lineage of a model of 405B parameters fits, with all its scores where those do, and says what it leaves out where not.
func TestPageLarge(t *testing.T) {
	for _, c := range []struct {
		target int
		coarse bool
	}{{116, false}, {10, true}} {
		l := lineage(126, c.target, new(unlike))
		for _, s := range l.Steps {
			if c.coarse { // three kinds of scores, as no method has
				s.Losses = s.BI
			}
		}
		raw := write(t, Page{Outputs: []Output{{Name: "large", Lineage: l, Losses: losses(l, 1000)}}, Comparisons: []*prune.Comparison{many(24, 126, 120, 110, 100, 90, 80)}})
		got := parse(t, raw)
		got.sound(t)
		if is := strings.Contains(got.text, "since this page would be too large"); is != c.coarse {
			t.Errorf("to %d layers, %d bytes: something is left out: %v", c.target, len(raw), is)
		}
		for _, s := range l.Steps {
			for _, r := range s.Ratio {
				if !got.words[num(r)] {
					t.Errorf("ratio %v is nowhere in the page", r)
				}
			}
		}
	}
	tooMuch := Page{}
	for i := range 26 {
		tooMuch.Comparisons = append(tooMuch.Comparisons, many(24, 126, 120-i, 80, 70, 60))
	}
	if err := tooMuch.Write(new(bytes.Buffer)); !errors.Is(err, ErrTooMuch) {
		t.Errorf("26 comparisons: %v", err)
	}
}

// TestPageBounds: what would take hours or all memory to be found too large is refused before.
func TestPageBounds(t *testing.T) {
	deep := lineage(6, 4, new(unlike))
	raw, err := json.Marshal(deep)
	if err != nil {
		t.Fatal(err)
	}
	for range maxLineages {
		next := *deep
		next.Previous = raw
		if raw, err = json.Marshal(next); err != nil {
			t.Fatal(err)
		}
	}
	if deep, err = prune.ParseLineage(raw); err != nil {
		t.Fatal(err)
	}
	wide, scored := lineage(6, 4, new(unlike)), lineage(6, 4, new(unlike))
	wide.OriginalLayers = maxLayers + 1
	scored.Steps[1].Scores = make(method.Scores, maxScores+1)
	for name, p := range map[string]Page{
		"64 times":       {Outputs: []Output{{Lineage: deep}}},
		"1025 layers":    {Outputs: []Output{{Lineage: wide}}},
		"4097 scores":    {Outputs: []Output{{Lineage: scored}}},
		"has no lineage": {Outputs: []Output{{}}},
		"without layers": {Outputs: []Output{{Lineage: &prune.Lineage{}}}},
		"5000 rows":      {Comparisons: []*prune.Comparison{many(5000, 4, 3)}},
		"5000 measure":   {Benches: []*bench.Report{{Results: make([]bench.Result, 5000)}}},
	} {
		if err := p.Write(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const hostile = "</script></title><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload=\"x\u202e\x1b[31m"

// TestPageHostile: names and texts of strangers are text.
func TestPageHostile(t *testing.T) {
	l := lineage(9, 6, new(unlike))
	l.Method, l.Device.Name, l.Calibration.Source, l.Source.SHA256, l.Version = hostile, hostile, hostile, hostile, hostile
	l.Options.Method = json.RawMessage(`{"<script>alert(1)</script>":"<b>"}`)
	l.Steps[0].Norm, l.Steps[0].Refit[0].Projection, l.Distill.Stages[0].Ended = hostile, hostile, hostile
	l.Auto = &prune.AutoRecord{Chosen: hostile, Why: hostile, Trials: []prune.Trial{{Candidate: hostile, Outcome: hostile, Perplexity: 3, Seconds: 1}}}
	c := many(2, 9, 8)
	c.Model, c.Rows[0].Method, c.Device.Name = hostile, hostile, hostile
	c.Rows = append(c.Rows, prune.Compared{Method: hostile, Layers: 7, Error: hostile})
	b := &bench.Report{Device: vk.Info{Name: hostile}, Model: hostile, LeftOut: []string{hostile}, Results: []bench.Result{{Name: hostile, Unit: hostile, Value: 3, Low: 2, High: 4, Fraction: 0.5, Bound: hostile}}}
	r := &eval.Results{ModelName: hostile, Results: map[string]eval.Metrics{hostile: {Values: map[string]float64{"acc,none": 0.5, "acc_stderr,none": 0.1}}}}
	side := &eval.Side{Models: []string{hostile, hostile}, Left: []string{hostile}, Rows: []eval.SideRow{{Task: hostile, Metric: "acc", Higher: true, Values: []eval.Number{0.5, 0.25}, Retained: []eval.Number{1, 0.5}}}}
	raw := write(t, Page{Title: hostile, Runs: []Run{{Command: hostile, Note: hostile, Seconds: 1}}, Outputs: []Output{{Name: hostile, Lineage: l, Files: []WeightFile{{hostile, 1}}}},
		Comparisons: []*prune.Comparison{c}, Benches: []*bench.Report{b, b}, Accuracy: []Accuracy{{[]*eval.Results{r, r}, side}}})
	got := parse(t, raw)
	got.sound(t)
	if bytes.ContainsAny(raw, "\x1b\x00") || bytes.Contains(raw, []byte("\u202e")) {
		t.Error("control characters are in the page")
	}
	if n := strings.Count(got.text, "alert(1)"); n < 30 {
		t.Errorf("the names are %d times in the text", n)
	}
}

// TestPageValues: values that no plot can draw, and equal ones, are left to the tables.
func TestPageValues(t *testing.T) {
	for _, values := range [][]float64{{math.MaxFloat64, -math.MaxFloat64, 1}, {0, 0, 0}, {5e-324, 1, 2}, {math.NaN(), 1, math.NaN()}, {1e14, 1e14 + 0.02, 1e14}, {-3, -3, -3}, {math.NaN(), math.NaN(), math.NaN()}} {
		l := lineage(9, 8, new(unlike))
		l.Steps[0].BI, l.Steps[0].SBI = values, nil
		l.Steps[0].Refit = nil
		for _, v := range values {
			if !math.IsNaN(v) {
				l.Steps[0].Refit = append(l.Steps[0].Refit, refit.Fit{Layer: 1, Before: v, After: v})
			}
		}
		c := many(3, 9, 8, 7)
		for i, v := range values {
			if !math.IsNaN(v) {
				c.Rows[i].Perplexity, c.Rows[i].Seconds = v, v
			}
		}
		raw := write(t, Page{Outputs: []Output{{Name: "x", Lineage: l}}, Comparisons: []*prune.Comparison{c}})
		got := parse(t, raw)
		got.sound(t)
		for _, n := range got.find("path") {
			if d, _ := attribute(n, "d"); strings.Contains(d, "NaN") || strings.Contains(d, "Inf") || strings.Contains(d, "e+") {
				t.Errorf("%v: a path of %.80s", values, d)
			}
		}
	}
}

// TestPageDevices: what was measured on devices stands side by side, and is what bench.Compare says.
func TestPageDevices(t *testing.T) {
	one := func(name string, values ...float64) *bench.Report {
		r := &bench.Report{Schema: bench.Schema, Device: vk.Info{Name: name}}
		for i, v := range values {
			unit := "tokens/s"
			if i == 2 {
				unit = "s"
			}
			r.Results = append(r.Results, bench.Result{Name: "case " + strconv.Itoa(i), Unit: unit, Value: v, Low: 0.9 * v, High: 1.1 * v, Fraction: 0.125 * float64(i), Bound: "memory"})
		}
		return r
	}
	a, b := one("first", 10, 20, 3), one("second", 25, 30, 6, 7.5)
	c, err := bench.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, write(t, Page{Benches: []*bench.Report{a, b}}))
	got.sound(t)
	rows := map[string][]string{}
	for _, tr := range got.find("tr") {
		var cells []string
		for td := range tr.ChildNodes() {
			if text := td.FirstChild; text != nil {
				cells = append(cells, text.Data)
			} else {
				cells = append(cells, "")
			}
		}
		rows[cells[0]] = cells
	}
	for _, r := range c.Rows {
		cells := rows[r.Name]
		if last := strings.TrimSpace(cells[len(cells)-1]); r.Ratios[1] != nil && last != num(*r.Ratios[1]) || r.Ratios[1] == nil && last != "" {
			t.Errorf("%s: %q, expected a ratio of %v", r.Name, cells, r.Ratios[1])
		}
		for _, v := range r.Values {
			if v != nil && !strings.Contains(strings.Join(cells, " "), num(*v)) {
				t.Errorf("%s: %q lacks %v", r.Name, cells, *v)
			}
		}
	}
	if n := len(got.find("svg")); n < 3 {
		t.Errorf("%d pictures", n)
	}
}

// TestPageSizes: models stand by their size, with their speeds and what of the device's memory their weights take; one of unknown size is in the
// table and in no plot, and without models there is neither.
func TestPageSizes(t *testing.T) {
	one := func(device, model string, bytes int64, speeds ...float64) *bench.Report {
		r := &bench.Report{Schema: bench.Schema, Model: model, Device: vk.Info{Name: device, Limits: vk.Limits{DeviceMemory: 8 << 30}}}
		if bytes > 0 {
			r.Details = &bench.ModelInfo{Parameters: bytes / 2, Bytes: bytes}
		}
		for i, v := range speeds {
			r.Results = append(r.Results, bench.Result{Name: []string{"pp512", "tg128"}[i], Unit: "tokens/s", Value: v, Low: v - 1, High: v + 1})
		}
		return r
	}
	got := parse(t, write(t, Page{Benches: []*bench.Report{one("first", "large", 4<<30, 300.25, 20.5), one("first", "small", 1<<30, 900.75, 60.125), one("second", "unsized", 0, 77.5)}}))
	got.sound(t)
	var order []string
	for _, tr := range got.find("tr") {
		var cells []string
		for td := range tr.ChildNodes() {
			text := ""
			if td.FirstChild != nil {
				text = strings.TrimSpace(td.FirstChild.Data)
			}
			cells = append(cells, text)
		}
		switch line := strings.Join(cells, "|"); cells[0] {
		case "unsized":
			order = append(order, cells[0])
			if !strings.Contains(line, "77.5") {
				t.Errorf("%q lacks its speed", line)
			}
		case "small":
			order = append(order, cells[0])
			if !strings.Contains(line, "1.0 GiB") || !strings.Contains(line, "8.0 GiB") || !strings.Contains(line, "12.5 %") || !strings.Contains(line, "60.12") {
				t.Errorf("%q lacks a size, a share or a speed", line)
			}
		case "large":
			order = append(order, cells[0])
			if !strings.Contains(line, "50.0 %") || !strings.Contains(line, "300.2") {
				t.Errorf("%q lacks a share or a speed", line)
			}
		}
	}
	if !slices.Equal(order, []string{"unsized", "small", "large"}) {
		t.Errorf("models stand as %v", order)
	}
	plots := 0
	for _, title := range got.find("figcaption") {
		if title.FirstChild != nil && strings.HasPrefix(title.FirstChild.Data, "Speed by size of the model") {
			plots++
		}
	}
	if plots != 2 {
		t.Errorf("%d plots of two tests", plots)
	}
}
