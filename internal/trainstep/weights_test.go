package trainstep

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
)

// The loss with weights is PyTorch's. What is wanted was printed by PyTorch 2.8.0:
//
//	cross_entropy(logits, targets, weight=weights, reduction="none")
//	cross_entropy(logits, labels, weight=weights, label_smoothing=0.1, reduction="none")
func TestWeightedLossIsPyTorchs(t *testing.T) {
	logits := []float32{1, -0.5, 2, 0.25, 0.75, -1}
	weights := []float32{0.5, 2, 1.25}
	shape := shapes.Make(dtypes.Float32, 2, 3)
	e := enginetest.PureGo(t)
	p, err := e.Compile("loss", []shapes.Shape{shape, shape, shapes.Make(dtypes.Int32, 2)}, func(in []*graph.Node) []*graph.Node {
		r := recipe.Default()
		return []*graph.Node{
			lossOf(r, in[0], weighTargets(in[1], weights), nil),
			lossOf(r, in[0], weighTargets(smoothTargets(in[2], 3, 0.1), weights), nil),
			lossOf(r, in[0], weighTargets(in[1], weights[:2]), nil),
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := p.Run([]*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(logits, 2, 3),
		tensors.FromFlatDataAndDimensions([]float32{0.9, 0.05, 0.05, 0.3, 0.1, 0.6}, 2, 3),
		tensors.FromFlatDataAndDimensions([]int32{2, 0}, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][]float64{{0.9275676608085632, 2.021963119506836}, {0.6477571725845337, 0.6379010677337646}} {
		for i, got := range download(t, out[k]) {
			if math.Abs(float64(got)-want[i]) > 1e-6 {
				t.Errorf("loss %d of image %d is %v, PyTorch has %v", k, i, got, want[i])
			}
		}
	}
	// A class that the images do not have counts for nothing.
	if fewer, all := download(t, out[2])[0], download(t, out[0])[0]; !(fewer < all) {
		t.Errorf("without the third class the loss is %v, with it %v", fewer, all)
	}
}

// A teacher's part of the loss is not weighed. What is wanted was printed by PyTorch 2.8.0 in float64, with the
// logits, targets and weights of the test above:
//
//	0.75*cross_entropy(logits, targets, weight=weights, reduction="none")
//	+ 0.25*4*cross_entropy(logits/2, softmax(teacher/2, -1), reduction="none")
func TestATeachersPartIsNotWeighed(t *testing.T) {
	shape := shapes.Make(dtypes.Float32, 2, 3)
	p, err := enginetest.PureGo(t).Compile("taught", []shapes.Shape{shape, shape, shape}, func(in []*graph.Node) []*graph.Node {
		r := recipe.Default()
		r.Distill = recipe.Distill{Kind: recipe.SoftTarget, Alpha: 0.25, Temperature: 2}
		return []*graph.Node{lossOf(r, in[0], weighTargets(in[1], []float32{0.5, 2, 1.25}), in[2])}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := p.Run([]*tensors.Tensor{
		tensors.FromFlatDataAndDimensions([]float32{1, -0.5, 2, 0.25, 0.75, -1}, 2, 3),
		tensors.FromFlatDataAndDimensions([]float32{0.9, 0.05, 0.05, 0.3, 0.1, 0.6}, 2, 3),
		tensors.FromFlatDataAndDimensions([]float32{2, 0.5, -1, 0, 1, 3}, 2, 3),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1.977007038493558, 2.88798250320355} {
		if got := download(t, out[0])[i]; math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("the loss of image %d is %v, PyTorch has %v", i, got, want)
		}
	}
}
