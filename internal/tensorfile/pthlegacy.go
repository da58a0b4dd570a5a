package tensorfile

import "encoding/binary"

// Before PyTorch 1.6 a .pth was five pickles in a row (a magic number, the
// protocol, notes on the machine, the tensors, and the storages' keys) and the
// storages' bytes after them: for each key an int64 that counts elements, then
// the elements.

// legacyStart is the first pickle: protocol 2, LONG1 of ten bytes, the magic
// number 0x1950a86a20f9469cfc6c, and STOP.
var legacyStart = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")

const legacyProtocol = 1001

// legacy reads the pickles; storages are known by their key before their bytes
// are reached.
type legacy struct {
	data    []byte
	at      int
	byKey   map[string]*storage
	counted int64
	views   int64
}

func parseLegacy(data []byte) (*File, error) {
	l := &legacy{data: data, at: len(legacyStart), byKey: map[string]*storage{}}
	version, err := l.next()
	if err != nil {
		return nil, err
	}
	if version != any(int64(legacyProtocol)) {
		return nil, malformed("legacy protocol other than %d", legacyProtocol)
	}
	machine, err := l.next()
	if err != nil {
		return nil, err
	}
	if d, ok := machine.(*dict); ok {
		for i, key := range d.keys {
			if key == any("little_endian") && d.values[i] != any(true) {
				return nil, malformed("big-endian elements; only little-endian ones are read")
			}
		}
	}
	root, err := l.next()
	if err != nil {
		return nil, err
	}
	shown := l.views
	keys, err := l.next()
	if err != nil {
		return nil, err
	}
	if err := l.fill(keys); err != nil {
		return nil, err
	}
	return checkpoint(root, shown, l.counted)
}

// next runs the pickle that comes next.
func (l *legacy) next() (any, error) {
	rest := l.data[l.at:]
	p := &pickle{data: rest[:min(len(rest), maxPickle)], resolve: l.storage}
	v, err := p.run()
	l.at += p.at
	l.views = p.views
	return v, err
}

// storage is ("storage", type, key, device, number of elements, view), where
// view is None in every file of this century.
func (l *legacy) storage(id tuple) (*storage, error) {
	s, key, err := newStorage(id, 6)
	if err != nil {
		return nil, err
	}
	if id[5] != nil {
		return nil, malformed("storage %.80q is a view of another one", key)
	}
	if had, ok := l.byKey[key]; ok {
		if had.dtype != s.dtype || had.count != s.count {
			return nil, malformed("storage %.80q is described in two ways", key)
		}
		return had, nil
	}
	if l.counted += s.bytes(); l.counted > int64(len(l.data)) {
		return nil, malformed("storages of %d bytes in a file of %d", l.counted, len(l.data))
	}
	l.byKey[key] = s
	return s, nil
}

// fill gives each storage its bytes, in the order of the keys.
func (l *legacy) fill(keys any) error {
	order, ok := keys.(*list)
	if !ok || len(order.items) != len(l.byKey) {
		return malformed("the list of storages does not name the %d that tensors use", len(l.byKey))
	}
	for _, item := range order.items {
		key, isText := item.(string)
		s := l.byKey[key]
		if !isText || s == nil || s.data != nil {
			return malformed("the list of storages names %.80q, which no tensor uses or which stands twice", key)
		}
		rest := l.data[l.at:]
		if len(rest) < 8 || binary.LittleEndian.Uint64(rest) != uint64(s.count) || int64(len(rest)-8) < s.bytes() {
			return malformed("storage %.80q is cut off or of another size", key)
		}
		s.data = rest[8 : 8+s.bytes() : 8+s.bytes()]
		l.at += 8 + int(s.bytes())
	}
	if l.at != len(l.data) {
		return malformed("%d bytes after the last storage", len(l.data)-l.at)
	}
	return nil
}
