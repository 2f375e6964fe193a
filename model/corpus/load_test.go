package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/hub/hubtest"
	"github.com/vkcome/vkcome/model/tokenizer"
)

func tiny12(t testing.TB) tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load("../embedded/tiny12")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// words is a text of n words that names a document.
func words(document, n int) string {
	return strings.TrimSpace(strings.Repeat(fmt.Sprint("document ", document, " "), n))
}

// jsonl writes documents as JSON lines.
func jsonl(t testing.TB, dir, name string, texts ...string) string {
	t.Helper()
	var b strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&b, "{\"text\":%q}\n", text)
	}
	return put(t, dir, name, []byte(b.String()))
}

func load(t testing.TB, o Options) *Corpus {
	t.Helper()
	c, err := Load(t.Context(), tiny12(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLoadText: plain files are joined by a blank line and tokenized as one.
func TestLoadText(t *testing.T) {
	tok, dir := tiny12(t), t.TempDir()
	a, b := put(t, dir, "a.txt", []byte(words(1, 40))), put(t, dir, "b.txt", []byte(words(2, 50)))
	tokens := must(Encode(tok, words(1, 40)+"\n\n"+words(2, 50)))
	want, err := Cut(tokens, 16)
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, Options{Sources: []string{a, b}, Window: 16})
	if Hash(c.Windows) != Hash(want) || c.Source != "a.txt, b.txt" || c.Tokens != len(tokens) || c.Documents != 2 {
		t.Errorf("%d windows of %q, %d tokens of %d documents", len(c.Windows), c.Source, c.Tokens, c.Documents)
	}
	if whole := load(t, Options{Sources: []string{a, b}}); len(whole.Windows) != 1 || !slices.Equal(whole.Windows[0], tokens) {
		t.Errorf("a corpus smaller than a window: %d windows", len(whole.Windows))
	}
	if c := load(t, Options{Sources: []string{a, b}, Context: 32}); len(c.Windows[0]) != 32 {
		t.Errorf("windows of %d in a context of 32", len(c.Windows[0]))
	}
}

// TestShuffle: the order is that of SplitMix64's outputs, whatever the way of taking documents.
func TestShuffle(t *testing.T) {
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} { // Vigna's splitmix64.c with seed 1234567
		if got := splitMix64(1234567, uint64(i)); got != want {
			t.Errorf("output %d is %d, want %d", i, got, want)
		}
	}
	dir := t.TempDir()
	const all = 500
	var texts []string
	for i := range all {
		texts = append(texts, words(i, 3+i%9))
	}
	path := jsonl(t, dir, "a.jsonl", texts...)
	byHand := func(seed uint64) []string {
		order := make([]int, all)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			if splitMix64(seed, uint64(a)) < splitMix64(seed, uint64(b)) {
				return -1
			}
			return 1
		})
		out := make([]string, all)
		for i, n := range order {
			out[i] = texts[n]
		}
		return out
	}
	for _, o := range []Options{{Docs: 1}, {Docs: 20}, {Docs: 20, Seed: 9}, {Docs: all + 1}, {Tokens: 64, Window: 8}, {Tokens: 64, Window: 8, Seed: 9}, {}, {Docs: 7, InOrder: true}} {
		o.Sources = []string{path}
		c := newChoice(t.Context(), &o, true)
		if err := read(t.Context(), path, oneField("text"), c); err != nil && !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		got, want := handed(t, c), byHand(o.Seed)
		switch {
		case o.InOrder:
			want = texts[:7]
		case o.Docs > 0:
			want = want[:min(all, o.Docs)]
		case o.Tokens > 0:
			n, size := 0, 0
			for ; size < 64*bytesPerToken; n++ {
				size += len(want[n])
			}
			want = want[:n]
		default:
			want = texts
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d documents, want %d", o, len(got), len(want))
		}
	}
	for o, want := range map[string]Options{
		"a.jsonl; 20 of 500 documents, shuffled by seed 9": {Docs: 20, Seed: 9}, "a.jsonl; the first 7 documents": {Docs: 7, InOrder: true}, "a.jsonl; 500 documents": {},
	} {
		want.Sources, want.Window = []string{path}, 8
		if c := load(t, want); c.Source != o {
			t.Errorf("%q, want %q", c.Source, o)
		}
	}
}

func TestPacking(t *testing.T) {
	tok, dir := tiny12(t), t.TempDir()
	texts := []string{words(1, 9), "", words(2, 30), words(3, 2)}
	path := jsonl(t, dir, "a.jsonl", texts...)
	id, _ := tok.BOS()
	bos := uint32(id)
	plain := func(text string) []uint32 { return must(Encode(tok, text))[1:] } // tiny12 has a BOS in front
	with := func(text string) []uint32 { return append([]uint32{bos}, plain(text)...) }
	joined := strings.Join(texts, "\n\n")
	cut := func(body int, front []uint32, runs ...[]uint32) (out [][]uint32) {
		for _, run := range runs {
			for ; len(run) >= body; run = run[body:] {
				out = append(out, append(slices.Clone(front), run[:body]...))
			}
		}
		return out
	}
	for _, c := range []struct {
		o    Options
		want [][]uint32
	}{
		{Options{}, cut(10, nil, with(joined))},
		{Options{BOS: AlwaysBOS}, cut(10, nil, with(joined))},
		{Options{BOS: NeverBOS}, cut(10, nil, plain(joined))},
		{Options{BOS: WindowBOS}, cut(9, []uint32{bos}, plain(joined))},
		{Options{Pack: Docs}, cut(10, nil, slices.Concat(with(texts[0]), with(texts[2]), with(texts[3])))},
		{Options{Pack: Docs, BOS: NeverBOS}, cut(10, nil, slices.Concat(plain(texts[0]), plain(texts[2]), plain(texts[3])))},
		{Options{NoCross: true}, cut(10, nil, with(texts[0]), with(texts[2]), with(texts[3]))},
		{Options{NoCross: true, BOS: WindowBOS}, cut(9, []uint32{bos}, plain(texts[0]), plain(texts[2]), plain(texts[3]))},
	} {
		c.o.Sources, c.o.Window = []string{path}, 10
		if got := load(t, c.o); fmt.Sprint(got.Windows) != fmt.Sprint(c.want) {
			t.Errorf("%+v:\ngot  %v\nwant %v", c.o, got.Windows, c.want)
		}
	}
	want := cut(10, nil, with(joined))
	for _, w := range want {
		w[0] = bos
	}
	if got := load(t, Options{Sources: []string{path}, Window: 10}.LlamaCpp()); fmt.Sprint(got.Windows) != fmt.Sprint(want) {
		t.Errorf("as llama.cpp:\ngot  %v\nwant %v", got.Windows, want)
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no corpus"},
		{Options{Sources: []string{path}, NoCross: true, Window: 500}, "a.jsonl: no document has the 500 tokens of a window, the longest has"},
		{Options{Sources: []string{path}, Window: 5000}, "one window takes 5000"},
		{Options{Sources: []string{path}, Window: 1}, "window of 1"},
		{Options{Sources: []string{path}, Pack: "x"}, "expected join or docs"},
		{Options{Sources: []string{path}, BOS: "x"}, "expected auto"},
		{Options{Sources: []string{path}, Docs: -1}, "-1 documents"},
		{Options{Sources: []string{path}, Field: "body"}, `line 1: no field "body"`},
		{Options{Sources: []string{"wiki3"}}, "nor a corpus by name (alpaca, c4, mmlu, pg19, wiki2)"},
		{Options{Sources: []string{"owner/set"}, Hub: hub.Hub{Offline: true, Cache: dir}}, "owner/set: no such folder; hub: owner/set is not in "},
		{Options{Sources: []string{"wiki2:best"}}, "it has test, train, validation"},
		{Options{Sources: []string{filepath.Join(dir, "none")}}, "no such file"},
		{Options{Sources: []string{jsonl(t, dir, "empty.jsonl")}, BOS: NeverBOS}, "empty"},
	} {
		if _, err := Load(t.Context(), tok, c.o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, tok, Options{Sources: []string{path}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSources: of several sources as many windows are taken of each, as far as it has them; a text is not one document among the rows of
// another source, which chance takes or not.
func TestSources(t *testing.T) {
	tok, dir := tiny12(t), t.TempDir()
	var rows []string
	for i := range 400 {
		rows = append(rows, words(i, 30))
	}
	table := jsonl(t, dir, "rows.jsonl", rows...)
	text, short := filepath.Join(dir, "text.txt"), filepath.Join(dir, "short.txt")
	for path, data := range map[string]string{text: strings.Repeat("zebra ", 900), short: "zebra"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	zebra := must(Encode(tok, " zebra"))
	mixed := filepath.Join(dir, "mixed")
	if err := os.Mkdir(mixed, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{table, text} {
		if err := os.Symlink(path, filepath.Join(mixed, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	of := func(c *Corpus) (striped, others int) {
		for _, w := range c.Windows {
			if strings.Contains(fmt.Sprint(w), strings.Trim(fmt.Sprint(zebra[1:]), "[]")) {
				striped++
			} else {
				others++
			}
		}
		return striped, others
	}
	for _, c := range []struct {
		o               Options
		striped, others int
		source          string
	}{
		{Options{Sources: []string{text, table}, Windows: 6}, 3, 3, "text.txt (3 windows), rows.jsonl (3 windows); "},
		{Options{Sources: []string{table, text}, Windows: 7}, 3, 4, "rows.jsonl (4 windows), text.txt (3 windows); "},
		{Options{Sources: []string{table, text}, Tokens: 80}, 4, 4, ""},
		{Options{Sources: []string{table, text}, Tokens: 80, Pack: Docs}, 4, 4, ""},
		{Options{Sources: []string{table, text}, Tokens: 80, NoCross: true}, 4, 4, ""},
		{Options{Sources: []string{mixed}, Windows: 6}, 3, 3, "mixed (texts) (3 windows), mixed (rows) (3 windows); "},
		{Options{Sources: []string{text, table}, Windows: 6, Docs: 1, InOrder: true}, 6, 0, "text.txt, rows.jsonl; the first 1 documents"},
	} {
		for seed := range uint64(5) {
			c.o.Seed, c.o.Window = seed, 10
			got := load(t, c.o)
			if striped, others := of(got); striped != c.striped || others != c.others || !strings.HasPrefix(got.Source, c.source) {
				t.Errorf("%+v: %d windows of the text and %d of the rows, expected %d and %d; %s", c.o, striped, others, c.striped, c.others,
					got.Source)
			}
		}
	}
	o := Options{Sources: []string{table, short}, Windows: 6, Window: 10}
	if got := load(t, o); len(got.Windows) != 6 || fmt.Sprint(got.Unused) != "[short.txt]" || !strings.Contains(fmt.Sprint(got.Notes()), "short") {
		t.Errorf("%d windows, unused %q, notes %q", len(got.Windows), got.Unused, got.Notes())
	}
	// Where all is used, sources are read as one text, whose windows may cross their ends.
	joined := load(t, Options{Sources: []string{short, text}, Window: 10})
	if want := must(Encode(tok, "zebra\n\n"+strings.Repeat("zebra ", 900))); fmt.Sprint(joined.Windows[0]) != fmt.Sprint(want[:10]) {
		t.Errorf("the first window is %d, expected %d", joined.Windows[0], want[:10])
	}
}

// TestNulls: rows without a text are left out and counted.
func TestNulls(t *testing.T) {
	dir := t.TempDir()
	type row struct {
		Text *string `parquet:"text,optional"`
	}
	a, b := words(1, 20), words(2, 20)
	lines := put(t, dir, "a.jsonl", fmt.Appendf(nil, "{\"text\":null}\n{\"text\":%q}\n{\"text\":null}\n{\"text\":%q}\n", a, b))
	columns := put(t, dir, "a.parquet", parquetOf(t, []row{{nil}, {&a}, {nil}, {&b}}))
	for _, path := range []string{lines, columns} {
		c := load(t, Options{Sources: []string{path}})
		if want := must(Encode(tiny12(t), a+"\n\n"+b)); !slices.Equal(c.Windows[0], want) || c.Nulls != 2 || !strings.HasSuffix(c.Source, "; 2 documents; 2 null rows left out") || !slices.Equal(c.Notes(), []string{"2 rows without a text (null) were left out"}) {
			t.Errorf("%s: %+v", path, c)
		}
		if c := load(t, Options{Sources: []string{path}, Docs: 1, InOrder: true}); c.Documents != 1 || c.Nulls != 1 || !slices.Equal(c.Windows[0], must(Encode(tiny12(t), a))) {
			t.Errorf("the first of %s: %+v", path, c)
		}
		if c := load(t, Options{Sources: []string{path}, Docs: 3}); c.Documents != 2 {
			t.Errorf("three of %s: %+v", path, c)
		}
	}
	none := put(t, dir, "none.jsonl", []byte("{\"text\":null}\n{\"text\":null}\n"))
	if _, err := Load(t.Context(), tiny12(t), Options{Sources: []string{none}}); err == nil || err.Error() != "none.jsonl: all 2 rows are null" {
		t.Error(err)
	}
	put(t, dir, "splits/train.jsonl", []byte("{\"text\":\"one and two and three\"}"))
	put(t, dir, "splits/more.txt", nil)
	if c := load(t, Options{Sources: []string{filepath.Join(dir, "splits")}}); c.Source != "splits:train; 1 documents" || !slices.Equal(c.Notes(), []string{"1 files were left out, which by their names are in no split: more.txt"}) {
		t.Errorf("%+v, %q", c, c.Notes())
	}
}

// TestPartial: a split of which a file is missing is told.
func TestPartial(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, dir, "set/data/train-00000-of-00003.jsonl", words(1, 20))
	jsonl(t, dir, "set/data/train-00002-of-00003.jsonl", words(1, 20))
	if c := load(t, Options{Sources: []string{filepath.Join(dir, "set")}}); !slices.Equal(c.Notes(), []string{"set:train has 2 of the 3 files that their names count"}) {
		t.Errorf("%q", c.Notes())
	}
	jsonl(t, dir, "set/data/train-00001-of-00003.jsonl", words(1, 20))
	if c := load(t, Options{Sources: []string{filepath.Join(dir, "set")}}); len(c.Notes()) != 0 {
		t.Errorf("%q", c.Notes())
	}
}

type alpacaRow struct {
	Instruction string `parquet:"instruction"`
	Input       string `parquet:"input"`
	Output      string `parquet:"output"`
}

type mmluRow struct {
	Question string   `parquet:"question"`
	Choices  []string `parquet:"choices,list"`
	Answer   int64    `parquet:"answer"`
}

// TestNames reads every known corpus out of a cache made for the test.
func TestNames(t *testing.T) {
	const commit = "b08601e04326c79dfdd32d625aee71d232d685c3"
	cache := t.TempDir()
	text := func(s string) []byte {
		return parquetOf(t, []textRow{{words(1, 20) + s, ""}}, parquet.Compression(&parquet.Snappy))
	}
	files := map[string][]byte{
		"datasets--Salesforce--wikitext/snapshots/" + commit + "/wikitext-2-raw-v1/train-00000-of-00001.parquet":   text("wiki train"),
		"datasets--Salesforce--wikitext/snapshots/" + commit + "/wikitext-2-raw-v1/test-00000-of-00001.parquet":    text("wiki test"),
		"datasets--Salesforce--wikitext/snapshots/" + commit + "/wikitext-103-raw-v1/train-00000-of-00001.parquet": text("another"),
		"datasets--allenai--c4/snapshots/" + commit + "/en/c4-train.00000-of-01024.json.gz":                        gzipped(t, []byte(`{"text":"`+words(1, 20)+`c4 train","url":""}`)),
		"datasets--allenai--c4/snapshots/" + commit + "/en/c4-validation.00000-of-00008.json.gz":                   gzipped(t, []byte(`{"text":"`+words(1, 20)+`c4 validation"}`)),
		"datasets--emozilla--pg19/snapshots/" + commit + "/data/train-00000-of-00023-a2d0.parquet":                 text("pg19 train"),
		"datasets--emozilla--pg19/snapshots/" + commit + "/data/test-00000-of-00001-29a5.parquet":                  text("pg19 test"),
		"datasets--tatsu-lab--alpaca/snapshots/" + commit + "/data/train-00000-of-00001-a09b74b3ef9c3b56.parquet":  parquetOf(t, []alpacaRow{{"Say.", "It", "Said."}, {"Do.", "", "Done."}}),
		"datasets--cais--mmlu/snapshots/" + commit + "/all/test-00000-of-00001.parquet":                            parquetOf(t, []mmluRow{{"Which?", []string{"this", "that"}, 1}, {"Who?", []string{"I", "you", "all"}, 0}}),
		"datasets--cais--mmlu/snapshots/" + commit + "/all/auxiliary_train-00000-of-00001.parquet":                 parquetOf(t, []mmluRow{{"Why?", []string{"so"}, 0}}),
		"datasets--Salesforce--wikitext/refs/main":                                                                 []byte(commit),
	}
	for name, raw := range files {
		put(t, cache, name, raw)
	}
	tok := tiny12(t)
	for _, c := range []struct {
		name, want string
		test       bool
	}{
		{"wiki2", words(1, 20) + "wiki train", false},
		{"wiki2", words(1, 20) + "wiki test", true},
		{"wiki2:test", words(1, 20) + "wiki test", false},
		{"c4", words(1, 20) + "c4 train", false},
		{"c4", words(1, 20) + "c4 validation", true},
		{"pg19", words(1, 20) + "pg19 train", false},
		{"pg19:test", words(1, 20) + "pg19 test", false},
		{"alpaca", "Say.\nIt\nSaid.\n\nDo.\nDone.", false},
		{"mmlu", "Why?\nA. so\nAnswer: A", false},
		{"mmlu", "Which?\nA. this\nB. that\nAnswer: B\n\nWho?\nA. I\nB. you\nC. all\nAnswer: A", true},
	} {
		o := Options{Sources: []string{c.name}, Test: c.test, Hub: hub.Hub{Cache: cache, Offline: true}}
		got, err := Load(t.Context(), tok, o)
		if err != nil || len(got.Windows) != 1 || !slices.Equal(got.Windows[0], must(Encode(tok, c.want))) || !strings.Contains(got.Source, commit) {
			t.Errorf("%s, %v: %+v, %v; want %q", c.name, c.test, got, err, c.want)
		}
	}
	_, err := Load(t.Context(), tok, Options{Sources: []string{"wiki2:validation"}, Hub: hub.Hub{Cache: cache, Offline: true}})
	if err == nil || !strings.Contains(err.Error(), "hf download --repo-type dataset Salesforce/wikitext --include 'wikitext-2-raw-v1/validation-*.parquet'") {
		t.Errorf("offline: %v", err)
	}
}

// TestFetched gets a corpus by name from a server.
func TestFetched(t *testing.T) {
	s := hubtest.New(t)
	s.Repos["datasets/Salesforce/wikitext"] = map[string]string{"wikitext-2-raw-v1/train-00000-of-00001.parquet": string(parquetOf(t, []textRow{{words(1, 40), ""}}))}
	c := load(t, Options{Sources: []string{"wiki2"}, Hub: hub.Hub{Cache: t.TempDir(), Endpoint: s.URL}})
	if want := must(Encode(tiny12(t), words(1, 40))); !slices.Equal(c.Windows[0], want) || c.Source != "wiki2:train (Salesforce/wikitext@"+hubtest.Commit+"); 1 documents" {
		t.Errorf("%+v, want %v", c, want)
	}
}

// TestRepository reads data sets of the hub by their names: the split that is wanted, and no file more.
func TestRepository(t *testing.T) {
	s := hubtest.New(t)
	line := func(document int) string { return fmt.Sprintf("{\"text\":%q}\n", words(document, 20)) }
	s.Repos["datasets/owner/set"] = map[string]string{"README.md": "# no configs", "train.jsonl": line(1), "test-00000-of-00002.jsonl": "", "data/test-00000-of-00002.jsonl": line(2), "data/test-00001-of-00002.jsonl": line(3), "data/train-00000-of-00001.jsonl": line(4)}
	s.Repos["datasets/owner/configs"] = map[string]string{"README.md": "---\nconfigs:\n- config_name: one\n  data_files:\n  - split: train\n    path: a/*\n  - split: dev\n    path: b/*\n- config_name: two\n  data_files: c/*\n---\n", "a/1.jsonl": line(1), "b/1.jsonl": line(2), "c/1.jsonl": line(3)}
	cache := t.TempDir()
	h := hub.Hub{Cache: cache, Endpoint: s.URL}
	for _, c := range []struct {
		source string
		test   bool
		want   []int
		name   string
	}{
		{"owner/set", false, []int{4}, "owner/set:train"},
		{"owner/set", true, []int{2, 3}, "owner/set:test"},
		{"owner/set:train", true, []int{4}, "owner/set:train"},
		{"owner/configs:one", false, []int{1}, "owner/configs:one:train"},
		{"owner/configs:one", true, []int{2}, "owner/configs:one:dev"},
		{"owner/configs:two:train", true, []int{3}, "owner/configs:two:train"},
	} {
		var texts []string
		for _, document := range c.want {
			texts = append(texts, words(document, 20))
		}
		s.Asked()
		for range 2 { // from the hub or from the cache
			got := load(t, Options{Sources: []string{c.source}, Test: c.test, Hub: h})
			if want := must(Encode(tiny12(t), strings.Join(texts, "\n\n"))); !slices.Equal(got.Windows[0], want) || !strings.HasPrefix(got.Source, c.name+"@"+hubtest.Commit+"; ") || len(got.Notes()) != 0 {
				t.Errorf("%s: %q, %q", c.source, got.Source, got.Notes())
			}
		}
		resolved := 0
		for _, line := range s.Asked() {
			if strings.Contains(line, "/resolve/") && !strings.HasSuffix(line, "README.md") {
				resolved++
			}
		}
		if resolved > len(c.want) {
			t.Errorf("%s: %d files were fetched", c.source, resolved)
		}
		h.Offline = true
		load(t, Options{Sources: []string{c.source}, Test: c.test, Hub: h})
		h.Offline = false
	}
	for source, want := range map[string]string{
		"owner/none":         "owner/none: no such folder; hub: owner/none: the hub has no such repository",
		"owner/set:best":     `no split "best"; it has test, train`,
		"owner/configs":      "it has several configs; name one behind a colon, as DIR:CONFIG or DIR:CONFIG:SPLIT: one, two",
		"owner/configs:none": "it has several configs",
	} {
		if _, err := Load(t.Context(), tiny12(t), Options{Sources: []string{source}, Hub: h}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// TestComePaper: rows shuffled and joined to calibrate, all rows in their order to evaluate.
func TestComePaper(t *testing.T) {
	tok, dir := tiny12(t), t.TempDir()
	var texts []string
	for i := range 400 {
		texts = append(texts, words(i, i%7)) // some are empty, as WikiText's are
	}
	path := jsonl(t, dir, "rows.jsonl", texts...)
	for _, test := range []bool{false, true} {
		o := Options{Sources: []string{path}, Test: test, Seed: 4, Context: 64, Tokens: 100}.ComePaper()
		want := texts
		if !test {
			all := newChoice(t.Context(), &Options{Docs: ComePaperRows, Seed: 4}, true)
			if err := read(t.Context(), path, oneField("text"), all); err != nil {
				t.Fatal(err)
			}
			want = handed(t, all)
		}
		windows, err := Cut(must(Encode(tok, strings.Join(want, "\n\n"))), 64)
		if err != nil {
			t.Fatal(err)
		}
		if c := load(t, o); Hash(c.Windows) != Hash(windows) || c.Documents != len(want) {
			t.Errorf("test %v: %d windows of %d documents, want %d of %d", test, len(c.Windows), c.Documents, len(windows), len(want))
		}
	}
	if o := (Options{}).ComePaper(); o.Sources[0] != "wiki2" || o.Docs != 256 {
		t.Errorf("%+v", o)
	}
}

func ExampleLoad() {
	tok, err := tokenizer.Load("../embedded/tiny12")
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "corpus")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "reviews.jsonl")
	if err := os.WriteFile(path, []byte("{\"body\": \"A fine film.\"}\n{\"body\": \"Long, but good.\"}\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	c, err := Load(context.Background(), tok, Options{Sources: []string{path}, Field: "body", Docs: 1, Window: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(c.Windows[0]), "tokens of", c.Source)
	// Output: 4 tokens of reviews.jsonl; 1 of 2 documents, shuffled by seed 0
}

// handed is what a choice kept.
func handed(t *testing.T, c *choice) (texts []string) {
	t.Helper()
	begun := ""
	more := func(text string) error {
		begun += text
		return nil
	}
	take := func(text string) error {
		texts, begun = append(texts, begun+text), ""
		return nil
	}
	if err := errors.Join(c.hand(more, take), c.aside.close()); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestRepositories finds the data sets of the hub in what corpora were made of, and no files.
func TestRepositories(t *testing.T) {
	for source, want := range map[string]string{
		"": "", "a.txt, b.txt": "", "c4:train (allenai/c4@1588ec454efa1a09f29cd18ddd04fe05fc8653a2); 12 of 30 documents, shuffled by seed 0; come-paper": "allenai/c4",
		"owner/set:default:train@abc, owner/other@def; 5 documents": "owner/set owner/other", "owner/set@abc (12 windows), wiki2:test (Salesforce/wikitext@abc) (3 windows)": "owner/set Salesforce/wikitext",
		"owner/set@abc, owner/set:test@abc": "owner/set", "set.jsonl@abc": "", "../x/set@abc": "", "a/b/c@abc": "", "/etc/x@abc": "", "owner/set": "", "x (owner/<b>@abc)": "",
	} {
		if got := strings.Join(Repositories(source), " "); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
}
