package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/vkcome/vkcome/model/internal/lfs"
)

// maxPickle bounds the pickle of a checkpoint; a tensor takes about 200 bytes of it.
const maxPickle = 64 << 20

// magic begins a file of the older format, as a pickled integer.
var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// parse reads what tensors a file has.
func parse(name string, raw []byte) (map[string]Tensor, error) {
	root, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("torchfile: %s: %w", name, err)
	}
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("torchfile: %s: it holds %s, expected a dictionary of tensors", name, kindOf(root))
	}
	tensors := map[string]Tensor{}
	for i, key := range d.keys {
		t, ok := d.values[i].(Tensor)
		tensorName, isText := key.(string)
		if !ok || !isText {
			continue // a number beside the tensors: where a weight is missed, its reader says so
		}
		if _, twice := tensors[tensorName]; twice || !printable(tensorName) {
			return nil, fmt.Errorf("torchfile: %s: tensor %q: named twice, or with control characters", name, tensorName)
		}
		t.Name, t.File = tensorName, name
		tensors[tensorName] = t
	}
	return tensors, nil
}

func decode(raw []byte) (any, error) {
	if err := lfs.Check(raw); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(raw, []byte("PK\x03\x04")) {
		return decodeZip(raw)
	}
	if len(raw) > 2 && raw[0] == 0x80 {
		return decodeOld(raw)
	}
	return nil, errors.New("neither a zip archive of torch.save nor its older format")
}

// decodeZip reads an archive: NAME/data.pkl, and NAME/data/KEY for the storage of each key, all stored without compression.
func decodeZip(raw []byte) (any, error) {
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	files, prefix := map[string]*zip.File{}, ""
	for _, f := range z.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("two files of the archive are named %q", clip(f.Name))
		}
		files[f.Name] = f
		if before, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok {
			prefix = before
		}
	}
	stored := func(name string) ([]byte, error) {
		f := files[prefix+"/"+name]
		if f == nil {
			return nil, fmt.Errorf("the archive lacks %s", clip(name))
		}
		begin, err := f.DataOffset()
		size := f.UncompressedSize64
		if err != nil || f.Method != zip.Store || f.CompressedSize64 != size || begin < 0 || begin > int64(len(raw)) || size > uint64(int64(len(raw))-begin) {
			return nil, fmt.Errorf("%s: compressed or cut short: %w", clip(name), errors.Join(err, io.ErrUnexpectedEOF))
		}
		return raw[begin : begin+int64(size) : begin+int64(size)], nil
	}
	if files[prefix+"/byteorder"] != nil {
		if order, err := stored("byteorder"); err != nil || string(order) != "little" {
			return nil, fmt.Errorf("byte order %q, supported is little", clip(string(order)))
		}
	}
	pickle, err := stored("data.pkl")
	if err != nil {
		return nil, err
	}
	if len(pickle) > maxPickle {
		return nil, fmt.Errorf("a pickle of %d bytes, the limit is %d", len(pickle), maxPickle)
	}
	m := machine{in: pickle}
	m.lookup = func(id []any) (any, error) {
		s, key, n, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		data, err := stored("data/" + key)
		if err != nil {
			return nil, err
		}
		if uint64(n) > uint64(len(data)/s.kind.size) {
			return nil, fmt.Errorf("storage %s has %d bytes, expected %d elements of %d", clip(key), len(data), n, s.kind.size)
		}
		s.data = data[:n*s.kind.size]
		return s, nil
	}
	return m.run()
}

// storageOf reads a persistent id: "storage", its class, its key, where it was, its number of elements.
func storageOf(id []any) (s storage, key string, elements int, err error) {
	if len(id) == 6 && id[5] == nil { // of the older format: no view of another storage
		id = id[:5]
	}
	if len(id) != 5 || id[0] != "storage" {
		return s, "", 0, fmt.Errorf("a persistent id of %d values, expected that of a storage", len(id))
	}
	class, ok := id[1].(global)
	key, ok2 := id[2].(string)
	n, ok3 := id[4].(int64)
	kind, ok4 := storageKinds[class.name]
	if !ok || !ok2 || !ok3 || !ok4 || n < 0 || n > 1<<48 {
		return s, "", 0, errors.New("a storage of an unknown kind")
	}
	return storage{kind: kind}, key, int(n), nil
}

// decodeOld reads the format before PyTorch 1.6: pickles of a magic number, a version, the machine, the checkpoint and the keys of its
// storages, then each storage behind its number of elements.
func decodeOld(raw []byte) (any, error) {
	storages, order := map[string]*storage{}, []string{}
	sizes := map[string]int{}
	m := machine{in: raw[:min(len(raw), maxPickle)], lookup: func(id []any) (any, error) { return nil, errors.New("a storage before the checkpoint") }}
	number, err := m.run()
	if err != nil {
		return nil, err
	}
	if n, ok := number.(*big.Int); !ok || n.Cmp(magic) != 0 {
		return nil, errors.New("the magic number of torch.save is not at its beginning")
	}
	version, err := m.run()
	if err != nil || version != int64(1001) {
		return nil, errors.Join(fmt.Errorf("version %v of the older format, supported is 1001", version), err)
	}
	machineOf, err := m.run()
	if err != nil {
		return nil, err
	}
	if d, ok := machineOf.(*dict); ok {
		for i, k := range d.keys {
			if k == "little_endian" && d.values[i] != true {
				return nil, errors.New("byte order big, supported is little")
			}
		}
	}
	// The storages lie behind the pickles, whose ends are not known before they have been read: find the checkpoint's end first, with
	// storages that have no bytes.
	begin := m.at
	m.lookup = func(id []any) (any, error) {
		s, key, n, err := storageOf(id)
		if err == nil && storages[key] == nil {
			storages[key], sizes[key] = &s, n
		}
		return s, err
	}
	if err := m.skip(); err != nil {
		return nil, err
	}
	keys, err := m.run()
	if err != nil {
		return nil, err
	}
	l, ok := keys.(*list)
	if !ok {
		return nil, errors.New("the keys of the storages are no list")
	}
	for _, k := range l.items {
		key, ok := k.(string)
		if !ok || storages[key] == nil {
			return nil, errors.New("a storage that no tensor has")
		}
		order = append(order, key)
	}
	at := m.at
	for _, key := range order {
		s, n := storages[key], sizes[key]
		if len(raw)-at < 8 || binary.LittleEndian.Uint64(raw[at:]) != uint64(n) || n > (len(raw)-at-8)/s.kind.size {
			return nil, fmt.Errorf("storage %s is cut short, or has not the %d elements of its tensors", clip(key), n)
		}
		at += 8
		end := at + n*s.kind.size
		s.data, at = raw[at:end:end], end
	}
	m.at = begin
	m.lookup = func(id []any) (any, error) {
		s, key, n, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		have := storages[key]
		if have.data == nil || have.kind != s.kind || n*s.kind.size != len(have.data) {
			return nil, fmt.Errorf("storage %s is not in the file, or has two kinds", clip(key))
		}
		return *have, nil
	}
	return m.run()
}

// skip runs a pickle to its end without making tensors, which have no storages yet.
func (m *machine) skip() error {
	m.dry = true
	_, err := m.run()
	m.dry = false
	return err
}
