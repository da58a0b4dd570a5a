package evaluate_test

import (
	"context"
	"iter"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Logits of crops are averaged: equal crops say what one says, their order does not
// matter, and crops that disagree give something else than either.
func TestCropsAreAveraged(t *testing.T) {
	s := &space.Space{
		Name: "toy", Supernet: space.Supernet{EmbedDim: 16, Depth: 1, NumHeads: 1, MLPRatio: 2},
		EmbedDim: []int{16}, Depth: []int{1}, NumHeads: []int{1}, MLPRatio: []float64{2},
		Model: space.Model{ImageSize: 8, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 16,
			MaxRelativePosition: 1, GlobalPool: true, AbsPos: true, QKVBias: true},
	}
	net, e := supernet.New(s), enginetest.Test(t)
	weights := make([]*tensors.Tensor, 0, len(net.Params()))
	start := net.Init(1)
	for _, p := range net.Params() {
		w, err := e.Upload(start[p.Name])
		if err != nil {
			t.Fatal(err)
		}
		weights = append(weights, w)
	}
	const images, size = 5, 64
	r := rng.New(2, "images")
	views := make([][2][]float32, images) // two of each image
	for i := range views {
		for k := range views[i] {
			for range size {
				views[i][k] = append(views[i][k], 20*float32(r.NormFloat64()))
			}
		}
	}
	// loss with the views of these numbers as crops, in batches of two images.
	loss := func(numbers ...int) float64 {
		t.Helper()
		ev, err := evaluate.New(e, net, []space.Arch{s.Largest()}, 2, len(numbers), engine.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer ev.Close()
		var batches iter.Seq2[evaluate.Batch, error] = func(yield func(evaluate.Batch, error) bool) {
			for at := 0; at < images; at += 2 {
				var b evaluate.Batch
				for i := at; i < min(at+2, images); i++ {
					b.Labels = append(b.Labels, int32(i%3))
					for _, k := range numbers {
						b.Images = append(b.Images, views[i][k]...)
					}
				}
				if !yield(b, nil) {
					return
				}
			}
		}
		scores, err := ev.Run(context.Background(), evaluate.Weights{Shared: weights}, batches, nil)
		if err != nil {
			t.Fatal(err)
		}
		if scores[0].Images != images {
			t.Errorf("%d images, want %d", scores[0].Images, images)
		}
		return scores[0].Loss
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-5 }
	first, second, both := loss(0), loss(1), loss(0, 1)
	if got := loss(0, 0, 0, 0, 0); !near(got, first) {
		t.Errorf("five equal crops: loss %v, one: %v", got, first)
	}
	if got := loss(1, 0); !near(got, both) {
		t.Errorf("crops the other way round: loss %v, want %v", got, both)
	}
	if near(both, first) || near(both, second) || both > max(first, second) {
		t.Errorf("loss %v of both crops, %v and %v of each", both, first, second)
	}
}
