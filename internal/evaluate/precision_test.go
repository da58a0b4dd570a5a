package evaluate_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/fixture"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// toys are a little space of each family.
var toys = map[string]string{
	"vit": `
SUPERNET: {EMBED_DIM: 16, DEPTH: 2, NUM_HEADS: 2, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [16], DEPTH: [2], NUM_HEADS: [2], MLP_RATIO: [2]}
MODEL: {IMAGE_SIZE: 8, PATCH_SIZE: 4, CHANNELS: 1, NUM_CLASSES: 7, HEAD_DIM: 8, MAX_RELATIVE_POSITION: 1}
`,
	"conv": `
FAMILY: conv
SUPERNET: {DEPTH: 1, KERNEL: 3, EXPAND: 2}
SEARCH_SPACE: {DEPTH: [1], KERNEL: [3], EXPAND: [2]}
MODEL: {IMAGE_SIZE: 8, CHANNELS: 1, NUM_CLASSES: 7, STEM: 8, WIDTH: [8, 8], STRIDE: [1, 2], SQUEEZE_EXCITE: [false, true], H_SWISH: [false, true], FEATURES: 16, MIX: 16}
`,
}

// Statistics and scores in bf16 are those in float32 but for the rounding of operands,
// and the same each time.
func TestBF16IsFloat32Rounded(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for family, text := range toys {
		t.Run(family, func(t *testing.T) {
			s, err := space.Parse("toy", "toy", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			whole, rounded := measured(t, enginetest.Test(t), s, engine.Float32), measured(t, enginetest.Test(t), s, engine.BFloat16)
			if a, b := whole.score.Loss, rounded.score.Loss; a == b || !(math.Abs(a-b) <= 0.02*a) {
				t.Errorf("loss %v in float32 and %v in bf16", a, b)
			}
			for k, values := range rounded.stats {
				if d := fixture.Difference(values, whole.stats[k]); d > 0.03 {
					t.Errorf("statistic %d differs by %.2g of the largest", k, d)
				}
			}
			if again := measured(t, enginetest.Test(t), s, engine.BFloat16); !reflect.DeepEqual(again, rounded) {
				t.Errorf("%+v, and once more %+v", rounded, again)
			}
		})
	}
}

type figures struct {
	score evaluate.Score
	stats [][]float32 // of batch norms, estimated on the same images
}

// measured is what the largest architecture of a space reaches on noise with weights that
// nobody trained.
func measured(t *testing.T, e *engine.Engine, s *space.Space, p engine.Precision) (f figures) {
	t.Helper()
	const batches, batch = 3, 8
	net, archs := supernet.New(s), []space.Arch{s.Largest()}
	images := func(yield func(evaluate.Batch, error) bool) {
		r := rng.New(1, "images")
		for range batches {
			b := evaluate.Batch{Images: make([]float32, batch*s.Model.ImageSize*s.Model.ImageSize), Labels: make([]int32, batch)}
			for i := range b.Images {
				b.Images[i] = float32(r.NormFloat64())
			}
			for i := range b.Labels {
				b.Labels[i] = r.Int32N(int32(s.Model.NumClasses))
			}
			if !yield(b, nil) {
				return
			}
		}
	}
	up := func(x tensorfile.Tensor) *tensors.Tensor {
		held, err := e.Upload(x)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	var weights evaluate.Weights
	for _, param := range net.Params() {
		// Larger weights than a fresh net's, so that the classes differ.
		size := 1
		for _, d := range param.Shape {
			size *= d
		}
		values, r := make([]float32, size), rng.New(2, param.Name)
		for i := range values {
			values[i] = float32(0.5 * r.NormFloat64())
		}
		weights.Shared = append(weights.Shared, up(tensorfile.FromFloat32(param.Shape, values)))
	}
	if s.Model.IsConv() {
		c, err := evaluate.NewCalibrator(e, net, archs, batch, p)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		stats, err := c.Run(t.Context(), weights.Shared, images)
		if err != nil {
			t.Fatal(err)
		}
		weights.Stats = make([][]*tensors.Tensor, 1)
		for _, x := range stats[0] {
			values, err := x.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			f.stats = append(f.stats, values)
			weights.Stats[0] = append(weights.Stats[0], up(x))
		}
	}
	ev, err := evaluate.New(e, net, archs, batch, 1, p)
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Close()
	scores, err := ev.Run(t.Context(), weights, images, nil)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", p, err))
	}
	f.score = scores[0]
	f.score.Seconds = 0
	return f
}
