package source

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSourcesFromTheRoot(t *testing.T) {
	here := filepath.Join(t.TempDir(), "here")
	odd := filepath.Join(t.TempDir(), "a,b")
	for _, dir := range []string{here, odd} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(here)
	for src, want := range map[string]string{
		"folder:x":                        "folder:" + here + "/x",
		"folder:../x/./y":                 "folder:" + filepath.Dir(here) + "/x/y",
		"folder:/x":                       "folder:/x",
		"tar:train-{0..3}.tar,/t.tar":     "tar:" + here + "/train-{0..3}.tar,/t.tar",
		"tar:https://a.example/{0,1}.tar": "tar:https://a.example/{0,1}.tar",
		"parquet:p":                       "parquet:" + here + "/p",
		"fashion-mnist":                   "fashion-mnist",
		"synthetic:2x3x4":                 "synthetic:2x3x4",
		"nonsense":                        "nonsense",
	} {
		if got := Absolute(src); got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
	if !Missing("folder:nothing") || Missing("folder:.") || Missing("fashion-mnist") || Missing("tar:no-*.tar") {
		t.Error("what is missing")
	}
	t.Chdir(odd) // whose name would be part of a pattern
	if got := Absolute("tar:x.tar"); got != "tar:x.tar" {
		t.Errorf("got %s", got)
	}
}
