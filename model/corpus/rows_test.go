package corpus

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// rowsOf reads a file whole.
func rowsOf(t *testing.T, path string) []Record {
	t.Helper()
	var out []Record
	if err := Rows(t.Context(), path, func(r Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRowsOfDatasets reads what Hugging Face datasets 5.2 wrote with pyarrow: a Sequence of a struct, a ClassLabel, flags, numbers of two sizes,
// lists of texts and of structs.
func TestRowsOfDatasets(t *testing.T) {
	texts := func(s ...string) []any {
		out := []any{}
		for _, v := range s {
			out = append(out, v)
		}
		return out
	}
	want := []Record{
		{
			{"id", "a"}, {"choices", Record{{"text", texts("one", "zwö")}, {"label", texts("A", "B")}}}, {"label", int64(1)}, {"flag", true}, {"score", .5}, {"half", 1.5},
			{"idx", int64(7)}, {"endings", texts("x", "y", "z")}, {"when", nil}, {"note", nil}, {"pairs", Record{{"k", texts("p", "q")}, {"v", []any{int64(1), int64(2)}}}},
		},
		{
			{"id", "b"}, {"choices", Record{{"text", texts()}, {"label", texts()}}}, {"label", int64(0)}, {"flag", false}, {"score", -2.}, {"half", .25},
			{"idx", int64(-1)}, {"endings", texts("w")}, {"when", nil}, {"note", "n"}, {"pairs", Record{{"k", texts()}, {"v", texts()}}},
		},
	}
	got := rowsOf(t, "testdata/rows.parquet")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant\n%v", got, want)
	}
}

// TestRowsOfParquet writes what parquet-go can write, in both versions of pages and all compressions.
func TestRowsOfParquet(t *testing.T) {
	type inner struct {
		Text  []string `parquet:"text,list"`
		Count int32    `parquet:"count"`
	}
	type row struct {
		Flag   bool    `parquet:"flag"`
		Double float64 `parquet:"double"`
		Float  float32 `parquet:"float"`
		Inner  inner   `parquet:"inner"`
		Last   []int64 `parquet:"last,list"`
	}
	var rows []row
	var want []Record
	for i := range 3000 {
		r := row{i%3 == 0, float64(i) / 7, float32(i) / 8, inner{[]string{"a", strings.Repeat("b", i%50)}, int32(-i)}, []int64{int64(i) << 33}}
		rows = append(rows, r)
		want = append(want, Record{
			{"flag", r.Flag}, {"double", r.Double}, {"float", float64(r.Float)},
			{"inner", Record{{"text", []any{"a", r.Inner.Text[1]}}, {"count", int64(-i)}}}, {"last", []any{r.Last[0]}},
		})
	}
	dir := t.TempDir()
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd} {
		for version := 1; version <= 2; version++ {
			raw := parquetOf(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version), parquet.MaxRowsPerRowGroup(1001), parquet.PageBufferSize(2000))
			if got := rowsOf(t, put(t, dir, "a.parquet", raw)); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, pages version %d: %d rows, first %v, want %d, %v", codec, version, len(got), got[0], len(want), want[0])
			}
		}
	}
}

func TestRowsOfJSON(t *testing.T) {
	const one = `{"z":"<&>\u00e9\u2028","a":{"text":["x",null],"b":{}},"n":-3,"f":1.0,"big":123456789012345678901,"t":true,"none":null,"list":[],"z":"last"}`
	want := Record{
		{"z", "last"}, {"a", Record{{"text", []any{"x", nil}}, {"b", Record{}}}}, {"n", int64(-3)}, {"f", 1.}, {"big", 123456789012345678901.}, {"t", true}, {"none", nil}, {"list", []any{}},
	}
	dir := t.TempDir()
	for name, raw := range map[string][]byte{"a.jsonl": []byte(one + "\n\n" + one), "a.json": []byte("[" + one + "," + one + "]"), "a.jsonl.gz": gzipped(t, []byte(one+"\n"+one)), "a.json.zst": zstded(t, []byte("["+one+",\n"+one+"]"))} {
		if got := rowsOf(t, put(t, dir, name, raw)); len(got) != 2 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(got[1], want) {
			t.Errorf("%s: %v, want %v twice", name, got, want)
		}
	}
	if v, ok := want.Get("n"); v != int64(-3) || !ok {
		t.Errorf("n is %v, %v", v, ok)
	}
	if v, ok := want.Get("m"); v != nil || ok {
		t.Errorf("m is %v, %v", v, ok)
	}
	raw, err := json.Marshal(Record{{"z", "<"}, {"a", Record{{"y", []any{int64(1), 2.5, nil}}, {"b", Record{}}}}})
	if err != nil || string(raw) != `{"z":"\u003c","a":{"y":[1,2.5,null],"b":{}}}` {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestRowsErrors(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40)
	var wide strings.Builder
	for i := range maxFields + 1 {
		wide.WriteString(`,"` + strings.Repeat("x", i+1) + `":1`)
	}
	for _, c := range []struct{ name, raw, want string }{
		{"a.jsonl", "{\"a\":1}\n[1]", "line 2: expected an object"},
		{"a.jsonl", "{\"a\":1}\n{\"a\":", "line 2: unexpected"},
		{"a.jsonl", "{\"a\":1} {\"a\":2}", "line 1: there is more after the object"},
		{"a.jsonl", "{\"a\":" + deep + "}", "line 1: lists and objects in each other, more than 32 deep"},
		{"a.jsonl", "{" + wide.String()[1:] + "}", "line 1: an object of more than 1000 fields"},
		{"a.jsonl", "{\"a\":\"\xff\"}", "line 1: not UTF-8 text"},
		{"a.jsonl", "{\"a\":1e999}", "line 1: "},
		{"a.json", "[{\"a\":1},2]", "element 2: expected an object"},
		{"a.txt", "x", "expected a file of rows"},
		{"a.parquet", "x", "not a Parquet file"},
	} {
		path := put(t, dir, c.name, []byte(c.raw))
		err := Rows(t.Context(), path, func(Record) error { return nil })
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s of %.40q: %v, want %q", c.name, c.raw, err, c.want)
		}
	}
	own := errors.New("no answer")
	for _, path := range []string{put(t, dir, "b.jsonl", []byte("\n{}\n{}")), "testdata/rows.parquet"} {
		n := 0
		err := Rows(t.Context(), path, func(Record) error {
			if n++; n == 2 {
				return own
			}
			return nil
		})
		if !errors.Is(err, own) || !strings.HasPrefix(err.Error(), path+": ") || !strings.HasSuffix(err.Error(), ": no answer") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Rows(t.Context(), filepath.Join(dir, "none.jsonl"), nil); err == nil {
		t.Error("a file that is not there is read")
	}
}
