package fetch

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"prenas/internal/data"
	"prenas/internal/fsys"
)

// Converter copies a shard, of a name, as a plain tar.
type Converter func(ctx context.Context, name string, from io.Reader, to io.Writer) error

// Cache lays shards that cannot be read at any place, as those that are
// compressed or elsewhere, into the cache folder, as plain tars. A name there is
// that of one state of a local file, or of an address: what comes from an address
// is taken not to change.
type Cache struct {
	dir     string
	other   func(name string) bool // tells what is no plain tar
	convert Converter

	watch Watch
	meter *Meter
	slots chan struct{} // for downloads at once
}

const (
	UnpackFree   = 1 << 28 // bytes that any shard may have unpacked
	UnpackFactor = 100     // and how much larger than packed: images hardly shrink
)

func NewCache(w Watch, other func(name string) bool, convert Converter) (*Cache, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("%w: no cache folder: %w; set XDG_CACHE_HOME", data.ErrFetch, err)
	}
	return &Cache{
		dir: filepath.Join(cache, "prenas", "data", "shards"), other: other, convert: convert, watch: w,
		meter: NewMeter(w), slots: make(chan struct{}, downloads),
	}, nil
}

// Plain returns the path of the shard at a path or an address that can be read at any place. forget removes it from
// the cache, for a shard that turns out to be damaged.
func (c *Cache) Plain(ctx context.Context, at string, address *url.URL) (path string, forget func() error, err error) {
	name, shown, key := at, at, "address\x00"+at
	if address != nil {
		name, shown = address.Path, address.Redacted()
	}
	switch info, err := os.Stat(at); {
	case address != nil:
	case err != nil:
		return "", nil, err
	case !c.other(name):
		return at, func() error { return nil }, nil
	default:
		absolute, err := filepath.Abs(at)
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
	c.watch.log("data: laying %s into %s", shown, c.dir)
	if address == nil {
		err = c.convertFile(ctx, at, path)
	} else {
		err = c.fetch(ctx, at, name, path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", shown, err)
	}
	return path, forget, nil
}

func (c *Cache) convertFile(ctx context.Context, from, to string) error {
	file, err := fsys.OpenRegular(from)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.write(ctx, from, file, to)
}

// write converts a shard into a file of the cache. What is wrong with the shard is not told
// as an error of that file.
func (c *Cache) write(ctx context.Context, name string, from io.Reader, to string) error {
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

// fetch fetches a shard; name says how it is compressed.
func (c *Cache) fetch(ctx context.Context, address, name, to string) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.slots }()
	from := NewDownload(ctx, address, Patience, c.meter)
	defer from.Close()
	err := c.write(ctx, name, from, to)
	if err != nil {
		from.meter.undo()
	}
	return err
}

// Unpack is the converter of tars: it copies one, decompressed as its name says, and refuses one that
// grows as no images do.
func Unpack(ctx context.Context, name string, from io.Reader, to io.Writer) error {
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
			return fmt.Errorf("%w: %w", data.ErrFetch, packed.err)
		case err != nil:
			return damagedPacked(err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func damagedPacked(err error) error { return fmt.Errorf("%w: decompress: %w", data.ErrFormat, err) }

// bounded refuses to write a shard that grows as no images do: whatever its form, it was made
// to fill the disk.
type bounded struct {
	w       io.Writer
	packed  *sized // what was read of the shard
	written int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.written += int64(len(p)); b.written > UnpackFree+UnpackFactor*b.packed.n {
		return 0, fmt.Errorf("%w: %d bytes of it unpack to more than %d", data.ErrFormat, b.packed.n, b.written)
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
