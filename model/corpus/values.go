package corpus

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// values decodes those values of a page that are not null.
func (c *column) values(encoding format.Encoding, raw []byte) (err error) {
	kinds, ok := encodings[encoding]
	if !ok {
		return fmt.Errorf("encoding %s is not read here; write the file in plain or dictionary encoding", encoding)
	}
	if kinds != nil && !slices.Contains(kinds, c.kind) {
		return damaged("%s in encoding %s", c.kind, encoding)
	}
	n := c.page.count
	for _, def := range c.page.def {
		if def != uint32(c.maxDef) {
			n--
		}
	}
	switch encoding {
	case format.Plain:
		c.page.cells, err = c.plain(raw, n)
	case plainDictionary, format.RLEDictionary:
		if len(raw) == 0 || raw[0] > 32 {
			return damaged("indices without a width")
		}
		if c.page.index, err = runs(raw[1:], int(raw[0]), n); err == nil && c.page.index == nil {
			c.page.index = []uint32{}
		}
	case format.DeltaBinaryPacked:
		c.page.cells, err = c.deltaNumbers(raw, n)
	case format.DeltaLengthByteArray:
		c.page.cells, _, err = deltaLengths(raw, n)
	case format.DeltaByteArray:
		c.page.cells, err = deltaBytes(raw, n)
	case format.ByteStreamSplit:
		c.page.cells, err = c.split(raw, n)
	case format.RLE:
		c.page.cells, err = runFlags(raw, n)
	}
	return err
}

// encodings are those of values, and the types that they are for; none names all.
var encodings = map[format.Encoding][]format.Type{
	format.Plain:                nil,
	plainDictionary:             nil,
	format.RLEDictionary:        nil,
	format.DeltaBinaryPacked:    {format.Int32, format.Int64},
	format.DeltaLengthByteArray: {format.ByteArray},
	format.DeltaByteArray:       {format.ByteArray},
	format.ByteStreamSplit:      {format.Int32, format.Int64, format.Float, format.Double},
	format.RLE:                  {format.Boolean},
}

// plain decodes n values that stand one after the other.
func (c *column) plain(raw []byte, n int) ([]cell, error) {
	size := 4 // and of text the length
	switch c.kind {
	case format.Int64, format.Double:
		size = 8
	case format.Boolean:
		return flags(raw, n)
	}
	if n < 0 || n > len(raw)/size {
		return nil, damaged("%d values in %d bytes", n, len(raw))
	}
	cells := make([]cell, n)
	for i := range cells {
		if len(raw) < size {
			return nil, damaged("%d values in a page that ends at %d", n, i)
		}
		switch c.kind {
		case format.Int32, format.Float:
			cells[i].number = int64(int32(binary.LittleEndian.Uint32(raw)))
		case format.Int64, format.Double:
			cells[i].number = int64(binary.LittleEndian.Uint64(raw))
		default:
			length := uint64(binary.LittleEndian.Uint32(raw))
			if length > uint64(len(raw)-size) {
				return nil, damaged("a value of %d bytes where %d are left", length, len(raw)-size)
			}
			cells[i].bytes = raw[size : size+int(length)]
			raw = raw[length:]
		}
		raw = raw[size:]
	}
	return cells, nil
}

// flags decodes n bits.
func flags(raw []byte, n int) ([]cell, error) {
	if n < 0 || n > len(raw)*8 {
		return nil, damaged("%d values in %d bytes", n, len(raw))
	}
	cells := make([]cell, n)
	for i := range cells {
		cells[i].number = int64(raw[i/8] >> (i % 8) & 1)
	}
	return cells, nil
}

// deltaLengths decodes n values whose lengths stand in front of them all.
func deltaLengths(raw []byte, n int) (cells []cell, rest []byte, err error) {
	lengths, raw, err := deltas(raw, n)
	if err != nil {
		return nil, nil, err
	}
	cells = make([]cell, n)
	for i, length := range lengths {
		if length < 0 || length > int64(len(raw)) {
			return nil, nil, damaged("a value of %d bytes where %d are left", length, len(raw))
		}
		cells[i].bytes, raw = raw[:length], raw[length:]
	}
	return cells, raw, nil
}

// deltaBytes decodes n values each of which begins as the one before it does, for so many bytes as stand in front of them all.
func deltaBytes(raw []byte, n int) ([]cell, error) {
	page := len(raw)
	prefixes, raw, err := deltas(raw, n)
	if err != nil {
		return nil, err
	}
	cells, _, err := deltaLengths(raw, n)
	if err != nil {
		return nil, err
	}
	total := 0
	var last []byte
	for i, prefix := range prefixes {
		if prefix < 0 || prefix > int64(len(last)) {
			return nil, damaged("a value that has %d bytes of the %d of the one before it", prefix, len(last))
		}
		if prefix > 0 {
			if total += int(prefix) + len(cells[i].bytes); total > maxBomb && total > maxPageRatio*page {
				return nil, damaged("a page of %d bytes with values of more than %d", page, total)
			}
			cells[i].bytes = slices.Concat(last[:prefix], cells[i].bytes)
		}
		last = cells[i].bytes
	}
	return cells, nil
}

// deltaNumbers decodes n numbers of the column's width, in which their differences wrap.
func (c *column) deltaNumbers(raw []byte, n int) ([]cell, error) {
	numbers, _, err := deltas(raw, n)
	if err != nil {
		return nil, err
	}
	cells := make([]cell, n)
	for i, v := range numbers {
		if c.kind == format.Int32 {
			v = int64(int32(v))
		}
		cells[i].number = v
	}
	return cells, nil
}

// split decodes n numbers of which first stand all first bytes, then all second ones, and so on.
func (c *column) split(raw []byte, n int) ([]cell, error) {
	size := 4
	if c.kind == format.Int64 || c.kind == format.Double {
		size = 8
	}
	if n > len(raw)/size || len(raw)%size != 0 {
		return nil, damaged("%d values in %d bytes", n, len(raw))
	}
	joined := make([]byte, 0, n*size)
	stride := len(raw) / size
	for i := range n {
		for b := range size {
			joined = append(joined, raw[b*stride+i])
		}
	}
	return c.plain(joined, n)
}

// runFlags decodes n bits in runs.
func runFlags(raw []byte, n int) ([]cell, error) {
	if len(raw) < 4 {
		return nil, damaged("%d values in %d bytes", n, len(raw))
	}
	bits, err := runs(raw[4:], 1, n)
	if err != nil {
		return nil, err
	}
	cells := make([]cell, n)
	for i, v := range bits {
		cells[i].number = int64(v)
	}
	return cells, nil
}

// deltas decodes n numbers of which only the first and the differences are there, and gives what follows them.
func deltas(raw []byte, n int) (out []int64, rest []byte, err error) {
	number := func() uint64 {
		v, used := binary.Uvarint(raw)
		if used <= 0 {
			err = damaged("differences break off")
			return 0
		}
		raw = raw[used:]
		return v
	}
	signed := func() int64 { v := number(); return int64(v>>1) ^ -int64(v&1) }
	block, parts, total, value := number(), number(), number(), signed()
	if err != nil {
		return nil, nil, err
	}
	if total != uint64(n) || block == 0 || block > 1<<16 || parts == 0 || block%parts != 0 || block/parts%8 != 0 {
		return nil, nil, damaged("%d differences in blocks of %d, %d parts; expected %d", total, block, parts, n)
	}
	size := int(block / parts)
	for len(out) < n {
		if len(out) == 0 {
			if out = append(out, value); n == 1 {
				break
			}
		}
		least := signed()
		if err != nil || uint64(len(raw)) < parts {
			return nil, nil, damaged("differences break off")
		}
		widths := raw[:parts]
		raw = raw[parts:]
		for _, w := range widths {
			if len(out) == n {
				break
			}
			width := int(w)
			if width > 64 || len(raw) < size/8*width {
				return nil, nil, damaged("%d differences of %d bits in %d bytes", size, width, len(raw))
			}
			for i := range min(size, n-len(out)) {
				value += least + int64(unpack(raw, i, width))
				out = append(out, value)
			}
			raw = raw[size/8*width:]
		}
	}
	return out, raw, nil
}

// unpack gives number i of those packed with so many bits each, the lowest first.
func unpack(packed []byte, i, width int) uint64 {
	var value uint64
	for k, shift := i*width/8, -(i * width % 8); shift < width; k, shift = k+1, shift+8 {
		if shift < 0 {
			value |= uint64(packed[k]) >> -shift
		} else {
			value |= uint64(packed[k]) << shift
		}
	}
	return value & (1<<width - 1)
}

// runs decodes n numbers of so many bits out of Parquet's hybrid of run lengths and bit packing.
func runs(raw []byte, width, n int) ([]uint32, error) {
	out := make([]uint32, 0, n) // begin and plain have bounded it
	for len(out) < n {
		if width == 0 && len(raw) == 0 {
			return append(out, make([]uint32, n-len(out))...), nil
		}
		head, used := binary.Uvarint(raw)
		if used <= 0 {
			return nil, damaged("%d levels or indices, expected %d", len(out), n)
		}
		raw = raw[used:]
		if head&1 == 0 {
			size := (width + 7) / 8
			if len(raw) < size {
				return nil, damaged("a run without its value")
			}
			var value uint32
			for i, b := range raw[:size] {
				value |= uint32(b) << (8 * i)
			}
			raw = raw[size:]
			if head>>1 == 0 {
				return nil, damaged("an empty run")
			}
			for range min(head>>1, uint64(n-len(out))) {
				out = append(out, value)
			}
			continue
		}
		groups := head >> 1 // of 8 values
		if groups == 0 {
			return nil, damaged("an empty run")
		}
		size := min(groups, uint64(n/8+1)) * uint64(width) // what is needed of it; a last group may break off
		packed := raw[:min(size, uint64(len(raw)))]
		count := min(int(min(groups, uint64(n/8+1)))*8, n-len(out))
		if len(packed)*8 < count*width {
			return nil, damaged("%d bytes of packed values, expected %d", len(packed), size)
		}
		for i := range count {
			out = append(out, uint32(unpack(packed, i, width)))
		}
		raw = raw[len(packed):]
	}
	return out, nil
}
