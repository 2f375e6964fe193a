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

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/lfs"
	"github.com/vkcome/vkcome/model/internal/shards"
)

// maxPickle bounds the pickle of a checkpoint, in bytes, and with it the memory of what it makes, some 60 bytes for each; a tensor takes about 200.
const maxPickle = 16 << 20

// magic begins a file of the older format, as a pickled integer.
var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// parse reads what tensors a file has.
func parse(from *files.Stored) (map[string]Tensor, error) {
	name := from.Path()
	root, err := decode(from)
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
		err := shards.CheckName(tensorName)
		if _, twice := tensors[tensorName]; twice && err == nil {
			err = fmt.Errorf("tensor %s: named twice", tensorName)
		}
		if err != nil {
			return nil, fmt.Errorf("torchfile: %s: %w", name, err)
		}
		t.Name, t.File, t.from = tensorName, name, from
		tensors[tensorName] = t
	}
	return tensors, nil
}

func decode(from *files.Stored) (any, error) {
	head, err := from.Head(lfs.Size)
	if err != nil {
		return nil, err
	}
	if err := lfs.Check(head); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return decodeZip(from)
	}
	if len(head) > 2 && head[0] == 0x80 {
		return decodeOld(from)
	}
	return nil, errors.New("neither a zip archive of torch.save nor its older format")
}

// decodeZip reads an archive: NAME/data.pkl, and NAME/data/KEY for the storage of each key, all stored without compression.
func decodeZip(from *files.Stored) (any, error) {
	z, err := zip.NewReader(from, from.Size())
	if errors.Is(err, zip.ErrFormat) { // it begins as an archive, and the list of files that ends one is not there
		return nil, files.Truncated("truncated: %v", err)
	}
	if err != nil {
		return nil, err
	}
	found, prefix := map[string]*zip.File{}, ""
	for _, f := range z.File {
		if found[f.Name] != nil {
			return nil, fmt.Errorf("two files of the archive are named %q", clip(f.Name))
		}
		found[f.Name] = f
		if before, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok {
			prefix = before
		}
	}
	stored := func(name string) (begin, size int64, err error) {
		f := found[prefix+"/"+name]
		if f == nil {
			return 0, 0, fmt.Errorf("the archive lacks %s", clip(name))
		}
		begin, err = f.DataOffset()
		if errors.Is(err, files.ErrChanged) {
			return 0, 0, err
		}
		n := f.UncompressedSize64
		if err != nil || f.Method != zip.Store || f.CompressedSize64 != n || begin < 0 || begin > from.Size() || n > uint64(from.Size()-begin) {
			return 0, 0, fmt.Errorf("%s: compressed or cut short: %w", clip(name), errors.Join(err, io.ErrUnexpectedEOF))
		}
		return begin, int64(n), nil
	}
	read := func(name string, most int64) ([]byte, error) {
		begin, size, err := stored(name)
		if err != nil {
			return nil, err
		}
		if size > most {
			return nil, fmt.Errorf("%s has %d bytes, the limit is %d", name, size, most)
		}
		raw := make([]byte, size)
		_, err = from.ReadAt(raw, begin)
		return raw, err
	}
	if found[prefix+"/byteorder"] != nil {
		if order, err := read("byteorder", 80); err != nil || string(order) != "little" {
			return nil, fmt.Errorf("byte order %q, supported is little", clip(string(order)))
		}
	}
	pickle, err := read("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	m := machine{in: pickle}
	m.lookup = func(id []any) (any, error) {
		s, key, n, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		begin, size, err := stored("data/" + key)
		if err != nil {
			return nil, err
		}
		if int64(n) > size/int64(s.kind.size) {
			return nil, fmt.Errorf("storage %s has %d bytes, expected %d elements of %d", clip(key), size, n, s.kind.size)
		}
		s.begin, s.elements = begin, n
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
func decodeOld(from *files.Stored) (any, error) {
	storages, order := map[string]*storage{}, []string{}
	pickles, err := from.Head(maxPickle)
	if err != nil {
		return nil, err
	}
	m := machine{in: pickles, lookup: func(id []any) (any, error) { return nil, errors.New("a storage before the checkpoint") }}
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
			s.elements = n
			storages[key] = &s
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
	at := int64(m.at)
	for _, key := range order {
		s := storages[key]
		var length [8]byte
		if _, err := from.ReadAt(length[:], at); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		} else if n := s.elements; err != nil || binary.LittleEndian.Uint64(length[:]) != uint64(n) || int64(n) > (from.Size()-at-8)/int64(s.kind.size) {
			return nil, fmt.Errorf("storage %s is cut short, or has not the %d elements of its tensors", clip(key), n)
		}
		s.begin = at + int64(len(length))
		at = s.begin + int64(s.elements*s.kind.size)
	}
	m.at = begin
	m.lookup = func(id []any) (any, error) {
		s, key, n, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		have := storages[key]
		if have == nil || have.begin == 0 || have.kind != s.kind || n != have.elements {
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
