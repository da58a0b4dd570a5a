package source

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/pack"
)

// What a user gave in a folder's place, or how a path was written, is told.
func TestWaysOnOfSources(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	w, err := z.Create("cat/0.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(datatest.PNG(t, 5, 5, 1)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	datatest.Write(t, dir, map[string][]byte{
		"a.zip": archive.Bytes(), "b.tar": archive.Bytes(), "c.png": datatest.PNG(t, 5, 5, 1),
		"loop/cat/0.png": datatest.PNG(t, 5, 5, 1), "loop/dog/0.png": datatest.PNG(t, 5, 5, 1),
	})
	if err := os.Symlink("..", filepath.Join(dir, "loop", "up")); err != nil {
		t.Skip(err)
	}
	for src, want := range map[string]string{
		"folder:" + dir + "/a.zip": "is a zip archive, not a folder; unpack",
		"folder:" + dir + "/b.tar": "give it as tar:",
		"folder:" + dir + "/c.png": "is a file, not a folder",
		"tar:" + dir + "/b.tar":    "it is a zip archive, no tar",
		"folder:" + dir + "/loop":  "up leads to a folder that it lies in: remove it",
		"folder:$DATA/x":           "variables are for the shell to fill in",
		"folder:~nobody/x":         "only ~/ is your home folder",
		"folder:file:///x":         "without file:",
		"folder: x":                "begins or ends with a space",
	} {
		if _, err := Open(context.Background(), src, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "loop", "up")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("cat", filepath.Join(dir, "loop", "kitten")); err != nil { // beside it: a class
		t.Fatal(err)
	}
	if d, err := Open(context.Background(), "folder:"+dir+"/loop", Options{}); err != nil || len(d.Classes) != 3 {
		t.Error(d, err)
	}
}

// Outer folders that may be splits by unknown names, and classes that differ in capitals alone, are
// told; what was left out is told of packed images too.
func TestWhatMaySurpriseIsTold(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{}
	for _, name := range []string{"tr/cat/0.png", "tr/dog/0.png", "te/cat/0.png", "te/dog/0.png"} {
		files["words/"+name] = datatest.PNG(t, 5, 5, 1)
	}
	for _, name := range []string{"Cat/0.png", "cat/0.png", "dog/0.png", "dog/notes.xyz", "dog/more.xyz", "dog/Thumbs.db"} {
		files["capitals/"+name] = datatest.PNG(t, 5, 5, 1)
	}
	files["capitals/dog/notes.xyz"], files["capitals/dog/more.xyz"] = []byte("text"), []byte("text")
	datatest.Write(t, dir, files)
	opened := func(src string) *data.Dataset {
		d, err := Open(context.Background(), src, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	says := func(d *data.Dataset, want string) bool {
		return slices.ContainsFunc(d.Notes, func(note string) bool { return strings.Contains(note, want) })
	}
	if d := opened("folder:" + dir + "/words"); !says(d, "all hold the folders cat, dog: if those are the classes, rename") {
		t.Error(d.Notes)
	}
	d := opened("folder:" + dir + "/capitals")
	if !says(d, "Cat and cat differ in capitals alone") || says(d, "all hold") {
		t.Error(d.Notes)
	}
	packed := filepath.Join(dir, "packed")
	if err := packOf(t, context.Background(), "folder:"+dir+"/capitals", packed, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	want := "files that are not read as images: 2 .xyz (a text); 1 file or folder that tools leave behind"
	for _, d := range []*data.Dataset{d, opened("pack:" + packed)} {
		if got := d.LeftOut.String(); got != want {
			t.Errorf("left out %q, want %q", got, want)
		}
	}
	if _, err := Open(context.Background(), "folder:"+dir+"/nothing", Options{}); !errors.Is(err, data.ErrMissing) {
		t.Error(err)
	}
}
