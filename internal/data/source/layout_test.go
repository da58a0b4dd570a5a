package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

// layoutCase is folders as they are shipped: the images there are, the number that each split then
// has, the classes, and what is said.
type layoutCase struct {
	files   string // names; DIR/ stands before each
	splits  string // training, held out, test
	classes string
	says    string // a part of a line
	err     error
}

var layoutCases = []layoutCase{
	{files: "cat/1.png dog/1.png", splits: "2 0 0", classes: "cat dog"},
	{files: "train/cat/1.png train/dog/1.png test/cat/1.png", splits: "2 0 1", classes: "cat dog"},
	{files: "Train/cat/1.png Test/cat/1.png", splits: "1 0 1", classes: "cat"},
	{files: "TRAINING/cat/1.png Testing/cat/1.png Validation/cat/1.png Validation/cat/2.png", splits: "1 2 1", classes: "cat"},
	{files: "train/cat/1.png valid/cat/1.png", splits: "1 0 1", classes: "cat"},
	{files: "trn/cat/1.png dev/cat/1.png eval-test/cat/1.png", splits: "1 0 1", classes: "cat", says: "not read, beside the splits: DIR/eval-test"},
	{files: "train/cat/1.png dev/cat/1.png test/cat/1.png", splits: "1 1 1", classes: "cat"},
	{files: "training_set/cat/1.png test_set/cat/1.png", splits: "1 0 1", classes: "cat"},
	{files: "TrainSet/cat/1.png TestImages/cat/1.png", splits: "1 0 1", classes: "cat"},
	{files: "train2017/cat/1.png val2017/cat/1.png", splits: "1 0 1", classes: "cat"},
	// As Kaggle's archives are unpacked.
	{files: "flowers/flowers/train/cat/1.png flowers/flowers/test/cat/1.png", splits: "1 0 1", classes: "cat", says: "flowers/flowers"},
	{files: "PetImages/cat/1.png PetImages/dog/1.png", splits: "2 0 0", classes: "cat dog", says: "PetImages"},
	{files: "training_set/training_set/cat/1.png training_set/training_set/dog/1.png test_set/test_set/cat/1.png", splits: "2 0 1", classes: "cat dog"},
	{files: "seg_train/seg_train/sea/1.png seg_test/seg_test/sea/1.png seg_pred/seg_pred/1.png", splits: "1 0 1", classes: "sea", says: "not read, beside the splits: DIR/seg_pred"},
	{files: "train/cat/1.png test/cat/1.png chest/train/cat/1.png", splits: "1 0 1", classes: "cat", says: "not read, beside the splits: DIR/chest"},
	{files: "train/cat/1.png train/dog/1.png test/1.png test/2.png", splits: "2 0 0", classes: "cat dog", says: "holds images without classes"},
	{files: "train/cat/1.png train/loose.png", splits: "1 0 0", classes: "cat", says: "1 image in no class's folder"},
	// What looks like a split and cannot be one.
	{files: "cat/1.png dog/1.png test/cat/1.png", err: data.ErrLayout},
	{files: "cat/1.png dog/1.png val/cat/1.png", err: data.ErrLayout},
	{files: "train/cat/1.png training/cat/1.png", err: data.ErrLayout},
	{files: "train/1.png test/1.png cat/1.png", err: data.ErrLayout},
	{files: "cat/train/1.png cat/test/1.png dog/train/1.png dog/test/1.png", err: data.ErrLayout},
	{files: "train/1.png test/2.png", err: data.ErrEmpty},
	{files: "train/1.png test/cat/2.png", err: data.ErrEmpty},
	{files: "bus/1.png car/1.png train/1.png", splits: "3 0 0", classes: "bus car train", says: "it is a class"},
	{files: "bullet_train/1.png bus/1.png bus/2.png", splits: "3 0 0", classes: "bullet_train bus"},
	{files: "attested/1.png contest/1.png latest/1.png strain/1.png", splits: "4 0 0", classes: "attested contest latest strain"},
	// Classes with folders in them, and without images.
	{files: "train/cat/in/1.png train/cat/out/1.png train/dog/1.png", splits: "3 0 0", classes: "cat dog", says: "2 of its images lie deeper"},
	{files: "train/cat/1.png train/dog/notes.txt", splits: "1 0 0", classes: "cat dog", says: "class dog has no training image"},
	{files: "train/cat/1.png test/dog/1.png", err: data.ErrFormat},
	{files: "cat/1.png", splits: "1 0 0", classes: "cat", says: "nothing to tell apart"},
	{files: "0/1.png 1/1.png 2/1.png 10/1.png", splits: "4 0 0", classes: "0 1 10 2", says: "10 comes before 2"},
	// Litter is nothing.
	{files: "train/cat/1.png train/.ipynb_checkpoints/1-checkpoint.png train/cat/._1.png train/__MACOSX/cat/1.png train/cat/Thumbs.db .git/objects/x/1.png __MACOSX/train/cat/1.png", splits: "1 0 0", classes: "cat", says: "4 files or folders that tools leave behind"},
	{files: "cat/1.png dog/1.png .cache/1.png @eaDir/cat/1.png $RECYCLE.BIN/1.png lost+found/1.png", splits: "2 0 0", classes: "cat dog"},
	// One name, two codings.
	{files: "train/caf\u00e9/1.png test/cafe\u0301/1.png", splits: "1 0 1", classes: "caf\u00e9"},
	{files: "train/caf\u00e9/1.png train/cafe\u0301/2.png", splits: "2 0 0", classes: "caf\u00e9"},
}

// check opens a source and compares it with a case.
func (c layoutCase) check(t *testing.T, src, dir string) {
	t.Helper()
	var said []string
	d, err := Open(context.Background(), src, Options{Log: func(line string) { said = append(said, line) }})
	if c.err != nil {
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.files, err, c.err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", c.files, err)
		return
	}
	if got := fmt.Sprint(d.Train.Len(), d.HeldOut.Len(), d.Test.Len()); got != c.splits || strings.Join(d.Classes, " ") != c.classes {
		t.Errorf("%s: %s of %q, want %s of %s", c.files, got, d.Classes, c.splits, c.classes)
	}
	text := strings.ReplaceAll(strings.Join(said, "\n"), dir, "DIR")
	if !strings.Contains(text, c.says) || c.says == "" && len(d.Notes) > 0 {
		t.Errorf("%s: said %q, want %q", c.files, text, c.says)
	}
}

func TestFoldersAsTheyAre(t *testing.T) {
	for _, c := range layoutCases {
		dir := t.TempDir()
		files := map[string][]byte{}
		for i, name := range strings.Fields(c.files) {
			files[name] = datatest.PNG(t, 4, 4, byte(i))
			if !strings.HasSuffix(name, ".png") {
				files[name] = []byte("a note")
			}
		}
		datatest.Write(t, dir, files)
		c.check(t, "folder:"+dir, dir)
	}
}

// The same folders inside a tar, however its shards are cut, are the same splits and classes.
func TestFoldersInTars(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, c := range layoutCases {
		names := strings.Fields(c.files)
		if c.says == "class dog has no training image" || strings.Contains(c.says, "deeper") || strings.Contains(c.says, "leave behind") || strings.Contains(c.files, "dog/test/") || c.err == data.ErrEmpty || c.err == data.ErrFormat {
			continue // an archive has no folders without files, and its classes are those of all its splits
		}
		for _, shards := range []int{1, 2} {
			dir := filepath.Join(t.TempDir(), "shards")
			texts := map[string][]byte{}
			for k := range shards {
				var members []string
				for i, name := range names {
					if i%shards != k {
						continue
					}
					members = append(members, name, string(datatest.PNG(t, 4, 4, byte(i))))
				}
				if len(members) > 0 {
					texts[fmt.Sprintf("flowers-%d.tar", k)] = datatest.Tar(t, members...)
				}
			}
			datatest.Write(t, dir, texts)
			inside := c
			if strings.HasPrefix(c.says, "not read") || strings.HasPrefix(c.says, "holds") {
				inside.says = "in no class's folder"
			}
			inside.check(t, "tar:"+dir, dir)
		}
	}
}

// A shard whose name says its split may hold the folder of that split, of no other.
func TestTarOfASplitWithItsFolder(t *testing.T) {
	dir := t.TempDir()
	image := string(datatest.PNG(t, 4, 4, 1))
	datatest.Write(t, dir, map[string][]byte{
		"train-0.tar": datatest.Tar(t, "train/cat/1.png", image, "train/dog/1.png", image),
		"test-0.tar":  datatest.Tar(t, "cat/1.png", image),
	})
	layoutCase{files: "train and test", splits: "2 0 1", classes: "cat dog"}.check(t, "tar:"+dir, dir)
	datatest.Write(t, dir, map[string][]byte{"test-0.tar": datatest.Tar(t, "train/cat/1.png", image)})
	layoutCase{files: "train in test", err: data.ErrLayout}.check(t, "tar:"+dir, dir)
	datatest.Write(t, dir, map[string][]byte{"test-0.tar": datatest.Tar(t, "cat/1.png", image), "more-0.tar": datatest.Tar(t, "cat/2.png", image)})
	layoutCase{files: "a shard without a split", splits: "3 0 1", classes: "cat dog", says: "do not say in their names which split"}.check(t, "tar:"+dir, dir)
}

// Labels may be names; classes.txt may stand above the folders of shards, in any coding.
func TestLabelsThatAreNames(t *testing.T) {
	image := string(datatest.PNG(t, 4, 4, 1))
	const names = "dog\r\nfish\r\ncat\r\n"
	wide := "\xff\xfe"
	for _, r := range names {
		wide += string([]byte{byte(r), 0})
	}
	for coding, list := range map[string]string{"plain": names, "UTF-8 with a mark": "\xef\xbb\xbf" + names, "UTF-16": wide, "none": ""} {
		dir := t.TempDir()
		files := map[string][]byte{
			"train/0.tar": datatest.Tar(t, "1.png", image, "1.cls", "\xef\xbb\xbfcat\r\n", "2.png", image, "2.json", "\xef\xbb\xbf{\"label\": \"dog\"}"),
			"test/0.tar":  datatest.Tar(t, "1.png", image, "1.cls", "dog\n"),
		}
		classes, want := "cat dog", []int{0, 1, 1}
		if list != "" {
			files["classes.txt"] = []byte(list)
			classes, want = "dog fish cat", []int{2, 0, 0}
		}
		datatest.Write(t, dir, files)
		c := layoutCase{files: coding, splits: "2 0 1", classes: classes}
		if list != "" {
			c.says = "class fish has no training image"
		}
		c.check(t, "tar:"+dir, dir)
		d := open0(t, "tar:"+dir)
		if got := []int{d.Train.Label(0), d.Train.Label(1), d.Test.Label(0)}; !slices.Equal(got, want) {
			t.Errorf("%s: labels %v, want %v", coding, got, want)
		}
		other := datatest.Tar(t, "1.png", image, "1.cls", "dog", "2.png", image, "2.cls", "dog")
		before := d.Digest
		datatest.Write(t, dir, map[string][]byte{"train/0.tar": other})
		if now := open0(t, "tar:"+dir); now.Digest == before {
			t.Errorf("%s: other labels have the same digest", coding)
		}
		datatest.Write(t, dir, map[string][]byte{"train/0.tar": datatest.Tar(t, "1.png", image, "1.cls", "cat", "2.png", image, "2.cls", "7")})
		layoutCase{files: "names and numbers", err: data.ErrFormat}.check(t, "tar:"+dir, dir)
	}
	dir := t.TempDir() // numbers, and the names above the folders of the splits
	datatest.Write(t, dir, map[string][]byte{
		"train/0.tar": datatest.Tar(t, "1.png", image, "1.cls", "1\r\n"), "test/0.tar": datatest.Tar(t, "1.png", image, "1.cls", "0"), "classes.txt": []byte("cat\r\ndog\r\n"),
	})
	for _, src := range []string{dir, dir + "/train/*.tar," + dir + "/test/*.tar"} {
		layoutCase{files: src, splits: "1 0 1", classes: "cat dog", says: "class cat has no training image"}.check(t, "tar:"+src, dir)
	}
}

// open0 opens a source with nothing held out.
func open0(t *testing.T, src string) *data.Dataset {
	t.Helper()
	d, err := Open(context.Background(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Images are told by what they hold where their names do not; the rest is counted by its
// ending. All kinds of sources skip what tools leave behind.
func TestEndings(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	image := datatest.PNG(t, 4, 4, 1)
	const avif = "\x00\x00\x00\x1cftypavif\x00\x00\x00\x00"
	files := map[string][]byte{
		"a.png": image, "b.jfif": image, "c": image, "d.jpg?width=640": image, "e.JPE": image, "f.PNG.tmp": image, "g.png~": image,
		"h.avif": []byte(avif), "i.txt": []byte("a note"), "j.txt": []byte("a note"), "k": []byte("a note"), "._a.png": []byte("\x00\x05\x16\x07"), ".DS_Store": {1},
	}
	const want = "left out: files that are not read as images: 2 .txt (a text), 1 without an ending (a text), 1 .avif (an AVIF image), 1 .png~ (a PNG image), 1 .tmp (a PNG image); 2 files or folders that tools leave behind"
	dir := t.TempDir()
	var members []string
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}) {
		for _, class := range []string{"cat", "dog"} {
			if class == "dog" && name != "a.png" {
				continue
			}
			datatest.Write(t, dir, map[string][]byte{"folder/" + class + "/" + name: files[name]})
			members = append(members, class+"/"+name, string(files[name]))
		}
	}
	datatest.Write(t, dir, map[string][]byte{"shards/0.tar": datatest.Tar(t, members...), "shards/._0.tar": {1}, "shards/.cache/1.tar": {1}})
	for _, src := range []string{"folder:" + dir + "/folder", "tar:" + dir + "/shards", "tar:" + dir + "/shards/*.tar"} {
		layoutCase{files: src, splits: "6 0 0", classes: "cat dog", says: want}.check(t, src, dir)
	}
	if list, err := data.ListImages(dir + "/folder"); err != nil || len(list) != 6 {
		t.Errorf("ListImages: %q (%v)", list, err)
	}
}

func TestHomeFolder(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	datatest.Write(t, home, map[string][]byte{"x/cat/1.png": datatest.PNG(t, 4, 4, 1), "s/train.tar": datatest.Tar(t, "cat/1.png", string(datatest.PNG(t, 4, 4, 1))), "s/test.tar": datatest.Tar(t, "cat/1.png", string(datatest.PNG(t, 4, 4, 1)))})
	for src, want := range map[string]int{"folder:~/x": 1, "tar:~/s/train.tar,~/s/test.tar": 2, "tar:~/s/*.tar": 2} {
		d, err := Open(context.Background(), src, Options{})
		if err != nil || d.Train.Len()+d.Test.Len() != want {
			t.Errorf("%s: %v", src, err)
		}
	}
	t.Setenv("HOME", filepath.Join(home, "x"))
	if d := open0(t, "folder:~"); d.Train.Len() != 1 {
		t.Errorf("folder:~ has %d images", d.Train.Len())
	}
}

// Ordinary folders and shards keep the digests that earlier versions gave them, by which
// runs are resumed.
func TestDigestsStay(t *testing.T) {
	dir := t.TempDir()
	image := []byte("an image")
	files := map[string][]byte{}
	for _, name := range strings.Fields("train/cat/1.png train/dog/deep/2.png val/cat/3.png test/dog/4.png") {
		files["folder/"+name] = image
	}
	files["shards/train-0.tar"] = datatest.Tar(t, "0.png", string(image), "0.cls", "1", "1.png", string(image), "1.cls", "0")
	files["shards/val-0.tar"] = datatest.Tar(t, "0.png", string(image), "0.cls", "1")
	files["foldered/0.tar"] = datatest.Tar(t, "cat/0.png", string(image), "dog/1.png", string(image))
	datatest.Write(t, dir, files)
	for src, want := range map[string]string{"folder:" + dir + "/folder": "462d01d4ef3c2f812c84c01ade3fd806687f2d4eafe7ec3a7aba4eb3e9b7de16", "tar:" + dir + "/shards": "2755d4c62a87ed1a558ff4e813065ad975e82bc6b37a580cded281873359d960", "tar:" + dir + "/foldered": "ef68944bff702a39bcf30526bde726f92c262f11259a59ebe53c7f5f6ec0a37f"} {
		if got := open0(t, src).Digest; got != want {
			t.Errorf("%s: digest %s, want %s", strings.ReplaceAll(src, dir, ""), got, want)
		}
	}
}
