package corpus

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// TestParquetOfPyarrow reads what pyarrow 26 wrote (testdata/parquet.py): every encoding in every compression, both versions of pages,
// nulls in several patterns, and row groups of no rows.
func TestParquetOfPyarrow(t *testing.T) {
	raw, err := os.ReadFile("testdata/parquet/rows.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var columns map[string][]any
	if err := d.Decode(&columns); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/parquet/*.parquet")
	if err != nil || len(files) != 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		rows := rowsOf(t, file)
		for name, want := range columns {
			if len(rows) != len(want) {
				t.Fatalf("%s: %d rows, want %d", file, len(rows), len(want))
			}
			for i, row := range rows {
				if got, _ := row.Get(name); !sameValue(got, want[i]) {
					t.Errorf("%s: %s, row %d: %#v, want %#v", file, name, i, got, want[i])
					break
				}
			}
		}
	}
}

// sameValue compares a value with JSON's.
func sameValue(got, want any) bool {
	switch want := want.(type) {
	case json.Number:
		if f, ok := got.(float64); ok {
			n, err := want.Float64()
			return err == nil && math.Float64bits(f) == math.Float64bits(n)
		}
		n, err := want.Int64()
		return err == nil && got == n
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i := range list {
			if !sameValue(list[i], want[i]) {
				return false
			}
		}
		return true
	}
	return got == want
}

// hadoopLZ4 compresses as Hadoop does: blocks of at most so many bytes, each behind its two sizes. 0 is one block without sizes.
type hadoopLZ4 struct{ block int }

func (hadoopLZ4) String() string                            { return "LZ4" }
func (hadoopLZ4) CompressionCodec() format.CompressionCodec { return format.Lz4 }
func (hadoopLZ4) Decode(dst, src []byte) ([]byte, error)    { panic("only to write") }
func (h hadoopLZ4) Encode(dst, src []byte) (out []byte, err error) {
	for out = dst[:0]; len(src) > 0; {
		part := src
		if h.block > 0 {
			part = src[:min(h.block, len(src))]
		}
		packed := make([]byte, lz4.CompressBlockBound(len(part)))
		n, err := lz4.CompressBlock(part, packed, nil)
		if err != nil {
			return nil, err
		}
		if n == 0 { // it cannot be made shorter: literals alone
			packed = lz4Literals(part)
			n = len(packed)
		}
		if h.block > 0 {
			out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
			out = binary.BigEndian.AppendUint32(out, uint32(n))
		}
		out, src = append(out, packed[:n]...), src[len(part):]
	}
	return out, nil
}

// lz4Literals is a block of nothing but literals.
func lz4Literals(src []byte) []byte {
	if len(src) < 15 {
		return append([]byte{byte(len(src) << 4)}, src...)
	}
	out := []byte{0xf0}
	n := len(src) - 15
	for ; n >= 255; n -= 255 {
		out = append(out, 255)
	}
	return append(append(out, byte(n)), src...)
}

// TestHadoopLZ4: what "LZ4" means in Parquet depends on who wrote it. pyarrow 26 reads these files too.
func TestHadoopLZ4(t *testing.T) {
	rows := make([]textRow, 500)
	for i := range rows {
		rows[i] = textRow{words(i, i%9), strings.Repeat("u", i)}
	}
	for _, block := range []int{0, 100, 1 << 20} {
		raw := parquetOf(t, rows, parquet.Compression(hadoopLZ4{block}), parquet.PageBufferSize(2000))
		var c collected
		if err := readParquet(bytes.NewReader(raw), int64(len(raw)), oneField("url"), &c); err != nil || len(c.texts) != len(rows) {
			t.Fatalf("blocks of %d: %d texts, %v", block, len(c.texts), err)
		}
		for i := range rows {
			if c.texts[i] != rows[i].URL {
				t.Fatalf("blocks of %d: row %d is %q", block, i, c.texts[i])
			}
		}
	}
}
