package matfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prenas/internal/pytools"
)

// scipyFiles are files of the same variables, plain and compressed.
func scipyFiles(t *testing.T) []string {
	t.Helper()
	python := pytools.Python(t, pytools.SciPy)
	dir := t.TempDir()
	pytools.Run(t, python, `
import sys
import numpy as np
from scipy.io import savemat
folder = sys.stdin.read()
structs = np.zeros((1, 3), dtype=[("class", object), ("fname", object)])
for i in range(3):
    structs[0, i]["class"] = np.uint8(i + 5)
    structs[0, i]["fname"] = f"0000{i}.jpg"
cells = np.empty((1, 2), dtype=object)
cells[0] = ["Audi A4", "Bücher"]
for compress in [False, True]:
    savemat(f"{folder}/{compress}.mat", {
        "labels": np.arange(1, 301, dtype=np.float64)[None], "small": np.uint8([[1, 2], [3, 4]]), "tiny": np.int16([[-7]]),
        "annotations": structs, "names": cells, "empty": np.zeros((0, 0)), "single": np.float32([[0.5]])}, do_compression=compress)
`, []byte(dir))
	return []string{filepath.Join(dir, "False.mat"), filepath.Join(dir, "True.mat")}
}

func TestReadsWhatSciPyWrites(t *testing.T) {
	for _, path := range scipyFiles(t) {
		v, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		labels := v["labels"]
		if len(labels.Numbers) != 300 || labels.Numbers[0] != 1 || labels.Numbers[299] != 300 || !slices.Equal(labels.Dims, []int{1, 300}) {
			t.Errorf("%s: labels %v of %v", path, labels.Numbers, labels.Dims)
		}
		for name, want := range map[string][]float64{"small": {1, 3, 2, 4}, "tiny": {-7}, "single": {0.5}, "empty": {}} {
			if !slices.Equal(v[name].Numbers, want) {
				t.Errorf("%s: %s is %v", path, name, v[name].Numbers)
			}
		}
		if names := v["names"].Cells; len(names) != 2 || names[0].Text != "Audi A4" || names[1].Text != "Bücher" {
			t.Errorf("%s: names %+v", path, names)
		}
		fields := v["annotations"].Fields
		if len(fields["class"]) != 3 || len(fields["fname"]) != 3 || fields["class"][2].Numbers[0] != 7 || fields["fname"][1].Text != "00001.jpg" {
			t.Errorf("%s: annotations %+v", path, fields)
		}
	}
}

// What is cut off is refused, and a changed byte leads to an error or to other values, never
// to a panic.
func TestDamagedFiles(t *testing.T) {
	for _, path := range scipyFiles(t) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(whole) {
			if v, err := Parse(whole[:n]); err == nil && len(v) >= len(all) || err != nil && !errors.Is(err, ErrFormat) {
				t.Errorf("%s cut to %d bytes: %d variables, %v", path, n, len(v), err)
			}
			text := slices.Clone(whole)
			text[n] ^= 0xff
			if _, err := Parse(text); err != nil && !errors.Is(err, ErrFormat) {
				t.Errorf("%s with byte %d changed: %v", path, n, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	header := make([]byte, headerBytes)
	copy(header[124:], "\x00\x01IM")
	if v, err := Parse(header); err != nil || len(v) != 0 {
		t.Errorf("a file without variables: %v, %v", v, err)
	}
	hdf5 := slices.Clone(header)
	hdf5[125] = 2
	for name, text := range map[string][]byte{
		"empty": nil, "text": slices.Repeat([]byte("a"), 200), "version 7.3": hdf5,
		"an element longer than the file": append(slices.Clone(header), 14, 0, 0, 0, 255, 255, 255, 255),
		"a bomb that is none":             append(slices.Clone(header), 15, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4),
	} {
		if _, err := Parse(text); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	one := make([]byte, headerBytes)
	copy(one[124:], "\x00\x01IM")
	// A variable x of two bytes: flags, dimensions 1x2, name, numbers.
	f.Add(append(one, "\x0e\x00\x00\x00\x38\x00\x00\x00"+
		"\x06\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"+
		"\x05\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"+
		"\x01\x00\x01\x00x\x00\x00\x00"+"\x02\x00\x02\x00\x07\x08\x00\x00"+"\x00\x00\x00\x00\x00\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Parse(text); err != nil && !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
}
