package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
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
)

// tarOf packs members, a name and a text each.
func tarOf(t *testing.T, members ...string) []byte {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(members[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// samplesFrom are members of samples first to first+n-1, of class number modulo 3.
func samplesFrom(t *testing.T, first, n int) []string {
	var members []string
	for i := first; i < first+n; i++ {
		name := fmt.Sprintf("%05d", i)
		label := []string{".cls", fmt.Sprint(i % 3)}
		if i%2 == 1 {
			label = []string{".json", fmt.Sprintf(`{"label": %d, "caption": "x"}`, i%3)}
		}
		members = append(members, name+".png", string(pngOf(t, 5, 5+i%4, byte(i))), name+label[0], label[1])
	}
	return members
}

func zipped(t *testing.T, text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

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
		"train-000.tar": tarOf(t, samplesFrom(t, 0, 5)...), "train-001.tar.gz": zipped(t, tarOf(t, samplesFrom(t, 5, 5)...)),
		"train-002.tar.zst": z.EncodeAll(tarOf(t, samplesFrom(t, 10, 5)...), nil), "val-0.tgz": zipped(t, tarOf(t, samplesFrom(t, 15, 4)...)),
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
		if !isWeb(src) && d.Classes[2] != "blue" {
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
	text := tarOf(t, "./dog/b/2.png", string(pngOf(t, 4, 4, 2)), "./cat/1.png", string(pngOf(t, 4, 4, 1)), "dog/3.JPG", "broken", "readme.md", "no image")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(context.Background(), "tar:"+file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Classes, []string{"cat", "dog"}) || d.Train.Len() != 3 || d.Train.Label(0) != 0 || d.Train.Label(1) != 1 {
		t.Errorf("%d images, classes %q", d.Train.Len(), d.Classes)
	}
	_, damaged, err := Check(context.Background(), d, 0, nil)
	if err != nil || len(damaged) != 1 || damaged[0].Image != file+", dog/3.JPG" {
		t.Errorf("damaged %v, %v", damaged, err)
	}
}

func TestHostileTars(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	whole := tarOf(t, samplesFrom(t, 0, 3)...)
	for name, text := range map[string][]byte{
		"truncated.tar":      whole[:700],
		"nothing.tar":        bytes.Repeat([]byte{7}, 2048),
		"cut.tar.gz":         zipped(t, whole)[:60],
		"not packed.tar.gz":  whole,
		"not packed.tar.zst": whole,
		"twice.tar":          tarOf(t, "a.png", "", "a.jpg", "", "a.cls", "0"),
		"no class.tar":       tarOf(t, "a.png", ""),
		"half.tar":           tarOf(t, "a.png", "", "a.cls", "0", "x/b.png", ""),
		"text.tar":           tarOf(t, "a.png", "", "a.cls", "first"),
		"negative.tar":       tarOf(t, "a.png", "", "a.cls", "-1"),
		"huge class.tar":     tarOf(t, "a.png", "", "a.cls", "99999999"),
		"json.tar":           tarOf(t, "a.png", "", "a.json", `{"label": `),
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(context.Background(), "tar:"+path, Options{})
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want ErrFormat that names it", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "prenas", "data", "shards"))
	if err != nil || len(entries) != 0 {
		t.Errorf("the cache has %v, %v", entries, err)
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"a":                 "a",
		"a-{08..10}.tar":    "a-08.tar a-09.tar a-10.tar",
		"{a,b}{1..2}":       "a1 a2 b1 b2",
		"{3..1}":            "error",
		"{0..99999999}":     "error",
		"{0..1048575}{a,b}": "error",
		"x{":                "error",
		"{a..b}":            "error",
	} {
		got, err := expand(pattern)
		if text := strings.Join(got, " "); err != nil && want != "error" || err == nil && text != want {
			t.Errorf("%s: %q, %v", pattern, text, err)
		}
	}
}

func FuzzListTar(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		samples, err := listTar(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range samples {
			if s.offset < 0 || s.size < 0 || s.label >= maxClasses {
				t.Errorf("sample %+v", s)
			}
		}
	})
}
