package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

func littleSpace(t *testing.T) *space.Space {
	t.Helper()
	s, err := space.Parse("little", "little.yaml", []byte(`
SUPERNET: {EMBED_DIM: 16, DEPTH: 2, NUM_HEADS: 3, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [8, 16], DEPTH: [1, 2], NUM_HEADS: [2, 3], MLP_RATIO: [1, 2]}
MODEL: {IMAGE_SIZE: 4, PATCH_SIZE: 2, CHANNELS: 1, NUM_CLASSES: 3, HEAD_DIM: 4, MAX_RELATIVE_POSITION: 2}
INTERVAL: {MIN: 0, MAX: 0.005, STEP: 0.0025}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writePictures makes a folder of classes with 40 gray pictures each.
func writePictures(t *testing.T, classes int) string {
	t.Helper()
	root := t.TempDir()
	for c := range classes {
		dir := filepath.Join(root, "train", fmt.Sprint("class", c))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			picture := image.NewGray(image.Rect(0, 0, 4, 4))
			for p := range 16 {
				picture.Set(p%4, p/4, color.Gray{Y: uint8(37*p + 11*i*p + 90*c)})
			}
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%02d.png", i)))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(png.Encode(f, picture), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// The number of goroutines that prepare images changes no byte of any file.
func TestSearchIsTheSameForAnyNumberOfWorkers(t *testing.T) {
	source := "folder:" + writePictures(t, 3)
	var first map[string]string
	for _, workers := range []int{1, 3} {
		dir := t.TempDir()
		_, _, err := Search(context.Background(), SearchOptions{
			Engine: enginetest.Test(t), Space: littleSpace(t), Out: filepath.Join(dir, "c.json"),
			Scoring: Scoring{Data: source, Batches: 1, Workers: workers, Seed: 3},
		})
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, name := range []string{"c.json", "c.meta.json", "c.sums.json"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(text)
		}
		if first == nil {
			first = files
		}
		for name, text := range files {
			if text != first[name] {
				t.Errorf("%d workers: %s differs from that of one worker:\n%s\n%s", workers, name, text, first[name])
			}
		}
	}
}

// A search that was cut goes on, from the sums of the seeds before and the shortlist's
// scores, to the same files.
func TestCutSearchGoesOn(t *testing.T) {
	source := "folder:" + writePictures(t, 3)
	search := func(ctx context.Context, dir string, log func(string), ranking func(done, total int)) error {
		_, _, err := Search(ctx, SearchOptions{
			Engine: enginetest.Test(t), Space: littleSpace(t), Out: filepath.Join(dir, "c.json"), Seeds: 2,
			RankBy: "macs", Shortlist: 3, Log: log, Ranking: ranking,
			Scoring: Scoring{Data: source, Batches: 1, Seed: 3},
		})
		return err
	}
	uncut, dir := t.TempDir(), t.TempDir()
	if err := search(context.Background(), uncut, nil, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(context.Background())
	scored := 0
	err := search(ctx, dir, nil, func(_, total int) {
		if scored++; scored == total+2 { // two of the second seed's shortlist
			cut()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the cut search ends with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a candidates file of a search that was cut: %v", err)
	}
	kept, err := os.ReadFile(partsPath(filepath.Join(dir, "c.json")))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(kept), "-h"); n != scored {
		t.Errorf("%d scores of the shortlists are kept of %d that were made", n, scored)
	}
	wentOn := 0
	err = search(context.Background(), dir, func(line string) {
		if strings.HasPrefix(line, "went on from the sums") {
			wentOn++
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if wentOn != 2 {
		t.Errorf("%d seeds of 2 went on from stored sums", wentOn)
	}
	for _, name := range []string{"c.json", "c.meta.json", "c.sums.json", "c.parts.json"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		want, errUncut := os.ReadFile(filepath.Join(uncut, name))
		if err := errors.Join(err, errUncut); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from that of an uncut search:\n%s\n%s", name, got, want)
		}
	}
}

// Weights that make no scores are refused by the name of what is wrong.
func TestSearchRefusesWeights(t *testing.T) {
	s := littleSpace(t)
	for name, c := range map[string]struct {
		spoil func(name string, values []float32)
		err   error
		says  []string
	}{
		"NaN": {func(name string, values []float32) {
			if name == "blocks.1.fc1.weight" {
				values[5] = float32(math.NaN())
			}
		}, search.ErrNotFinite, []string{"weights", "blocks.1.fc1.weight", "NaN at position 5"}},
		"infinity": {func(name string, values []float32) {
			if name == "norm.bias" {
				values[0] = float32(math.Inf(1))
			}
		}, search.ErrNotFinite, []string{"weights", "norm.bias", "+Inf at position 0"}},
		"all zero": {func(_ string, values []float32) { clear(values) }, search.ErrZeroGradients, []string{"check the weights"}},
	} {
		dir := t.TempDir()
		weights := supernet.New(s).Init(1)
		for tensor, w := range weights {
			values, err := w.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(tensor, values)
			weights[tensor] = tensorfile.FromFloat32(w.Shape, values)
		}
		path := filepath.Join(dir, "w.safetensors")
		if err := tensorfile.Write(fsys.OS, path, &tensorfile.File{Tensors: weights}); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "c.json")
		_, _, err := Search(context.Background(), SearchOptions{Engine: enginetest.Test(t), Space: s, Out: out, Scoring: Scoring{Weights: path}})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v does not say %q", name, err, say)
			}
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s was written", name, out)
		}
	}
}
