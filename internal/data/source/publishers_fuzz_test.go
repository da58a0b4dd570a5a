package source

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

// openAny opens a source of files from elsewhere: it may be refused for its form or for what
// it lacks, and must not panic.
func openAny(t *testing.T, kind string, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	datatest.Write(t, dir, files)
	_, err := Open(context.Background(), kind+":"+dir, Options{})
	if err != nil && !errors.Is(err, data.ErrFormat) && !errors.Is(err, data.ErrEmpty) && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzPets(f *testing.F) {
	f.Add([]byte("Abyssinian_1 1 1 1\n"), []byte("# comment\ngreat_pyrenees_2 2 2 1\n"))
	f.Fuzz(func(t *testing.T, train, test []byte) {
		openAny(t, "pets", map[string][]byte{"annotations/trainval.txt": train, "annotations/test.txt": test})
	})
}

func FuzzINaturalist(f *testing.F) {
	one := []byte(`{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 2}], "categories": [{"id": 2, "name": "bird"}]}`)
	f.Add(one, one)
	f.Fuzz(func(t *testing.T, train, val []byte) {
		openAny(t, "inaturalist", map[string][]byte{"train.json": train, "val.json": val})
	})
}

func FuzzImageNet(f *testing.F) {
	f.Add([]byte(`{"0": ["n01", "tench"]}`), []byte("v1,n01 1 2 3 4\n"), []byte("1\n"))
	f.Fuzz(func(t *testing.T, index, solution, truth []byte) {
		for _, labels := range []map[string][]byte{{"LOC_val_solution.csv": solution}, {"ILSVRC2012_validation_ground_truth.txt": truth}} {
			files := map[string][]byte{"imagenet_class_index.json": index, "train/n01/a.jpg": nil, "val/v1.jpg": nil}
			for name, text := range labels {
				files[name] = text
			}
			openAny(t, "imagenet", files)
		}
	})
}
