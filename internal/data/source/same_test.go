package source

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"path/filepath"
	"slices"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/load"
	"prenas/internal/data/pack"
	"prenas/internal/rng"
)

// sameImages writes the same grey images of 28x28, by class, in every form that can hold
// them, and returns the sources.
func sameImages(t *testing.T) map[string]string {
	t.Helper()
	dir, random := t.TempDir(), rng.New(1, "pixels")
	files := map[string][]byte{}
	for k, split := range []struct {
		name string
		n    int
	}{{"train", 60}, {"test", 15}} {
		var all, labels []byte
		var members []string
		var rows []datatest.Row
		for i := range split.n {
			label := int64(3 * i / split.n)
			img := image.NewGray(image.Rect(0, 0, 28, 28))
			for p := range img.Pix {
				img.Pix[p] = byte(random.IntN(256))
			}
			var text bytes.Buffer
			if err := png.Encode(&text, img); err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%05d", i)
			all, labels = append(all, img.Pix...), append(labels, byte(label))
			files[fmt.Sprintf("folder/%s/%d/%s.png", split.name, label, name)] = text.Bytes()
			members = append(members, name+".png", text.String(), name+".cls", fmt.Sprint(label))
			rows = append(rows, datatest.Row{Image: &datatest.Picture{Bytes: text.Bytes()}, Label: &label})
		}
		files["idx/"+idxFiles[2*k]], files["idx/"+idxFiles[2*k+1]] = idx(all, split.n, 28, 28), idx(labels, split.n)
		half := len(members) / 8 * 4
		files["tar/"+split.name+"-0.tar"], files["tar/"+split.name+"-1.tar.gz"] = datatest.Tar(t, members[:half]...), datatest.Zip(t, datatest.Tar(t, members[half:]...))
		files["parquet/"+split.name+"-0.parquet"], files["parquet/"+split.name+"-1.parquet"] = datatest.Parquet(t, "", rows[:7]...), datatest.Parquet(t, "", rows[7:]...)
	}
	datatest.Write(t, dir, files)
	sources := map[string]string{}
	for _, kind := range []string{"idx", "folder", "tar", "parquet"} {
		src := kind + ":" + filepath.Join(dir, kind)
		packed := filepath.Join(dir, "packed "+kind)
		if err := packOf(t, context.Background(), src, packed, pack.Options{Size: 28}); err != nil {
			t.Fatal(err)
		}
		sources[kind], sources["packed "+kind] = src, "pack:"+packed
	}
	return sources
}

// The form that images are kept in changes nothing: the same images in any of them give the
// same batches, to train, to choose and to report on, for grey models and coloured ones.
func TestAllFormsGiveTheSameBatches(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, channels := range []int{1, 3} {
		var want []*load.Batch
		for kind, src := range sameImages(t) {
			d, err := Open(context.Background(), src, Options{Seed: 5, HeldOut: 0.2})
			if err != nil {
				t.Fatal(err)
			}
			if d.Train.Len() != 48 || d.HeldOut.Len() != 12 || d.Test.Len() != 15 || len(d.Classes) != 3 {
				t.Fatalf("%s: %d train, %d held out, %d test, %d classes", kind, d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), len(d.Classes))
			}
			mean, std := data.Statistics(channels)
			o := load.Options{Batch: 8, Channels: channels, Size: 24, Mean: mean, Std: std, Seed: 5, Workers: 3}
			var got []*load.Batch
			for split, s := range []data.Split{d.HeldOut, d.Test, d.Train} {
				if o.Train = split == 2; o.Train {
					o.Augment = augment.Options{Crop: "resized", Scale: [2]float64{0.3, 1}, Ratio: [2]float64{0.7, 1.4}, Flip: 0.5, Policy: "rand-m9-mstd0.5"}
				}
				l, err := load.New(s, o)
				if err != nil {
					t.Fatal(err)
				}
				for epoch := range 1 + split/2 { // of training two
					for b, err := range l.Stream(context.Background(), epoch, 0) {
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, b)
					}
				}
			}
			if want == nil {
				want = got
			}
			if len(got) < 10 || len(got) != len(want) {
				t.Fatalf("%s, %d channels: %d batches, want %d", kind, channels, len(got), len(want))
			}
			for i := range got {
				if !slices.Equal(got[i].Images, want[i].Images) || !slices.Equal(got[i].Labels, want[i].Labels) {
					t.Errorf("%s, %d channels: batch %d differs", kind, channels, i)
				}
			}
		}
	}
}
