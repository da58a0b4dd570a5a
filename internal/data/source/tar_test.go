package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/fetch"
	"prenas/internal/data/inspect"
)

// Plain, gz and zst shards, from a folder, by patterns and from the web, are the same
// images.
func TestTarShards(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"train-000.tar": datatest.Tar(t, datatest.Samples(t, 0, 5)...), "train-001.tar.gz": datatest.Zip(t, datatest.Tar(t, datatest.Samples(t, 5, 5)...)),
		"train-002.tar.zst": z.EncodeAll(datatest.Tar(t, datatest.Samples(t, 10, 5)...), nil), "val-0.tgz": datatest.Zip(t, datatest.Tar(t, datatest.Samples(t, 15, 4)...)),
		"classes.txt": []byte("red\ngreen\nblue\n"), "notes.txt": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	var digest string
	for _, src := range []string{
		dir,
		dir + "/train-{000..000}.tar," + dir + "/train-00{1.tar.gz,2.tar.zst}," + dir + "/val-*",
		server.URL + "/train-000.tar," + server.URL + "/train-{001.tar.gz,002.tar.zst}," + server.URL + "/val-0.tgz",
	} {
		d, err := Open(context.Background(), "tar:"+src, Options{})
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if d.Train.Len() != 15 || d.Test.Len() != 4 || len(d.Classes) != 3 {
			t.Fatalf("%s: %d training and %d test images in classes %q", src, d.Train.Len(), d.Test.Len(), d.Classes)
		}
		if !strings.HasPrefix(src, "http") && d.Classes[2] != "blue" {
			t.Errorf("%s: classes %q", src, d.Classes)
		}
		if digest == "" {
			digest = d.Digest
		}
		if d.Digest != digest {
			t.Errorf("%s: another digest", src)
		}
		for i := range 15 {
			img, err := d.Train.Image(i)
			if err != nil || d.Train.Label(i) != i%3 || img.Width != 5+i%4 || img.Pixels[0] != byte(i) {
				t.Errorf("%s: image %d: label %d, width %d, %v", src, i, d.Train.Label(i), img.Width, err)
			}
		}
	}
}

func TestTarOfFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pets.tar")
	text := datatest.Tar(t, "./dog/b/2.png", string(datatest.PNG(t, 4, 4, 2)), "./cat/1.png", string(datatest.PNG(t, 4, 4, 1)), "dog/3.JPG", "broken", "readme.md", "no image")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(context.Background(), "tar:"+file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Classes, []string{"cat", "dog"}) || d.Train.Len() != 3 || d.Train.Label(0) != 1 || d.Train.Label(1) != 0 {
		t.Errorf("%d images, classes %q", d.Train.Len(), d.Classes)
	}
	checked, err := inspect.Check(context.Background(), d, 0, nil)
	if err != nil || len(checked.Damaged) != 1 || checked.Damaged[0].Image != file+", dog/3.JPG" {
		t.Errorf("damaged %v, %v", checked, err)
	}
}

func TestHostileTars(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	whole := datatest.Tar(t, datatest.Samples(t, 0, 3)...)
	for name, text := range map[string][]byte{
		"truncated.tar":      whole[:700],
		"nothing.tar":        bytes.Repeat([]byte{7}, 2048),
		"cut.tar.gz":         datatest.Zip(t, whole)[:60],
		"not packed.tar.gz":  whole,
		"not packed.tar.zst": whole,
		"twice.tar":          datatest.Tar(t, "a.png", "", "a.jpg", "", "a.cls", "0"),
		"no class.tar":       datatest.Tar(t, "a.png", ""),
		"half.tar":           datatest.Tar(t, "a.png", "", "a.cls", "0", "x/b.png", ""),
		"text.tar":           datatest.Tar(t, "a.png", "", "a.cls", "two\nlines"),
		"negative.tar":       datatest.Tar(t, "a.png", "", "a.cls", "-1"),
		"huge class.tar":     datatest.Tar(t, "a.png", "", "a.cls", "99999999"),
		"json.tar":           datatest.Tar(t, "a.png", "", "a.json", `{"label": `),
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(context.Background(), "tar:"+path, Options{})
		if !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want ErrFormat that names it", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "prenas", "data", "shards"))
	if err != nil || len(entries) != 0 {
		t.Errorf("the cache has %v, %v", entries, err)
	}
}

// A download that fails for a while goes on; one that ends early, or is no shard, leaves
// nothing in the cache.
func TestDownloads(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	whole := datatest.Tar(t, datatest.Samples(t, 0, 3)...)
	const tries = 3
	calls := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls[r.URL.Path]++
		switch r.URL.Path {
		case "/busy.tar":
			if calls[r.URL.Path] < tries {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write(whole)
		case "/short.tar":
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = w.Write(whole[:len(whole)/2])
		case "/page.tar":
			_, _ = w.Write([]byte("<html>sign in</html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for range 2 {
		d, err := Open(context.Background(), "tar:"+server.URL+"/busy.tar?key=1", Options{})
		if err != nil || d.Train.Len() != 3 {
			t.Fatalf("busy: %v", err)
		}
	}
	for name, want := range map[string]struct {
		err   error
		calls int
	}{"/short.tar": {data.ErrFetch, tries}, "/page.tar": {data.ErrFormat, 1}, "/missing.tar": {data.ErrFetch, 1}, "/busy.tar": {nil, tries}} {
		if want.err != nil {
			if _, err := Open(context.Background(), "tar:"+server.URL+name, Options{}); !errors.Is(err, want.err) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if calls[name] != want.calls {
			t.Errorf("%s was asked for %d times, want %d", name, calls[name], want.calls)
		}
	}
	if _, err := Open(context.Background(), "tar:http://me:secret@127.0.0.1:1/x.tar", Options{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one without the password", err)
	}
	entries, err := os.ReadDir(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "prenas", "data", "shards"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache has %v, %v; want the one sound shard", entries, err)
	}
}

// refusesBomb opens a shard that is small and becomes large: it is refused, and nothing of it stays in
// the cache.
func refusesBomb(t *testing.T, kind, name string, text []byte) {
	t.Helper()
	cache, dir := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), kind+path, Options{}); !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), "unpack to more than") {
		t.Errorf("%d bytes: %v, want ErrFormat", len(text), err)
	}
	kept, err := filepath.Glob(filepath.Join(cache, "prenas", "data", "shards", "*"))
	if err != nil || len(kept) > 0 {
		t.Errorf("%q stay (%v)", kept, err)
	}
}

// A shard that unpacks to far more than images do is refused before it fills the disk.
func TestUnpackingBomb(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<24)
	for range fetch.UnpackFree>>24 + 8 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	refusesBomb(t, "tar:", "bomb.tar.zst", packed.Bytes())
}
