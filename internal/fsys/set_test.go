package fsys_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prenas/internal/fsys"
	"prenas/internal/fsys/faultfs"
)

// writeSet writes two files that belong together; the second names the first's digest.
func writeSet(f fsys.FS, dir, text string) error {
	set := fsys.NewSet(f)
	defer set.Discard()
	first := filepath.Join(dir, "first")
	if err := writeText(set, first, text); err != nil {
		return err
	}
	if err := writeText(set, filepath.Join(dir, "second"), set.Sum(first)); err != nil {
		return err
	}
	return set.Commit()
}

// together tells whether the second file is of the first.
func together(t *testing.T, dir string) (text string, agree bool) {
	t.Helper()
	first, err := os.ReadFile(filepath.Join(dir, "first"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dir, "second"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := fsys.Sum(filepath.Join(dir, "first"))
	if err != nil {
		t.Fatal(err)
	}
	return string(first), sum == string(second)
}

func TestSetIsWholeOrAsItWas(t *testing.T) {
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	if err := writeSet(clean, t.TempDir(), "new text"); err != nil {
		t.Fatal(err)
	}
	names := slices.Index(clean.Log, "rename") // from there on files get their names
	if i := slices.Index(clean.Log, "sync folder"); names < 0 || i != names+2 {
		t.Fatalf("operations %q: two names, then the folder is synced", clean.Log)
	}
	for _, kind := range faultfs.Kinds {
		for at, name := range clean.Log {
			dir := t.TempDir()
			if err := writeSet(fsys.OS, dir, "old text"); err != nil {
				t.Fatal(err)
			}
			if err := writeSet(&faultfs.FS{FS: fsys.OS, At: at, Kind: kind}, dir, "new text"); err == nil {
				t.Errorf("%s fails: no error", name)
			}
			text, agree := together(t, dir)
			switch {
			case at <= names && (text != "old text" || !agree):
				t.Errorf("operation %d (%s) fails: %q, agree %v; want both as they were", at, name, text, agree)
			case at == names+1 && agree: // between the two names
				t.Errorf("operation %d (%s) fails: nothing shows that %q is of another writing than its digest", at, name, text)
			case at > names+1 && (text != "new text" || !agree):
				t.Errorf("operation %d (%s) fails: %q, agree %v; want both new", at, name, text, agree)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 2 {
				t.Errorf("operation %d (%s) fails: %d files are left, want 2", at, name, len(entries))
			}
		}
	}
}
