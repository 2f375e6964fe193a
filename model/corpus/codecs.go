package corpus

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"

	"github.com/vkcome/vkcome/model/files"
)

// unpacker decompresses the pages of a column.
type unpacker struct {
	ctx   context.Context
	codec format.CompressionCodec
	zstd  *zstd.Decoder
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
		u.zstd = nil
	}
}

// How much larger than itself a block of a compression without a stream can become: three bytes of snappy make 64, a byte of LZ4 255.
const (
	snappyRatio = 64
	lz4Ratio    = 255
)

// unpack gives a page's bytes, of which a header says how many there are. It makes room as they come, or for no more than so many bytes
// can become.
func (u *unpacker) unpack(raw []byte, size int64) (out []byte, err error) {
	switch u.codec {
	case format.Uncompressed:
		out = raw
	case format.Snappy:
		n, err := snappy.DecodedLen(raw)
		if err != nil || int64(n) != size || n > snappyRatio*len(raw) {
			return nil, damaged("a snappy page of %d bytes that becomes %d, expected %d", len(raw), n, size)
		}
		if out, err = snappy.Decode(nil, raw); err != nil {
			return nil, damaged("%w", err)
		}
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, damaged("%w", err)
		}
		out, err = drain(files.Heed(u.ctx, z), size)
		if err != nil {
			return nil, err
		}
	case format.Zstd:
		if u.zstd == nil {
			if u.zstd, err = newZstd(nil); err != nil {
				return nil, err
			}
		}
		if err := u.zstd.Reset(bytes.NewReader(raw)); err != nil {
			return nil, damaged("%w", err)
		}
		if out, err = drain(files.Heed(u.ctx, u.zstd), size); err != nil {
			return nil, err
		}
	case format.Brotli:
		if out, err = drain(files.Heed(u.ctx, brotli.NewReader(bytes.NewReader(raw))), size); err != nil {
			return nil, err
		}
	case format.Lz4Raw:
		out, err = lz4Block(raw, size)
	case format.Lz4:
		out, err = lz4Hadoop(raw, size)
	default:
		return nil, fmt.Errorf("compression %s is not read here; write the file with zstd or snappy", u.codec)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(out)) != size {
		return nil, damaged("a page of %d bytes, expected %d", len(out), size)
	}
	return out, nil
}

// drain reads a stream to its end, or to where it is longer than it should be.
func drain(r io.Reader, size int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return nil, damaged("%w", err)
	}
	return out, nil
}

// newZstd makes a decoder of bounded memory.
func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

// lz4Block decodes a bare block.
func lz4Block(raw []byte, size int64) ([]byte, error) {
	if size > int64(len(raw))*lz4Ratio {
		return nil, damaged("an LZ4 page of %d bytes that becomes %d", len(raw), size)
	}
	if size == 0 {
		return nil, nil
	}
	out := make([]byte, size)
	n, err := lz4.UncompressBlock(raw, out)
	if err != nil {
		return nil, damaged("%w", err)
	}
	return out[:n], nil
}

// lz4Hadoop decodes what LZ4 without a frame is called in older files: blocks with both their sizes in front, as Hadoop writes them; and
// as some writers left these out, a bare block.
func lz4Hadoop(raw []byte, size int64) ([]byte, error) {
	var out []byte
	for rest := raw; ; {
		if len(rest) == 0 && int64(len(out)) == size {
			return out, nil
		}
		if len(rest) < 8 {
			break
		}
		full, packed := int64(binary.BigEndian.Uint32(rest)), int64(binary.BigEndian.Uint32(rest[4:]))
		if rest = rest[8:]; packed > int64(len(rest)) || full > size-int64(len(out)) {
			break
		}
		block, err := lz4Block(rest[:packed], full)
		if err != nil || int64(len(block)) != full {
			break
		}
		out, rest = append(out, block...), rest[packed:]
	}
	return lz4Block(raw, size)
}
