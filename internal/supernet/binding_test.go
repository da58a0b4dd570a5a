package supernet

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/toy"
)

// A binding has the weights that any of its architectures uses, each once, in the order of Params,
// and pairs its three sides in that order.
func TestBindingPairsWeightsWithInputs(t *testing.T) {
	s := toy.Space()
	net := New(s)
	small, large := s.Smallest(), s.Largest()
	for _, b := range []Binding{net.Bind(small), net.Bind(small, large), net.Bind()} {
		if b.Len() != len(b.Shapes()) || b.Len() != len(b.Params()) || !slices.IsSorted(b.Indices()) {
			t.Fatalf("%d weights, %d shapes, %d parameters, indices %v", b.Len(), len(b.Shapes()), len(b.Params()), b.Indices())
		}
		for k, i := range b.Indices() {
			if p := net.Params()[i]; p.Name != b.Params()[k].Name || !slices.Equal(p.Shape, b.Shapes()[k].Dimensions) {
				t.Errorf("input %d is %s %v, want %s %v", k, b.Params()[k].Name, b.Shapes()[k], p.Name, p.Shape)
			}
		}
		all := make([]*tensors.Tensor, len(net.Params()))
		for i := range all {
			all[i] = tensors.FromScalar(float32(i))
		}
		args := b.Args(all)
		stored := make([]*tensors.Tensor, len(all))
		rest := b.Store(stored, append(slices.Clone(args), all[0]))
		if len(rest) != 1 || rest[0] != all[0] {
			t.Errorf("%d tensors are left, want the one beyond", len(rest))
		}
		for i := range all {
			if bound := slices.Contains(b.Indices(), i); bound && stored[i] != all[i] || !bound && stored[i] != nil {
				t.Errorf("tensor %d is not in its place", i)
			}
		}
	}
	one, both := net.Bind(small).Indices(), net.Bind(small, large).Indices()
	for _, i := range one {
		if !slices.Contains(both, i) {
			t.Errorf("%s is used by one of two architectures and not bound", net.Params()[i].Name)
		}
	}
	if len(one) >= len(both) || len(net.Bind().Indices()) != len(net.Params()) {
		t.Errorf("%d weights of one, %d of two, %d of all", len(one), len(both), net.Bind().Len())
	}
	head := net.Bind(large).Only(Param.InHead)
	for _, p := range head.Params() {
		if !p.InHead() {
			t.Errorf("%s is not in the head", p.Name)
		}
	}
	if head.Len() != 2 {
		t.Errorf("the head has %d weights, want a matrix and a bias", head.Len())
	}
}
