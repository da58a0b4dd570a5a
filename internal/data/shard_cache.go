package data

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"prenas/internal/fsys"
)

// converter copies a shard, of a name, as a plain tar.
type converter func(ctx context.Context, name string, from io.Reader, to io.Writer) error

// shardCache lays shards that cannot be read at any place, as those that are
// compressed or elsewhere, into the cache folder, as plain tars. A name there is
// that of one state of a local file, or of an address: what comes from an address
// is taken not to change.
type shardCache struct {
	dir     string
	other   func(name string) bool // tells what is no plain tar
	convert converter

	o     Options
	meter meter
	slots chan struct{} // for downloads at once
}

const (
	unpackFree   = 1 << 28 // bytes that any shard may have unpacked
	unpackFactor = 100     // and how much larger than packed: images hardly shrink
)

func newShardCache(o Options, other func(name string) bool, convert converter) (*shardCache, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("%w: no cache folder: %w; set XDG_CACHE_HOME", ErrFetch, err)
	}
	return &shardCache{
		dir: filepath.Join(cache, "prenas", "data", "shards"), other: other, convert: convert, o: o,
		meter: meter{tell: o.Progress}, slots: make(chan struct{}, downloads),
	}, nil
}

// plain returns the path of a shard that can be read at any place. forget removes it from
// the cache, for a shard that turns out to be damaged.
func (c *shardCache) plain(ctx context.Context, s shardFile) (path string, forget func() error, err error) {
	name, key := s.at, "address\x00"+s.at
	if s.url != nil {
		name = s.url.Path
	}
	switch info, err := os.Stat(s.at); {
	case s.url != nil:
	case err != nil:
		return "", nil, err
	case !c.other(name):
		return s.at, func() error { return nil }, nil
	default:
		absolute, err := filepath.Abs(s.at)
		if err != nil {
			return "", nil, err
		}
		key = fmt.Sprintf("file\x00%s\x00%d\x00%d", absolute, info.Size(), info.ModTime().UnixNano())
	}
	sum := sha256.Sum256([]byte(key))
	path = filepath.Join(c.dir, hex.EncodeToString(sum[:16])+".tar")
	forget = func() error { return os.Remove(path) }
	if _, err := os.Stat(path); err == nil {
		return path, forget, nil
	}
	if err := fsys.OS.MkdirAll(c.dir); err != nil {
		return "", nil, err
	}
	c.o.log("data: laying %s into %s", s, c.dir)
	if s.url == nil {
		err = c.convertFile(ctx, s.at, path)
	} else {
		err = c.download(ctx, s, name, path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", s, err)
	}
	return path, forget, nil
}

func (c *shardCache) convertFile(ctx context.Context, from, to string) error {
	file, err := fsys.OpenRegular(from)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.write(ctx, from, file, to)
}

// write converts a shard into a file of the cache. What is wrong with the shard is not told
// as an error of that file.
func (c *shardCache) write(ctx context.Context, name string, from io.Reader, to string) error {
	var failed error
	err := fsys.WriteAtomic(fsys.OS, to, func(w io.Writer) error {
		packed := &sized{r: from}
		if file, ok := from.(*os.File); ok { // converters that need one read it at any place
			info, err := file.Stat()
			if err != nil {
				failed = err
				return err
			}
			packed.n = info.Size()
			failed = c.convert(ctx, name, file, &bounded{w: w, packed: packed})
			return failed
		}
		failed = c.convert(ctx, name, packed, &bounded{w: w, packed: packed})
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

// download fetches a shard; name says how it is compressed.
func (c *shardCache) download(ctx context.Context, s shardFile, name, to string) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.slots }()
	from := newDownload(ctx, s.at, patience, &c.meter)
	defer from.close()
	err := c.write(ctx, name, from, to)
	if err != nil {
		from.meter.undo()
	}
	return err
}

// unpack is the converter of tars: it copies one, decompressed as its name says, and refuses one that
// grows as no images do.
func unpack(ctx context.Context, name string, from io.Reader, to io.Writer) error {
	packed := &sized{r: from}
	plain := io.Reader(packed)
	switch {
	case strings.HasSuffix(name, "gz"):
		z, err := gzip.NewReader(packed)
		if err != nil {
			return damagedPacked(err)
		}
		plain = z
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return damagedPacked(err)
		}
		defer z.Close()
		plain = z
	}
	buffer := make([]byte, 1<<17)
	for {
		n, err := plain.Read(buffer)
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF:
			return ctx.Err()
		case packed.err != nil && packed.err != io.EOF: // not the shard's fault
			return fmt.Errorf("%w: %w", ErrFetch, packed.err)
		case err != nil:
			return damagedPacked(err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func damagedPacked(err error) error { return fmt.Errorf("%w: decompress: %w", ErrFormat, err) }

// bounded refuses to write a shard that grows as no images do: whatever its form, it was made
// to fill the disk.
type bounded struct {
	w       io.Writer
	packed  *sized // what was read of the shard
	written int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.written += int64(len(p)); b.written > unpackFree+unpackFactor*b.packed.n {
		return 0, fmt.Errorf("%w: %d bytes of it unpack to more than %d", ErrFormat, b.packed.n, b.written)
	}
	return b.w.Write(p)
}

// sized counts what is read, and keeps the error that ended it.
type sized struct {
	r   io.Reader
	n   int64
	err error
}

func (s *sized) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.err = err
	return n, err
}

// meter sums the progress of several downloads.
type meter struct {
	mu          sync.Mutex
	done, total int64
	tell        func(done, total int64)
}

// metered is one of them.
type metered struct {
	m           *meter
	done, total int64
}

func (m *meter) add(done, total int64) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = m.done+done, m.total+total
	m.tell(m.done, m.total)
}

// expect says how much there is to come, if that is known (-1: not).
func (d *metered) expect(total int64) {
	before := d.total
	d.total = max(total, 0)
	d.m.add(0, d.total-before)
}

func (d *metered) add(n int64) {
	d.done += n
	d.m.add(n, 0)
}

// undo takes back a download that failed.
func (d *metered) undo() { d.m.add(-d.done, -d.total) }
