package classify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/classify"
	"prenas/internal/data"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

var model = space.Model{ImageSize: 8, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 8, GlobalPool: true, QKVBias: true}

// open opens a small model with weights as at initialisation, which takes all of an image.
func open(t *testing.T, o classify.Options) *classify.Model { return openResizing(t, 8, o) }

// openResizing opens it with images resized to more than it takes.
func openResizing(t *testing.T, resize int, o classify.Options) *classify.Model {
	t.Helper()
	a := space.Arch{EmbedDim: 8, NumHeads: []int{1}, MLPRatio: []float64{1}}
	return openOf(t, supernet.Standalone(model, a).Init(1), model, a, resize, o)
}

// openOf opens a model that takes 8 x 8 gray pixels of 3 classes.
func openOf(t *testing.T, weights map[string]tensorfile.Tensor, model space.Model, a space.Arch, resize int, o classify.Options) *classify.Model {
	t.Helper()
	m, err := export.Take(weights, model, a, export.Info{
		Preprocess: export.Preprocess{Size: 8, Resize: resize, Interpolation: export.Bicubic, Mean: []float32{0.5}, Std: []float32{0.25}},
		Classes:    []string{"cat", "dog"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Write(fsys.OS, path); err != nil {
		t.Fatal(err)
	}
	o.Backend = "go"
	opened, err := classify.Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return opened
}

func TestRank(t *testing.T) {
	m := open(t, classify.Options{})
	got := m.Rank([]float32{1000, 1001, 1000}, 5)
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
	}
	if want := []string{"dog", "cat", "class 2"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	// softmax of 0, 1, 0
	if p := got[0].Probability; p < 0.57611 || p > 0.57612 {
		t.Errorf("probability %v, want 0.576117", p)
	}
	if top := m.Rank([]float32{1, 2, 3}, 2); len(top) != 2 {
		t.Errorf("%d classes, want 2", len(top))
	}
}

// A model whose logits are not finite says so, of each image, and ranks none.
func TestLogitsThatAreNotFiniteAreErrors(t *testing.T) {
	a := space.Arch{EmbedDim: 8, NumHeads: []int{1}, MLPRatio: []float64{1}}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		weights := supernet.Standalone(model, a).Init(1)
		weights["head.bias"] = tensorfile.FromFloat32([]int{3}, []float32{0, bad, 0})
		m := openOf(t, weights, model, a, 8, classify.Options{})
		img, err := load(0)
		if err != nil {
			t.Fatal(err)
		}
		input, err := m.Prepare(img)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := m.Logits([][]float32{input}); !errors.Is(err, classify.ErrNonFinite) || rows != nil {
			t.Errorf("%v: logits %v, %v", bad, rows, err)
		}
		for o, err := range classify.Stream(t.Context(), m, numbers(2), 1, func(_ int, use func(data.Image) error) error { return use(img) }) {
			if err != nil || !errors.Is(o.Err, classify.ErrNonFinite) || o.Logits != nil {
				t.Errorf("%v: %+v, %v", bad, o, err)
			}
		}
	}
}

var errDamaged = errors.New("damaged")

// gray image of one level; the third and the last of ten are damaged.
func load(i int) (data.Image, error) {
	if i == 2 || i == 9 {
		return data.Image{}, fmt.Errorf("image %d: %w", i, errDamaged)
	}
	pixels := make([]uint8, 64)
	for k := range pixels {
		pixels[k] = uint8(20*i + k)
	}
	return data.Image{Pixels: pixels, Height: 8, Width: 8, Channels: 1}, nil
}

// using gives the image of load to use.
func using(i int, use func(data.Image) error) error {
	img, err := load(i)
	if err != nil {
		return err
	}
	return use(img)
}

// Whatever the batch and the number of workers, a stream has every item in its place.
func TestStreamKeepsTheOrder(t *testing.T) {
	const items = 10
	var want [items][]float32
	single := open(t, classify.Options{Batch: 1})
	for i := range want {
		img, err := load(i)
		if err != nil {
			continue
		}
		input, err := single.Prepare(img)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := single.Logits([][]float32{input})
		if err != nil {
			t.Fatal(err)
		}
		want[i] = rows[0]
	}
	for _, c := range []struct{ batch, workers int }{{1, 1}, {3, 1}, {3, 4}, {10, 2}, {32, 0}} {
		m := open(t, classify.Options{Batch: c.batch})
		at := 0
		for outcome, err := range classify.Stream(context.Background(), m, numbers(items), c.workers, using) {
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Item != at || errors.Is(outcome.Err, errDamaged) != (want[at] == nil) || len(outcome.Logits) != len(want[at]) {
				t.Fatalf("%+v: place %d has %+v, want %v", c, at, outcome, want[at])
			}
			for k, v := range outcome.Logits {
				if !(math.Abs(float64(v-want[at][k])) <= 1e-6) {
					t.Errorf("%+v: image %d: logits %v, want %v", c, at, outcome.Logits, want[at])
				}
			}
			at++
		}
		if at != items {
			t.Errorf("%+v: %d outcomes of %d", c, at, items)
		}
	}
}

// A convolutional network has its statistics from the file: an image has the same logits
// whatever its batch, and other statistics give others.
func TestConvHasItsStatistics(t *testing.T) {
	m := space.Model{ImageSize: 12, Channels: 1, NumClasses: 3, Conv: space.ConvModel{
		Stem: 8, StemStride: 1, Features: 16, Mix: 8, Units: []space.ConvUnit{{Width: 8, Stride: 2, SqueezeExcite: true, HSwish: true}},
	}}
	a, err := space.ParseArch("i8-d1-k3-x2")
	if err != nil {
		t.Fatal(err)
	}
	var logits [2][]float32
	for i, variance := range []float32{1, 4} {
		weights := supernet.Standalone(m, a).Init(1)
		for _, p := range supernet.Stats(m, a) {
			value := float32(0.1)
			if strings.HasSuffix(p.Name, ".running_var") {
				value = variance
			}
			weights[p.Name] = tensorfile.FromFloat32(p.Shape, slices.Repeat([]float32{value}, p.Shape[0]))
		}
		opened := openOf(t, weights, m, a, 8, classify.Options{Batch: 4})
		var inputs [][]float32
		for k := range 3 {
			img, err := load(k + 3)
			if err != nil {
				t.Fatal(err)
			}
			input, err := opened.Prepare(img)
			if err != nil {
				t.Fatal(err)
			}
			inputs = append(inputs, input)
		}
		together, err := opened.Logits(inputs)
		if err != nil {
			t.Fatal(err)
		}
		for k, input := range inputs {
			alone, err := opened.Logits([][]float32{input})
			if err != nil {
				t.Fatal(err)
			}
			if d := fixture.Difference(together[k], alone[0]); d > 1e-5 {
				t.Errorf("image %d: logits in a batch differ by %.2g from those alone", k, d)
			}
		}
		logits[i] = together[0]
	}
	if d := fixture.Difference(logits[0], logits[1]); d < 1e-2 {
		t.Errorf("other statistics move the logits by only %.2g", d)
	}
}

func TestStreamStops(t *testing.T) {
	m := open(t, classify.Options{Batch: 2})
	ctx, cancel := context.WithCancel(context.Background())
	seen := 0
	var last error
	for outcome, err := range classify.Stream(ctx, m, numbers(1000), 2, func(_ int, use func(data.Image) error) error { return using(0, use) }) {
		if last = err; err != nil {
			break
		}
		if seen++; outcome.Item == 5 {
			cancel()
		}
	}
	cancel()
	if !errors.Is(last, context.Canceled) || seen > 200 {
		t.Errorf("stopped with %v after %d images", last, seen)
	}
	for range classify.Stream(context.Background(), m, numbers(1000), 2, using) {
		break // must not hang or panic
	}
}

// A stream that is stopped does not wait for an item that never comes.
func TestStreamStopsWhileItWaitsForAnItem(t *testing.T) {
	m := open(t, classify.Options{Batch: 2})
	ctx, cancel := context.WithCancel(context.Background())
	forever := make(chan struct{})
	defer close(forever)
	waits := func(yield func(int) bool) {
		for i := range 2 {
			if !yield(i) {
				return
			}
		}
		cancel()
		<-forever
	}
	var last error
	for _, err := range classify.Stream(ctx, m, waits, 1, using) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("stopped with %v, want context.Canceled", last)
	}
}

// Where the engine is stopped a model compiles nothing more, which is no failure of the model.
func TestStopEndsTheWaitForACompiler(t *testing.T) {
	stop := make(chan struct{})
	m := open(t, classify.Options{Stop: stop})
	img, err := load(0)
	if err != nil {
		t.Fatal(err)
	}
	input, err := m.Prepare(img)
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	if _, err := m.Logits([][]float32{input}); !errors.Is(err, context.Canceled) || errors.Is(err, classify.ErrRun) {
		t.Errorf("error %v, want context.Canceled alone", err)
	}
}

func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	if _, err := classify.Open(ctx, "model.pdf", classify.Options{}); !errors.Is(err, classify.ErrKind) {
		t.Errorf("another kind of file: %v", err)
	}
	if _, err := classify.Open(ctx, ".", classify.Options{}); !errors.Is(err, classify.ErrKind) || !strings.Contains(err.Error(), "prenas export") {
		t.Errorf("a folder: %v", err)
	}
	t.Setenv(classify.RuntimeEnv, filepath.Join(t.TempDir(), "libonnxruntime.so"))
	file := filepath.Join("..", "..", "go.mod") // exists, and is no model
	if _, err := classify.Open(ctx, file+".onnx", classify.Options{}); err == nil {
		t.Error("an ONNX file that does not exist was opened")
	}
}

// Logits of crops are the means of those of each crop, whatever the batch.
func TestCropsAreAveraged(t *testing.T) {
	one := openResizing(t, 10, classify.Options{})
	pixels := make([]uint8, 10*12)
	for k := range pixels {
		pixels[k] = uint8(k * k)
	}
	img := data.Image{Pixels: pixels, Height: 10, Width: 12, Channels: 1}
	crops, err := augment.Crops(img, 10, 8, 5, augment.Bicubic)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, model.NumClasses)
	for _, crop := range crops {
		// what is larger than the model's input is cut to its middle: a frame around the crop goes
		input, err := one.Prepare(augment.Crop(crop, -1, -1, 10, 10))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := one.Logits([][]float32{input})
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range rows[0] {
			want[k] += v / float32(len(crops))
		}
	}
	for _, batch := range []int{1, 5, 12, 32} {
		m := openResizing(t, 10, classify.Options{Crops: 5, Batch: batch})
		input, err := m.Prepare(img)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := m.Logits([][]float32{input, input, input})
		if err != nil || len(rows) != 3 {
			t.Fatalf("batch %d: %d rows, %v", batch, len(rows), err)
		}
		for _, row := range rows {
			for k, v := range row {
				if !(math.Abs(float64(v-want[k])) <= 1e-5) {
					t.Errorf("batch %d: logits %v, want %v", batch, row, want)
				}
			}
		}
	}
}
