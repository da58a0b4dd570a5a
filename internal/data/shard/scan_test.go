package shard

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

// A tar that was cut between two files is not taken for a shorter one, whatever is missing.
func TestCutTar(t *testing.T) {
	whole := datatest.Tar(t, datatest.Samples(t, 0, 2)...)
	if scanned, err := scanTar(bytes.NewReader(whole)); err != nil || len(scanned.members) != 2 {
		t.Fatalf("%+v, %v", scanned, err)
	}
	ends := len(whole) - 1024 // two blocks of zeros end a tar; one is enough to know it by
	for n := 0; n <= ends; n += 128 {
		if _, err := scanTar(bytes.NewReader(whole[:n])); !errors.Is(err, data.ErrFormat) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// Parts of a sample that are not its image, and notes on the shard, are passed over; what
// looks like an image but is no ordinary file is not.
func TestPartsOfSamples(t *testing.T) {
	text := datatest.Tar(t, "__info__.png", "x", "a/1.jpg", "one", "a/1.mask.png", "no", "a/1.txt", "no", "a/1.cls", " 7\n", "b.c/2.seg.png", "no", "b.c/2.JPG", "three", "b.c/2.cls", "0")
	scanned, err := scanTar(bytes.NewReader(text))
	if err != nil || len(scanned.members) != 2 {
		t.Fatalf("%+v, %v", scanned, err)
	}
	list := scanned.members
	for i, want := range []string{"a/1.jpg 7 one", "b.c/2.JPG 0 three"} {
		one := list[i]
		if got := fmt.Sprint(one.name, " ", one.label, " ", string(text[one.offset:][:one.size])); got != want {
			t.Errorf("image %d is %q, want %q", i, got, want)
		}
	}
	var linked bytes.Buffer
	w := tar.NewWriter(&linked)
	if err := w.WriteHeader(&tar.Header{Name: "a.png", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := scanTar(bytes.NewReader(linked.Bytes())); !errors.Is(err, data.ErrFormat) {
		t.Errorf("a link for an image: %v", err)
	}
}

func FuzzListTar(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		scanned, err := scanTar(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range scanned.members {
			if s.offset < 0 || s.size < 0 || s.label >= data.MaxClasses {
				t.Errorf("sample %+v", s)
			}
		}
	})
}
