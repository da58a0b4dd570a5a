package evaluate

import (
	"errors"
	"iter"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Logits that are not finite are an error and no hit, of few classes neither: five places
// hold all of three.
func TestLogitsThatAreNotFiniteAreNoHits(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	net := supernet.New(&space.Space{
		Supernet: space.Supernet{EmbedDim: 8, Depth: 1, NumHeads: 1, MLPRatio: 1},
		Model:    space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: 3, HeadDim: 4, GlobalPool: true},
	})
	archs := []space.Arch{{EmbedDim: 8, NumHeads: []int{1}, MLPRatio: []float64{1}}}
	images := iter.Seq2[Batch, error](func(yield func(Batch, error) bool) {
		yield(Batch{Images: make([]float32, 4*16), Labels: []int32{0, 1, 2, -1}}, nil)
	})
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		var weights []*tensors.Tensor
		for _, p := range net.Params() {
			size := 1
			for _, d := range p.Shape {
				size *= d
			}
			values := make([]float32, size)
			if p.InHead() && len(p.Shape) == 1 {
				values[2] = bad // of class 2
			}
			weights = append(weights, tensors.FromFlatDataAndDimensions(values, p.Shape...))
		}
		static, err := New(e, net, archs, 4, 1, engine.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer static.Close()
		masked, err := NewMasked(e, net, 1, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer masked.Close()
		for k := range 2 {
			var scores []Score
			var err error
			if k == 0 {
				scores, err = static.Run(t.Context(), Weights{Shared: weights}, images, nil)
			} else {
				scores, err = masked.Run(t.Context(), weights, archs, images)
			}
			if !errors.Is(err, ErrNonFinite) || !strings.Contains(err.Error(), "on 3 of 3 images") || len(scores) != 1 || scores[0].Top1+scores[0].Top5 != 0 || scores[0].Loss != 0 {
				t.Errorf("a logit of %v: %+v, %v", bad, scores, err)
			}
		}
	}
}
