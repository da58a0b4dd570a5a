package importance

import (
	"errors"
	"slices"
	"testing"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Three hidden units of saliency 1, 5 and 3 are put into the order 5, 3, 1, with their rows,
// biases and columns; a head's rows of qkv and columns of proj stay together.
func TestMostImportantFirst(t *testing.T) {
	s := &space.Space{Supernet: space.Supernet{EmbedDim: 2, Depth: 1, NumHeads: 2, MLPRatio: 1.5}, Model: space.Model{HeadDim: 1}}
	weights := map[string]tensorfile.Tensor{
		"blocks.0.fc1.weight":       tensorfile.FromFloat32([]int{3, 2}, []float32{1, 0, 5, 0, 3, 0}),
		"blocks.0.fc1.bias":         tensorfile.FromFloat32([]int{3}, []float32{10, 50, 30}),
		"blocks.0.fc2.weight":       tensorfile.FromFloat32([]int{2, 3}, []float32{11, 51, 31, 12, 52, 32}),
		"blocks.0.attn.qkv.weight":  tensorfile.FromFloat32([]int{6, 2}, []float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6}),
		"blocks.0.attn.qkv.bias":    tensorfile.FromFloat32([]int{6}, []float32{1, 2, 3, 4, 5, 6}),
		"blocks.0.attn.proj.weight": tensorfile.FromFloat32([]int{2, 2}, []float32{7, 8, 90, 100}),
	}
	gradients := map[string]tensorfile.Tensor{}
	for name, w := range weights {
		values := make([]float32, len(w.Data)/4)
		for i := range values {
			values[i] = 1
		}
		gradients[name] = tensorfile.FromFloat32(w.Shape, values)
	}
	got, err := Order(s, weights, gradients)
	if err != nil {
		t.Fatal(err)
	}
	// The embedding's second feature has the larger sum over all weights: it comes first.
	for name, want := range map[string][]float32{
		"blocks.0.fc1.weight": {0, 5, 0, 3, 0, 1}, "blocks.0.fc1.bias": {50, 30, 10}, "blocks.0.fc2.weight": {52, 32, 12, 51, 31, 11},
		"blocks.0.attn.qkv.weight": {4, 4, 5, 5, 6, 6, 1, 1, 2, 2, 3, 3}, "blocks.0.attn.qkv.bias": {4, 5, 6, 1, 2, 3}, "blocks.0.attn.proj.weight": {100, 90, 8, 7},
	} {
		values, err := got[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(values, want) {
			t.Errorf("%s is %v, want %v", name, values, want)
		}
	}
	if _, err := Order(&space.Space{Model: space.Model{SwitchNorm: true}}, weights, gradients); !errors.Is(err, ErrModel) {
		t.Errorf("norms of each choice: %v", err)
	}
}
