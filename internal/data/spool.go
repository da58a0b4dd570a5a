package data

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"prenas/internal/fsys"
)

// What can only be read from its beginning to its end is turned once into a plain tar
// in the cache folder, of which any image can be read at any time.

// maxSpool bounds one unpacked shard.
const maxSpool = 1 << 38

// plainTar is the file of a shard as a plain tar: itself, or its copy in the cache.
func plainTar(ctx context.Context, shard string, o Options) (string, error) {
	if strings.HasSuffix(shard, ".tar") && !isWeb(shard) {
		return shard, nil
	}
	return spool(ctx, shard, o, func(w io.Writer) error {
		from, err := openShardFile(ctx, shard, o)
		if err != nil {
			return err
		}
		defer from.Close()
		var plain io.Reader = from
		switch {
		case strings.HasSuffix(shard, ".gz") || strings.HasSuffix(shard, ".tgz"):
			if plain, err = gzip.NewReader(from); err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
		case strings.HasSuffix(shard, ".zst"):
			unpacked, err := zstd.NewReader(from, zstd.WithDecoderMaxMemory(1<<30))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
			defer unpacked.Close()
			plain = unpacked
		}
		n, err := io.Copy(w, io.LimitReader(unpacking{ctx, plain}, maxSpool))
		if err == nil && n == maxSpool {
			err = fmt.Errorf("%w: it unpacks to more than %d bytes", ErrFormat, int64(maxSpool))
		}
		return err
	})
}

// spool makes the cached copy of a shard, where it is not there yet: a local file is
// known by path, size and time, one of the web by its address.
func spool(ctx context.Context, shard string, o Options, write func(io.Writer) error) (string, error) {
	key := shard
	if !isWeb(shard) {
		absolute, err := filepath.Abs(shard)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(shard)
		if err != nil {
			return "", withoutPath(err)
		}
		key = fmt.Sprintf("%s\x00%d\x00%d", absolute, info.Size(), info.ModTime().UnixNano())
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder to unpack it into: %w; set XDG_CACHE_HOME", err)
	}
	sum := sha256.Sum256([]byte(key))
	dir := filepath.Join(cache, "prenas", "data", "shards")
	path := filepath.Join(dir, hex.EncodeToString(sum[:16])+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	o.log("data: copying %s into the cache as a plain tar (once)", shard)
	if err := fsys.OS.MkdirAll(dir); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return path, fsys.WriteAtomic(fsys.OS, path, write)
}

// openShardFile opens a shard's bytes, from this machine or from the web.
func openShardFile(ctx context.Context, shard string, o Options) (io.ReadCloser, error) {
	if !isWeb(shard) {
		return os.Open(shard)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, shard, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%w: the server says %s", ErrFetch, response.Status)
	}
	body := response.Body
	if o.Progress == nil {
		return body, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{&counting{r: body, total: response.ContentLength, progress: o.Progress}, body}, nil
}

// unpacking ends with its context, and blames the shard for what cannot be read.
type unpacking struct {
	ctx context.Context
	r   io.Reader
}

func (u unpacking) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := u.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return n, err
}
