package importance

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"prenas/internal/proxy"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Three hidden units worth 1, 5 and 3 are put into the order 5, 3, 1, with their rows, biases
// and columns; a head's rows of qkv and columns of proj stay together.
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
	worth := proxy.Units{Embed: []float64{0.5, 0.75}, Heads: [][]float64{{0, 1}}, Hidden: [][]float64{{1, 5, 3}}}
	got, err := Order(s, weights, worth)
	if err != nil {
		t.Fatal(err)
	}
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
	if _, err := Order(&space.Space{Model: space.Model{SwitchNorm: true}}, weights, worth); !errors.Is(err, ErrModel) {
		t.Errorf("norms of each choice: %v", err)
	}
	worth.Hidden[0] = worth.Hidden[0][:2]
	if _, err := Order(s, weights, worth); !errors.Is(err, ErrModel) {
		t.Errorf("worth of other units: %v", err)
	}
}

// Blocks 1 and 2 do the same: each could go, and the first to go is 1, but without both the
// outputs are lost, so that 3 is the second.
func TestLayersGoOneAfterTheOther(t *testing.T) {
	s := &space.Space{Supernet: space.Supernet{EmbedDim: 4, Depth: 4, NumHeads: 1, MLPRatio: 1}, Depth: []int{2, 4}}
	asked := 0
	order, err := Layers(s, func(a space.Arch) (float64, error) {
		asked++
		sum := 0.0
		for block, worth := range []float64{9, 0, 0, 2} {
			if a.At(block) < 0 {
				sum += worth
			}
		}
		if a.At(1) < 0 && a.At(2) < 0 {
			sum += 5
		}
		return sum, nil
	})
	if want := []int{0, 2, 3, 1}; err != nil || !slices.Equal(order, want) {
		t.Errorf("the order is %v (%v), want %v", order, err, want)
	}
	if asked != Removals(s) || asked != 4+3+2 {
		t.Errorf("%d divergences of %d", asked, Removals(s))
	}
	if _, err := Layers(s, func(space.Arch) (float64, error) { return 0, fmt.Errorf("stopped") }); err == nil {
		t.Error("an error is lost")
	}
}
