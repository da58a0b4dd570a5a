package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

func TestImageNet(t *testing.T) {
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{
		"train/n02/a.JPEG": imageOf(t, 2), "train/n01/b.JPEG": imageOf(t, 1), "train/n03/c.JPEG": imageOf(t, 3),
		"val/n03/ILSVRC2012_val_00000001.JPEG": imageOf(t, 4), "val/n01/ILSVRC2012_val_00000002.JPEG": imageOf(t, 5), "test/x.JPEG": imageOf(t, 6),
	})
	wantSplits(t, openAll(t, "imagenet:"+dir), "1:0 2:1 3:2", "", "5:0 4:2", "n01", "n02", "n03")

	// A class index gives the numbers and the names.
	datatest.Write(t, dir, map[string][]byte{"imagenet_class_index.json": []byte(`{"1": ["n01", "crane"], "0": ["n03", "crane"], "2": ["n02", "tench"], "3": ["n09", "newt"]}`)})
	wantSplits(t, openAll(t, "imagenet:"+dir), "1:1 2:2 3:0", "", "5:1 4:0", "crane (n03)", "crane (n01)", "tench", "newt")
	for text, want := range map[string]string{`{"1": ["n01", "crane"]}`: "number 0", `[]`: "imagenet_class_index.json", `{"0": ["n01", "x"]}`: "n02"} {
		datatest.Write(t, dir, map[string][]byte{"imagenet_class_index.json": []byte(text)})
		if _, err := Open(context.Background(), "imagenet:"+dir, Options{}); !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("index %s: %v, want %s", text, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "imagenet_class_index.json")); err != nil {
		t.Fatal(err)
	}
	datatest.Write(t, dir, map[string][]byte{"synset_words.txt": []byte("n01 tench, Tinca tinca\nn02 shark\nn03 newt\n")})
	wantSplits(t, openAll(t, "imagenet:"+dir), "1:0 2:1 3:2", "", "5:0 4:2", "tench, Tinca tinca", "shark", "newt")
}

// Validation images as they are shipped stand in one folder.
func TestImageNetAsShipped(t *testing.T) {
	dir, kit := t.TempDir(), filepath.Join("ILSVRC2012_devkit_t12", "data")
	root := "ILSVRC/Data/CLS-LOC/"
	datatest.Write(t, dir, map[string][]byte{
		root + "train/n01/a.JPEG": imageOf(t, 1), root + "train/n02/b.JPEG": imageOf(t, 2),
		root + "val/ILSVRC2012_val_00000001.JPEG": imageOf(t, 4), root + "val/ILSVRC2012_val_00000002.JPEG": imageOf(t, 5),
	})
	_, err := Open(context.Background(), "imagenet:"+dir, Options{})
	if !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), "LOC_val_solution.csv") {
		t.Errorf("without labels: %v", err)
	}
	datatest.Write(t, dir, map[string][]byte{kit + "/ILSVRC2012_validation_ground_truth.txt": []byte("7\n3\n")})
	writeMAT(t, filepath.Join(dir, kit), `
savemat("meta.mat", {"synsets": structs(["ILSVRC2012_ID", "WNID", "words"], [np.uint16(3), np.uint16(7)], ["n01", "n02"], ["tench", "shark"]).T}, do_compression=True)
`)
	wantSplits(t, openAll(t, "imagenet:"+dir), "1:0 2:1", "", "4:1 5:0", "n01", "n02")
	wantErrors(t, "imagenet", dir, [][3]string{
		{kit + "/ILSVRC2012_validation_ground_truth.txt", "7\n", "1 image, but val has 2"},
		{kit + "/ILSVRC2012_validation_ground_truth.txt", "7\nx\n", "ground_truth.txt:2"},
		{kit + "/ILSVRC2012_validation_ground_truth.txt", "7\n4\n", "val_00000002"},
	})
	datatest.Write(t, dir, map[string][]byte{"LOC_val_solution.csv": []byte("ImageId,PredictionString\nILSVRC2012_val_00000002,n02 1 2 3 4 n02 1 2 3 4\nILSVRC2012_val_00000001,n01 1 2 3 4\n")})
	wantSplits(t, openAll(t, "imagenet:"+dir), "1:0 2:1", "", "4:0 5:1", "n01", "n02")
	wantErrors(t, "imagenet", dir, [][3]string{
		{"LOC_val_solution.csv", "ImageId,P\nILSVRC2012_val_00000002,n02 1", "val_00000001"},
		{"LOC_val_solution.csv", "text", "LOC_val_solution.csv:1"},
	})
}

// Images to measure on are enough, for ImageNet and for folders.
func TestOnlyTestImages(t *testing.T) {
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{"val/n02/a.JPEG": imageOf(t, 2), "val/n01/b.JPEG": imageOf(t, 1)})
	for _, kind := range []string{"imagenet", "folder"} {
		wantSplits(t, openAll(t, kind+":"+dir), "", "", "1:0 2:1", "n01", "n02")
	}
	datatest.Write(t, dir, map[string][]byte{"synset_words.txt": []byte("n00 newt\nn01 tench\nn02 shark\n")})
	wantSplits(t, openAll(t, "imagenet:"+dir), "", "", "1:1 2:2", "newt", "tench", "shark")

	flat := t.TempDir()
	datatest.Write(t, flat, map[string][]byte{
		"val/v1.JPEG": imageOf(t, 1), "val/v2.JPEG": imageOf(t, 2), "LOC_val_solution.csv": []byte("v1,n05 1 2 3 4\nv2,n03 1 2 3 4\n"),
	})
	wantSplits(t, openAll(t, "imagenet:"+flat), "", "", "1:1 2:0", "n03", "n05")

	// A class may be called test, beside others.
	classes := t.TempDir()
	datatest.Write(t, classes, map[string][]byte{"test/a.JPEG": imageOf(t, 1), "other/b.JPEG": imageOf(t, 2)})
	wantSplits(t, openAll(t, "folder:"+classes), "2:0 1:1", "", "", "other", "test")
}
