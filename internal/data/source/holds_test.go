package source

import (
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/data/datatest"
)

func TestFoldersThatHoldASource(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"splits/train/a", "splits/train/b", "splits/test/a", "classes/a", "classes/b", "pack"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(dir+"/x.png"), datatest.PNG(t, 4, 5, 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("pack", at("link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src, folder string
		want        bool
	}{
		{"folder:" + at("classes"), at("classes"), true},
		{"folder:" + at("classes"), at("classes/run"), true},
		{"folder:" + at("classes"), at("classes/a/run"), true},
		{"folder:" + at("classes"), at("run"), false},
		{"folder:" + at("splits"), at("splits"), false}, // only its splits are looked into
		{"folder:" + at("splits"), at("splits/run"), false},
		{"folder:" + at("splits"), at("splits/train"), true},
		{"folder:" + at("splits"), at("splits/test/run"), true},
		{"imagenet:" + at("splits"), at("splits/val/x"), true},
		{"pack:" + at("pack"), at("link"), true},
		{"pack:" + at("pack"), at("pack/run"), false},
		{"idx:" + root, root, false},
		{"tar:" + at("*.tar"), root, false},
		{"folder:" + at("nowhere"), at("nowhere"), false},
		{"magic:x", root, false},
	} {
		if got := Holds(c.src, c.folder); got != c.want {
			t.Errorf("%s holds %s: %v", c.src, c.folder, got)
		}
	}
}
