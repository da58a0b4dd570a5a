//go:build cgo

package engine

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/foreign"
	"prenas/internal/fsys"
)

// fakePip puts a python3 on the PATH that "downloads" a wheel holding the
// library, and returns a plug-in whose sums are theirs and the cache's folder.
func fakePip(t *testing.T, library string) (plugin, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	wheel := filepath.Join(dir, "fake-1-py3-none-any.whl")
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("fake/plugin.so")
	if err == nil {
		_, err = w.Write([]byte(library))
	}
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	script := "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && cp '" + wheel + "' \"$2\"; shift; done\n"
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	wheelSum, err := fsys.Sum(wheel)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(library))
	return plugin{name: "fake", pkg: "fake==1", wheelSum: wheelSum, member: "fake/plugin.so", file: "pjrt_c_api_fake_plugin.so", fileSum: hex.EncodeToString(sum[:])}, dir
}

func find(t *testing.T, p plugin) (path, log string, err error) {
	t.Helper()
	var lines []string
	path, err = p.find(context.Background(), "", func(s string) { lines = append(lines, s) })
	return path, strings.Join(lines, "\n"), err
}

func TestPluginIsFetchedOnceAndVerified(t *testing.T) {
	p, _ := fakePip(t, "library")
	path, log, err := find(t, p)
	if err != nil || !strings.Contains(log, "pip") {
		t.Fatalf("first: %v\n%s", err, log)
	}
	if _, log, err = find(t, p); err != nil || !strings.Contains(log, "cached") {
		t.Fatalf("second: %v\n%s", err, log)
	}
	if err := os.WriteFile(path, []byte("libbary"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, log, err = find(t, p); err != nil || !strings.Contains(log, "damaged") {
		t.Fatalf("after damage: %v\n%s", err, log)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "library" {
		t.Errorf("the damaged copy was not replaced: %q %v", text, err)
	}
}

func TestWrongWheelIsRefused(t *testing.T) {
	p, _ := fakePip(t, "library")
	p.wheelSum = strings.Repeat("0", 64)
	if _, _, err := find(t, p); !errors.Is(err, ErrNoPlugin) || !errors.Is(err, ErrChecksum) {
		t.Error(err)
	}
}

func TestNoPluginToBeHad(t *testing.T) {
	p, dir := fakePip(t, "library")
	if err := os.WriteFile(filepath.Join(dir, "bin", "python3"), []byte("#!/bin/sh\necho no network >&2; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, err := find(t, p)
	if !errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), "no network") || !strings.Contains(err.Error(), PluginEnv) {
		t.Error(err)
	}
}

func TestPluginOfPythonsPackages(t *testing.T) {
	// pip installs for a user into a folder of theirs that the isolated python3 does not show.
	home := t.TempDir()
	t.Setenv("HOME", home)
	folders, err := foreign.PythonPackages(t.Context(), func(string) {})
	if err != nil {
		t.Skip(err)
	}
	own := slices.IndexFunc(folders, func(dir string) bool { return strings.HasPrefix(dir, home) })
	if own < 0 {
		t.Fatalf("%q has no folder of the user", folders)
	}
	p := plugin{name: "cuda", modules: []string{"prenas_none/at_all", "prenas_fake/cuda"}, library: "fake.so"}
	if _, _, err := find(t, p); !errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), "python3 has no plug-in for cuda; pip install") {
		t.Errorf("without a package: %v", err)
	}
	folder := filepath.Join(folders[own], "prenas_fake", "cuda")
	failing := []byte("raise SystemExit('it was run')\n")
	for _, dir := range []string{folder, filepath.Dir(folder)} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "__init__.py"), failing, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := find(t, p); !errors.Is(err, ErrNoPlugin) {
		t.Errorf("a package without the library: %v", err)
	}
	want := filepath.Join(folder, "fake.so")
	if err := os.WriteFile(want, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	path, log, err := find(t, p)
	if err != nil || path != want || !strings.Contains(log, "of python3's packages") {
		t.Errorf("found %q, %v; said %q; want %q", path, err, log, want)
	}
}

// What a killed process left of a download is removed by the next one.
func TestFetchingRemovesWhatWasLeft(t *testing.T) {
	p, _ := fakePip(t, "library")
	path, _, err := find(t, p)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(filepath.Dir(path), "wheel-123")
	if err := errors.Join(os.Remove(path), os.MkdirAll(left, 0o755), os.WriteFile(filepath.Join(left, "half.whl"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := find(t, p); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: want the library alone", entries, err)
	}
}

// What XLA looks for in the working folder is not there when a plug-in is loaded.
func TestNothingOfTheWorkingFolderIsCUDA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.so")
	t.Setenv("LD_LIBRARY_PATH", "")
	for _, name := range cudaPrograms {
		t.Chdir(t.TempDir())
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := loadable(cudaPlugin, path); !errors.Is(err, foreign.ErrPlace) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := loadable(cpuPlugin, path); err != nil {
			t.Error(err)
		}
	}
	if err := loadable(cpuPlugin, "/a,shared_buffers/plugin.so"); err == nil {
		t.Error("go-xla would take what is before a comma for the plug-in")
	}
}
