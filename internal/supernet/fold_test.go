package supernet_test

import (
	"slices"
	"testing"

	"prenas/internal/fixture"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// transformed is a space with learned matrices between three kernels, and its weights,
// none of them as at initialisation.
func transformed(t *testing.T) (*supernet.Net, map[string]tensorfile.Tensor) {
	t.Helper()
	s, _ := convSpace(t)
	s.Supernet.Kernel, s.Kernel = 7, []int{5, 3, 7}
	s.Model.Conv.Transform = true
	n := supernet.New(s)
	weights := map[string]tensorfile.Tensor{}
	for _, p := range n.Params() {
		weights[p.Name] = normal(p.Shape, p.Name)
	}
	return n, weights
}

func normal(shape []int, name string) tensorfile.Tensor {
	r, size := rng.New(3, name), 1
	for _, d := range shape {
		size *= d
	}
	values := make([]float32, size)
	for i := range values {
		values[i] = float32(0.3 * r.NormFloat64())
	}
	return tensorfile.FromFloat32(shape, values)
}

// A folded architecture computes without matrices what it computes with them.
func TestFoldKernels(t *testing.T) {
	n, weights := transformed(t)
	plain := *n.Space()
	plain.Model = plain.Model.Plain()
	images := normal([]int{2, 2, 16, 16}, "images")
	names := []string{"i16-d2_1-k3_7_5-x2_3_2", "i16-d1x2-k7x2-x2_3"}
	if testing.Short() {
		names = names[:1]
	}
	for _, name := range names {
		a, err := space.ParseArch(name)
		if err != nil {
			t.Fatal(err)
		}
		folded, err := n.Fold(weights, a)
		if err != nil {
			t.Fatal(err)
		}
		want := forward(t, n, weights, images, a)
		if d := fixture.Difference(forward(t, supernet.New(&plain), folded, images, a), want); d > 1e-5 {
			t.Errorf("%s: folded and unfolded logits differ by %.2g of the largest", a, d)
		}
		if slices.Max(plain.Kernel) == 7 && a.Units[0][0].Kernel == 3 {
			if d := fixture.Difference(forward(t, supernet.New(&plain), weights, images, a), want); d < 1e-2 {
				t.Errorf("%s: the matrices change nothing", a)
			}
		}
	}
}

// A matrix between kernels takes part where a layer's kernel is made with it, and only
// there: the others have no gradient, and no decay.
func TestMatricesAreUsedByTheirKernels(t *testing.T) {
	n, _ := transformed(t)
	a, err := space.ParseArch("i16-d2_1-k3_7_5-x2_3_2")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"blocks.1.0.conv_dw.7to5_matrix": true, "blocks.1.0.conv_dw.5to3_matrix": true,
		"blocks.1.1.conv_dw.7to5_matrix": false, "blocks.1.1.conv_dw.5to3_matrix": false,
		"blocks.2.0.conv_dw.7to5_matrix": true, "blocks.2.0.conv_dw.5to3_matrix": false,
		"blocks.2.1.conv_dw.7to5_matrix": false, "blocks.2.1.conv_dw.5to3_matrix": false,
	}
	used := n.Uses(a)
	for name, want := range want {
		if got := used[n.Index(name)]; got != want {
			t.Errorf("%s: used %v, want %v", name, got, want)
		}
	}
}
