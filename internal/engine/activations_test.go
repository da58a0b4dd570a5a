package engine

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

func TestGeluGradientByCentralDifferences(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 4, 5)}, func(in []*graph.Node) *graph.Node {
		return weigh(Gelu(graph.MulScalar(in[0], 2)))
	})
}

func TestSoftmaxGradientByCentralDifferences(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 2, 3, 5)}, func(in []*graph.Node) *graph.Node {
		return weigh(Softmax(in[0]))
	})
}

// Rematerialize gives the same number to the last bit, and passes gradients as x does, unless the
// adjoint is not finite.
func TestRematerializedIsTheSame(t *testing.T) {
	anew := graph.MustNewExec(goBackend(t), func(x, v *graph.Node) []*graph.Node {
		y := Rematerialize(x, v)
		return []*graph.Node{y, Gradient(graph.ReduceAllSum(graph.Mul(y, v)), x)[0]}
	})
	x, v := randomTensor("x", 7), randomTensor("v", 7)
	out, err := anew.Exec(x, v)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*tensors.Tensor{x, v} {
		if got := out[i]; !got.Equal(want) {
			t.Errorf("output %d is %v, not %v", i, got, want)
		}
	}
	out, err = anew.Exec(x, tensors.FromFlatDataAndDimensions([]float64{math.Inf(1), 1, 1, 1, 1, 1, 1}, 7))
	if err != nil {
		t.Fatal(err)
	}
	if y := tensors.MustCopyFlatData[float64](out[0]); !math.IsNaN(y[3]) {
		t.Errorf("with an infinite adjoint Rematerialize gives %v: a step that must not be applied might be", y)
	}
}
