package corpus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Parquet files are read by columns of text, numbers, or lists of these, in all encodings and compressions that writers of tables use. The
// structures are parquet-go's; the pages are decoded here, because parquet-go trusts them: of 97,000 files with one to three bytes changed
// (testdata/parquet, parquet-go 0.32), some end in one of 12 kinds of panics, and the worst takes 4 GiB, since it makes room for what a
// page's header or a run of its levels claims before it looks at the bytes. Nothing in its options bounds that.
//
// The format: github.com/apache/parquet-format.

const (
	maxFooter     = 64 << 20  // bytes; 10,000 row groups of 10 columns have some 10 MB
	maxPage       = 512 << 20 // bytes decompressed: pages hold 1 MiB or one row, or 1,024 rows of books
	maxPageValues = 1 << 22   // values of a page
	maxBomb       = 64 << 20  // bytes that a page may become however small it is
	maxPageRatio  = 100       // and how many times its size beyond them
	maxPageHeader = 1 << 20   // bytes; the smallest and the largest value are in it
	maxColumns    = 10_000
	listEntry     = 16 // bytes that a text takes beside its own
)

// plainDictionary is what version 1 of the format calls the encoding of a dictionary, and of indices into it.
const plainDictionary format.Encoding = 2

// damaged is the error of a file that is not what it says.
func damaged(format string, args ...any) error {
	return fmt.Errorf("damaged Parquet file: "+format, args...)
}

// openParquet opens a file for use of it and its size.
func openParquet(ctx context.Context, path string, use func(r io.ReaderAt, size int64) error) error {
	file, err := open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return use(heardAt{ctx, file}, info.Size())
}

func readParquet(r io.ReaderAt, size int64, f form, s sink) error {
	row := 1
	return rowGroups(r, size, func(leaves []leaf) ([]leaf, error) {
		wanted := make([]leaf, len(f.fields))
		for i, name := range f.fields {
			var err error
			if wanted[i], err = find(leaves, name); err != nil {
				return nil, err
			}
		}
		return wanted, nil
	}, func(columns []*column, rows int64) error { return readRows(columns, &row, rows, f, s) })
}

// rowGroups hands on the columns of those leaves that pick picks, row group by row group.
func rowGroups(r io.ReaderAt, size int64, pick func([]leaf) ([]leaf, error), read func(columns []*column, rows int64) error) error {
	meta, err := readFooter(r, size)
	if err != nil {
		return err
	}
	leaves, err := leavesOf(meta.Schema)
	if err != nil {
		return err
	}
	wanted, err := pick(leaves)
	if err != nil {
		return err
	}
	for g := range meta.RowGroups {
		group := &meta.RowGroups[g]
		if group.NumRows == 0 { // it has no pages, and its columns' offsets mean nothing
			continue
		}
		if group.NumRows < 0 {
			return damaged("row group %d of %d rows", g, group.NumRows)
		}
		columns := make([]*column, len(wanted))
		for i, l := range wanted {
			if columns[i], err = newColumn(r, size, l, group); err != nil {
				return fmt.Errorf("row group %d: column %q: %w", g, l.name, err)
			}
		}
		err := read(columns, group.NumRows)
		for _, c := range columns {
			c.unpacker.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readRows hands on the documents of a row group; row numbers them in the file.
func readRows(columns []*column, row *int, rows int64, f form, s sink) error {
	values := make([]any, len(columns))
	for range rows {
		keep, err := s.want()
		if err != nil {
			return err
		}
		for i, c := range columns {
			if values[i], err = c.row(keep); err != nil {
				return at("row", *row, fmt.Errorf("column %q: %w", c.name, err))
			}
			if list, ok := values[i].([]any); ok {
				values[i] = texts(list)
			}
		}
		if keep {
			if err := f.hand(values, s); err != nil {
				return at("row", *row, err)
			}
		}
		*row++
	}
	return nil
}

// readFooter reads the metadata at the end of a file.
func readFooter(r io.ReaderAt, size int64) (*format.FileMetaData, error) {
	tail := make([]byte, 8)
	if size < 12 {
		return nil, errors.New("not a Parquet file: too short")
	}
	if _, err := r.ReadAt(tail, size-8); err != nil {
		return nil, err
	}
	switch string(tail[4:]) {
	case "PAR1":
	case "PARE":
		return nil, errors.New("an encrypted Parquet file; write it without")
	default:
		return nil, errors.New("not a Parquet file: it does not end in PAR1 (a download that broke off?)")
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > min(size-12, maxFooter) {
		return nil, damaged("a footer of %d bytes in a file of %d", n, size)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return nil, err
	}
	var meta format.FileMetaData
	if _, err := decodeThrift(footer, &meta); err != nil {
		return nil, damaged("footer: %w", err)
	}
	return &meta, nil
}

// decodeThrift decodes the struct that b begins with and gives its size.
func decodeThrift(b []byte, v any) (int, error) {
	n, err := thriftStructSize(b)
	if err != nil {
		return 0, err
	}
	return n, thrift.Unmarshal(&thrift.CompactProtocol{}, b[:n], v)
}

// leaf is a column that holds values.
type leaf struct {
	name           string   // of the top-level column that it belongs to
	path           []string // below that: of the structs' fields that lead to it, those of lists left out
	index          int
	kind           format.Type
	maxDef, maxRep int
	grouped        bool // below a group of several, which is no list of values
	optional       bool // the top-level column may be null
}

// leavesOf flattens the schema, a tree in preorder.
func leavesOf(schema []format.SchemaElement) ([]leaf, error) {
	if len(schema) == 0 || len(schema) > maxColumns {
		return nil, damaged("a schema of %d columns", len(schema))
	}
	var leaves []leaf
	next := 1
	var walk func(parent leaf, depth int, list, only bool) error
	// list says that the parent is the repeated group of a list, only that it has no other child.
	walk = func(parent leaf, depth int, list, only bool) error {
		if next >= len(schema) || depth > maxThriftDepth {
			return damaged("the schema's tree does not fit its %d columns", len(schema))
		}
		e := &schema[next]
		next++
		l := parent
		repeated := e.RepetitionType.Valid && e.RepetitionType.V == format.Repeated
		if depth == 0 {
			l.name, l.optional = e.Name, e.RepetitionType.Valid && e.RepetitionType.V == format.Optional
		} else if !(only && (list || repeated)) {
			l.path = append(slices.Clone(l.path), e.Name)
		}
		if e.RepetitionType.Valid && e.RepetitionType.V != format.Required {
			l.maxDef++
		}
		if repeated {
			l.maxRep++
		}
		children := int(e.NumChildren.V)
		if children <= 0 {
			l.index, l.kind = len(leaves), e.Type.V
			leaves = append(leaves, l)
			return nil
		}
		l.grouped = l.grouped || children > 1
		for range children {
			if err := walk(l, depth+1, repeated, children == 1); err != nil {
				return err
			}
		}
		return nil
	}
	for range schema[0].NumChildren.V {
		if err := walk(leaf{}, 0, false, false); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

// find finds the column of a field.
func find(leaves []leaf, name string) (leaf, error) {
	var there []string
	for _, l := range leaves {
		if len(there) == 0 || there[len(there)-1] != l.name {
			there = append(there, l.name)
		}
		if l.name != name {
			continue
		}
		if l.grouped || l.maxRep > 1 || l.kind != format.ByteArray && l.kind != format.Int32 && l.kind != format.Int64 {
			return leaf{}, fmt.Errorf("column %q holds %s, expected text; choose another with corpus.Options.Field", name, l.holds())
		}
		return l, nil
	}
	return leaf{}, missing(name, there)
}

func (l leaf) holds() string {
	switch {
	case l.grouped:
		return "a struct"
	case l.maxRep > 1:
		return "lists of lists"
	}
	return l.kind.String()
}

// column reads a column's values in a row group.
type column struct {
	leaf
	r        io.ReaderAt
	pos, end int64 // in the file
	unpacker unpacker
	dict     []cell
	page     page
	at       int // the next value's levels in the page
	cell     int // and the value
}

// cell is a value: bytes or a number.
type cell struct {
	bytes  []byte
	number int64
}

// page is a data page's values, or where they are in the dictionary.
type page struct {
	count    int
	rep, def []uint32 // nil where all are 0, or all are the largest
	cells    []cell
	index    []uint32
}

func newColumn(r io.ReaderAt, size int64, l leaf, group *format.RowGroup) (*column, error) {
	if l.index >= len(group.Columns) {
		return nil, damaged("it has %d columns", len(group.Columns))
	}
	m := &group.Columns[l.index].MetaData
	c := &column{leaf: l, r: r, pos: m.DataPageOffset, unpacker: unpacker{ctx: context.Background(), codec: m.Codec}}
	if h, ok := r.(heardAt); ok {
		c.unpacker.ctx = h.ctx
	}
	if m.DictionaryPageOffset > 0 {
		c.pos = min(c.pos, m.DictionaryPageOffset)
	}
	if c.pos < 4 || c.pos > size || m.TotalCompressedSize < 0 || m.TotalCompressedSize > size-c.pos {
		return nil, damaged("%d bytes at %d of %d", m.TotalCompressedSize, c.pos, size)
	}
	c.end = c.pos + m.TotalCompressedSize
	return c, nil
}

// row gives the next row's value: nil, a string, an int64, a float64, a bool or, of a list, []any of such, those of nil left out; nil or
// an empty list too if it is not to be kept.
func (c *column) row(keep bool) (any, error) {
	list, size, null := []any{}, 0, false
	whole := func() any {
		if null {
			return nil
		}
		return list
	}
	for first := true; ; first = false {
		for c.at >= c.page.count {
			err := c.nextPage()
			if errors.Is(err, io.EOF) && !first {
				return whole(), nil // the last row's list ends with the column
			}
			if errors.Is(err, io.EOF) {
				return nil, damaged("it ends before its row group")
			}
			if err != nil {
				return nil, err
			}
		}
		switch starts := c.page.rep == nil || c.page.rep[c.at] == 0; {
		case first && !starts:
			return nil, damaged("a row begins within a list")
		case !first && starts:
			return whole(), nil
		}
		null = null || c.optional && c.page.def != nil && c.page.def[c.at] == 0
		var value any
		if c.page.def == nil || c.page.def[c.at] == uint32(c.maxDef) {
			v, err := c.value(keep)
			if err != nil {
				return nil, err
			}
			value = v
		}
		c.at++
		if c.maxRep == 0 {
			return value, nil
		}
		if value == nil {
			continue
		}
		text, _ := value.(string)
		if size += len(text) + listEntry; size > maxDocument { // few bytes of a dictionary's indices make many texts
			return nil, errLongLine
		}
		list = append(list, value)
	}
}

// value takes the next value of the page.
func (c *column) value(keep bool) (any, error) {
	i := c.cell
	c.cell++
	if !keep {
		return nil, nil
	}
	cells := c.page.cells
	if c.page.index != nil {
		i, cells = int(c.page.index[i]), c.dict // as many as have a value
	}
	if i >= len(cells) {
		return nil, damaged("entry %d of a dictionary of %d", i, len(cells))
	}
	switch c.kind {
	case format.Int32, format.Int64:
		return cells[i].number, nil
	case format.Boolean:
		return cells[i].number != 0, nil
	case format.Float:
		return float64(math.Float32frombits(uint32(cells[i].number))), nil
	case format.Double:
		return math.Float64frombits(uint64(cells[i].number)), nil
	}
	if len(cells[i].bytes) > maxDocument {
		return nil, errLongLine
	}
	if !utf8.Valid(cells[i].bytes) {
		return nil, errNotUTF8
	}
	return string(cells[i].bytes), nil
}

// nextPage reads the next data page, and a dictionary before it. The end of the column is io.EOF.
func (c *column) nextPage() error {
	for c.pos < c.end {
		header, n, err := c.header()
		if err != nil {
			return err
		}
		c.pos += n
		packed, unpacked := int64(header.CompressedPageSize), int64(header.UncompressedPageSize)
		if packed < 0 || packed > c.end-c.pos || packed > maxPage || unpacked < 0 || unpacked > maxPage {
			return damaged("a page of %d bytes, decompressed %d, where %d are left; pages have at most %d MiB", packed, unpacked, c.end-c.pos, maxPage>>20)
		}
		if unpacked > maxBomb && unpacked > maxPageRatio*packed {
			return damaged("a page of %d bytes that becomes %d", packed, unpacked)
		}
		raw := make([]byte, packed)
		if _, err := c.r.ReadAt(raw, c.pos); err != nil {
			return damaged("page: %w", err)
		}
		c.pos += packed
		switch {
		case header.Type == format.DictionaryPage && header.DictionaryPageHeader.Valid:
			h := &header.DictionaryPageHeader.V
			if raw, err = c.unpacker.unpack(raw, unpacked); err != nil {
				return err
			}
			if h.Encoding != format.Plain && h.Encoding != plainDictionary {
				return fmt.Errorf("a dictionary in encoding %s, expected PLAIN", h.Encoding)
			}
			if c.dict, err = c.plain(raw, int(h.NumValues)); err != nil {
				return err
			}
		case header.Type == format.DataPage && header.DataPageHeader.Valid:
			return c.pageV1(&header.DataPageHeader.V, raw, unpacked)
		case header.Type == format.DataPageV2 && header.DataPageHeaderV2.Valid:
			return c.pageV2(&header.DataPageHeaderV2.V, raw, unpacked)
		case header.Type != format.IndexPage:
			return damaged("a page of type %s", header.Type)
		}
	}
	return io.EOF
}

// header reads a page's header and gives its size.
func (c *column) header() (*format.PageHeader, int64, error) {
	for room := int64(1 << 12); ; room *= 16 {
		b := make([]byte, min(room, c.end-c.pos))
		if _, err := c.r.ReadAt(b, c.pos); err != nil {
			return nil, 0, damaged("page header: %w", err)
		}
		h := new(format.PageHeader)
		n, err := decodeThrift(b, h)
		switch {
		case err == nil:
			return h, int64(n), nil
		case !errors.Is(err, errThriftShort) || int64(len(b)) == c.end-c.pos || room > maxPageHeader:
			return nil, 0, damaged("page header: %w", err)
		}
	}
}

func (c *column) pageV1(h *format.DataPageHeader, raw []byte, size int64) error {
	raw, err := c.unpacker.unpack(raw, size)
	if err != nil {
		return err
	}
	if err := c.begin(int(h.NumValues)); err != nil {
		return err
	}
	for _, l := range []struct {
		most     int
		to       *[]uint32
		encoding format.Encoding
	}{{c.maxRep, &c.page.rep, h.RepetitionLevelEncoding}, {c.maxDef, &c.page.def, h.DefinitionLevelEncoding}} {
		if l.most == 0 {
			continue
		}
		if l.encoding != format.RLE {
			return fmt.Errorf("levels in encoding %s, expected RLE", l.encoding)
		}
		if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
			return damaged("levels beyond their page")
		}
		end := 4 + int(binary.LittleEndian.Uint32(raw))
		if *l.to, err = runs(raw[4:end], bits.Len(uint(l.most)), c.page.count); err != nil {
			return err
		}
		raw = raw[end:]
	}
	return c.values(h.Encoding, raw)
}

func (c *column) pageV2(h *format.DataPageHeaderV2, raw []byte, size int64) error {
	rep, def := int64(h.RepetitionLevelsByteLength), int64(h.DefinitionLevelsByteLength)
	if rep < 0 || def < 0 || rep+def > min(int64(len(raw)), size) {
		return damaged("levels beyond their page")
	}
	if err := c.begin(int(h.NumValues)); err != nil {
		return err
	}
	var err error
	if c.maxRep > 0 {
		if c.page.rep, err = runs(raw[:rep], bits.Len(uint(c.maxRep)), c.page.count); err != nil {
			return err
		}
	}
	if c.maxDef > 0 {
		if c.page.def, err = runs(raw[rep:rep+def], bits.Len(uint(c.maxDef)), c.page.count); err != nil {
			return err
		}
	}
	raw = raw[rep+def:]
	if !h.IsCompressed.Valid || h.IsCompressed.V {
		if raw, err = c.unpacker.unpack(raw, size-rep-def); err != nil {
			return err
		}
	}
	return c.values(h.Encoding, raw)
}

// begin empties the page for so many values.
func (c *column) begin(count int) error {
	if count < 0 || count > maxPageValues {
		return damaged("a page of %d values, expected at most %d", count, maxPageValues)
	}
	c.page, c.at, c.cell = page{count: count}, 0, 0
	return nil
}
