package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/pytools"
)

// imageOf is an image that tells its number by its first pixel.
func imageOf(t *testing.T, number int) []byte { return datatest.PNG(t, 4, 5, byte(number)) }

// told lists a split's labels and the numbers of its images.
func told(t *testing.T, s data.Split) string {
	t.Helper()
	var list []string
	for i := range s.Len() {
		img, err := s.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d:%d", img.Pixels[0], s.Label(i)))
	}
	return strings.Join(list, " ")
}

// wantSplits compares all of a data set; each split is image:label pairs.
func wantSplits(t *testing.T, d *data.Dataset, train, heldOut, test string, classes ...string) {
	t.Helper()
	for name, got := range map[string][2]string{"train": {told(t, d.Train), train}, "held-out": {told(t, d.HeldOut), heldOut}, "test": {told(t, d.Test), test}} {
		if got[0] != got[1] {
			t.Errorf("%s is %s, want %s", name, got[0], got[1])
		}
	}
	if !slices.Equal(d.Classes, classes) {
		t.Errorf("classes %q, want %q", d.Classes, classes)
	}
}

// openAll opens a source without cutting anything off train.
func openAll(t *testing.T, src string) *data.Dataset {
	t.Helper()
	d, err := Open(context.Background(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantErrors changes one file at a time, to a text or, where it is empty, to nothing, and
// wants an error that names a path.
func wantErrors(t *testing.T, kind, dir string, changes [][3]string) {
	t.Helper()
	for _, change := range changes {
		path := filepath.Join(dir, change[0])
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := data.ErrFormat
		if change[1] == "" {
			want = fs.ErrNotExist
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, []byte(change[1]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), kind+":"+dir, Options{}); !errors.Is(err, want) || !strings.Contains(err.Error(), change[2]) {
			t.Errorf("%s with %s %q: error %v, want %v and %q", kind, change[0], change[1], err, want, change[2])
		}
		datatest.Write(t, dir, map[string][]byte{change[0]: whole})
	}
}

func TestPets(t *testing.T) {
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{
		"annotations/trainval.txt": []byte("great_pyrenees_2 2 2 1\nAbyssinian_1 1 1 1\n"), "annotations/test.txt": []byte("# comment\nAbyssinian_3 1 1 1\n"),
		"images/great_pyrenees_2.jpg": imageOf(t, 2), "images/Abyssinian_1.jpg": imageOf(t, 1), "images/Abyssinian_3.jpg": imageOf(t, 3),
	})
	wantSplits(t, openAll(t, "pets:"+dir), "2:1 1:0", "", "3:0", "Abyssinian", "great pyrenees")
	wantErrors(t, "pets", dir, [][3]string{
		{"annotations/test.txt", "", "test.txt"},
		{"annotations/test.txt", "Abyssinian_3 zero", "test.txt:1"},
		{"annotations/test.txt", "Abyssinian_3", "test.txt:1"},
		{"annotations/test.txt", "Siamese_3 1", "class 1 is"},
		{"annotations/test.txt", "Siamese_3 9", "class 9 of 3"},
		{"annotations/test.txt", "../../x_3 3", "../../x_3"},
	})
}

func TestINaturalist(t *testing.T) {
	dir := t.TempDir()
	annotations := func(images ...int) []byte { // image k is of category 10 + k%2
		var names, categories []string
		for _, k := range images {
			names = append(names, fmt.Sprintf(`{"id": %d, "file_name": "all/%d.jpg", "width": 5}`, 100+k, k))
			categories = append(categories, fmt.Sprintf(`{"id": %d, "image_id": %d, "category_id": %d}`, k, 100+k, 10+k%2))
		}
		slices.Reverse(categories)
		return fmt.Appendf(nil, `{"info": {}, "images": [%s], "annotations": [%s], "categories": [{"id": 11, "name": "worm"}, {"id": 10, "name": "bird", "kingdom": "Animalia"}]}`,
			strings.Join(names, ","), strings.Join(categories, ","))
	}
	files := map[string][]byte{"train2018.json": annotations(3, 1, 2), "val2018.json": annotations(4)}
	for k := range 6 {
		files[fmt.Sprintf("all/%d.jpg", k)] = imageOf(t, k)
	}
	datatest.Write(t, dir, files)
	wantSplits(t, openAll(t, "inaturalist:"+dir), "3:1 1:1 2:0", "", "4:0", "bird", "worm")
	wantErrors(t, "inaturalist", dir, [][3]string{
		{"val2018.json", "", "val2018.json"},
		{"val2018.json", "{", "val2018.json"},
		{"val2018.json", `{"images": [{"id": 1, "file_name": "x.jpg"}]}`, "x.jpg"},
		{"val2018.json", `{"images": [{"id": 1, "file_name": "/x.jpg"}], "annotations": [{"image_id": 1, "category_id": 10}]}`, "/x.jpg"},
		{"val2018.json", `{"annotations": [{"image_id": 1, "category_id": 10}, {"image_id": 1, "category_id": 11}]}`, "image 1"},
	})
	datatest.Write(t, dir, map[string][]byte{"train_mini.json": annotations(5), "val.json": annotations(0)})
	if _, err := Open(context.Background(), "inaturalist:"+dir, Options{}); !errors.Is(err, data.ErrEmpty) {
		t.Errorf("two files of training images: %v", err)
	}
	wantSplits(t, openAll(t, "inaturalist:"+dir+"/train_mini.json"), "5:1", "", "0:0", "bird", "worm")
}

// writeMAT writes MAT files into a folder.
func writeMAT(t *testing.T, dir, program string) {
	t.Helper()
	python := pytools.Python(t, pytools.SciPy)
	pytools.Run(t, python, `
import os, sys
import numpy as np
from scipy.io import savemat
os.chdir(sys.stdin.read())
def structs(names, *columns):
    a = np.zeros((1, len(columns[0])), dtype=[(n, object) for n in names])
    for n, values in zip(names, columns):
        for i, v in enumerate(values):
            a[0, i][n] = v
    return a
`+program, []byte(dir))
}

func TestFlowers(t *testing.T) {
	dir := t.TempDir()
	writeMAT(t, dir, `
savemat("imagelabels.mat", {"labels": np.uint8([[77, 1, 102, 1]])}, do_compression=True)
savemat("setid.mat", {"trnid": np.uint16([[4, 2]]), "valid": np.uint16([[1]]), "tstid": np.uint16([[3]])})
savemat("short.mat", {"trnid": np.uint16([[5]]), "valid": np.uint16([[1]]), "tstid": np.uint16([[3]])})
savemat("half.mat", {"labels": [[0.5, 1, 1, 1]]})
savemat("zero.mat", {"labels": [[0, 1, 1, 1]]})
`)
	for k := 1; k <= 4; k++ {
		datatest.Write(t, dir, map[string][]byte{fmt.Sprintf("jpg/image_%05d.jpg", k): imageOf(t, k)})
	}
	var classes []string
	for k := range 102 {
		classes = append(classes, fmt.Sprint(k+1))
	}
	wantSplits(t, openAll(t, "flowers102:"+dir), "4:0 2:0", "1:76", "3:101", classes...)
	text := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	wantErrors(t, "flowers102", dir, [][3]string{
		{"setid.mat", "", "setid.mat"},
		{"setid.mat", text("short.mat"), "image 5 of 4"},
		{"setid.mat", text("half.mat"), "trnid"},
		{"imagelabels.mat", text("half.mat"), "0.5"},
		{"imagelabels.mat", text("zero.mat"), "label -1"},
	})
}

func TestCars(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "devkit"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeMAT(t, dir, `
names = np.empty((1, 2), dtype=object)
names[0] = ["Audi A4", "BMW X5"]
savemat("devkit/cars_meta.mat", {"class_names": names})
boxes = lambda n: [np.uint16(3)] * n
savemat("devkit/cars_train_annos.mat", {"annotations": structs(["bbox_x1", "class", "fname"], boxes(2), [np.uint8(2), np.uint8(1)], ["2.jpg", "1.jpg"])}, do_compression=True)
savemat("cars_test_annos_withlabels.mat", {"annotations": structs(["bbox_x1", "class", "fname"], boxes(1), [np.uint8(1)], ["3.jpg"])})
savemat("without.mat", {"annotations": structs(["bbox_x1", "fname"], boxes(1), ["3.jpg"])})
savemat("out.mat", {"annotations": structs(["class", "fname"], [np.uint8(1)], ["../../3.jpg"])})
savemat("class3.mat", {"annotations": structs(["class", "fname"], [np.uint8(3)], ["3.jpg"])})
`)
	datatest.Write(t, dir, map[string][]byte{"cars_train/1.jpg": imageOf(t, 1), "cars_train/2.jpg": imageOf(t, 2), "cars_test/3.jpg": imageOf(t, 3)})
	wantSplits(t, openAll(t, "cars:"+dir), "2:1 1:0", "", "3:0", "Audi A4", "BMW X5")
	var changes [][3]string
	for name, want := range map[string]string{"without.mat": "0 times class", "out.mat": "../../3.jpg", "class3.mat": "label 2 of 2"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, [3]string{"cars_test_annos_withlabels.mat", string(text), want})
	}
	wantErrors(t, "cars", dir, append(changes, [3]string{"devkit/cars_meta.mat", "", "cars_meta.mat"}))
	if err := os.Rename(filepath.Join(dir, "cars_test_annos_withlabels.mat"), filepath.Join(dir, "devkit", "cars_test_annos_withlabels.mat")); err != nil {
		t.Fatal(err)
	}
	wantSplits(t, openAll(t, "cars:"+dir), "2:1 1:0", "", "3:0", "Audi A4", "BMW X5")
	if err := os.Remove(filepath.Join(dir, "devkit", "cars_test_annos_withlabels.mat")); err != nil {
		t.Fatal(err)
	}
	wantSplits(t, openAll(t, "cars:"+dir), "2:1 1:0", "", "", "Audi A4", "BMW X5")
}
