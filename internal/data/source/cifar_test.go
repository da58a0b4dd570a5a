package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

// cifarFile has n records whose labels count up from 0 and whose pixel (y, x) of plane c is
// a value of its own.
func cifarFile(n, labelBytes int) []byte {
	var text []byte
	for i := range n {
		if labelBytes == 2 {
			text = append(text, 77) // coarse
		}
		text = append(text, byte(i))
		for c := range 3 {
			for y := range cifarSide {
				for x := range cifarSide {
					text = append(text, cifarPixel(i, c, y, x))
				}
			}
		}
	}
	return text
}

func cifarPixel(i, c, y, x int) byte { return byte(50*c + 7*y + x + i) }

func TestCIFAR(t *testing.T) {
	ten, hundred := t.TempDir(), t.TempDir()
	for k := range 5 {
		datatest.Write(t, ten, map[string][]byte{fmt.Sprintf("data_batch_%d.bin", k+1): cifarFile(4, 1)})
	}
	datatest.Write(t, ten, map[string][]byte{"test_batch.bin": cifarFile(3, 1), "batches.meta.txt": []byte("cat\ndog\nfrog\ncar\n\n")})
	datatest.Write(t, hundred, map[string][]byte{"train.bin": cifarFile(20, 2), "test.bin": cifarFile(3, 2), "fine_label_names.txt": []byte(strings.Repeat("x\n", 20))})
	for src, classes := range map[string]int{"cifar10:" + ten: 4, "cifar100:" + hundred: 20} {
		d := open(t, src)
		if d.Train.Len() != 16 || d.HeldOut.Len() != 4 || d.Test.Len() != 3 || len(d.Classes) != classes {
			t.Fatalf("%s: %d train, %d held out, %d test, %d classes", src, d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), len(d.Classes))
		}
		img, err := d.Test.Image(2)
		if err != nil || d.Test.Label(2) != 2 {
			t.Fatalf("%s: label %d (%v)", src, d.Test.Label(2), err)
		}
		for _, at := range [][3]int{{0, 0, 0}, {1, 3, 5}, {2, 31, 30}} {
			c, y, x := at[0], at[1], at[2]
			if got, want := img.Pixels[(y*cifarSide+x)*3+c], cifarPixel(2, c, y, x); got != want {
				t.Errorf("%s: pixel %d, %d of plane %d is %d, want %d", src, y, x, c, got, want)
			}
		}
	}
	for name, text := range map[string][]byte{"data_batch_3.bin": cifarFile(2, 1)[:4000], "test_batch.bin": cifarFile(5, 1), "data_batch_1.bin": nil} {
		path := filepath.Join(ten, name)
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		datatest.Write(t, ten, map[string][]byte{name: text})
		if _, err := Open(context.Background(), "cifar10:"+ten, Options{}); !errors.Is(err, data.ErrFormat) || !strings.Contains(err.Error(), ten) {
			t.Errorf("%s of %d bytes: %v", name, len(text), err)
		}
		datatest.Write(t, ten, map[string][]byte{name: sound})
	}
}

func FuzzCIFAR(f *testing.F) {
	f.Add(make([]byte, 3073), 1)
	f.Fuzz(func(t *testing.T, text []byte, labels int) {
		m := inMemory{height: cifarSide, width: cifarSide, channels: 3}
		if err := parseCIFAR(text, 1+labels&1, &m); err == nil && len(m.pixels) != len(m.labels)*3*cifarSide*cifarSide {
			t.Errorf("%d pixels of %d images", len(m.pixels), len(m.labels))
		}
	})
}
