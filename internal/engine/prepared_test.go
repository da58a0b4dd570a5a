package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// A prepared program computes what the program does, with the weights that were prepared last; what it makes of them it makes then.
func TestPreparedIsTheProgram(t *testing.T) {
	e := engineWithKernels(t)
	const size = 40
	random := rand.New(rand.NewPCG(1, 5))
	matrix := func() *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(normals(random, size*size), size, size)
	}
	values := func(out []*tensors.Tensor, err error) []float32 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[float32](out[0])
	}
	shape := []shapes.Shape{shapes.Make(dtypes.Float32, size, size)}
	for name, made := range map[string]bool{"made once": true, "nothing to make": false} {
		t.Run(name, func(t *testing.T) {
			build := func(fixed, in []*graph.Node) []*graph.Node {
				twice := func() *graph.Node { return graph.MulScalar(fixed[0], 2) }
				if !made {
					return []*graph.Node{graph.Dot(in[0], twice())}
				}
				return []*graph.Node{graph.Dot(in[0], once(in[0].Graph(), twice))}
			}
			p, err := e.CompilePrepared("test", shape, shape, build)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := e.Compile("plain", append(shape, shape...), func(in []*graph.Node) []*graph.Node { return build(in[:1], in[1:]) })
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			if (p.prepare != nil) != made {
				t.Errorf("something is made once: %v", p.prepare != nil)
			}
			for range 2 {
				weights := matrix()
				if err := p.Prepare([]*tensors.Tensor{weights}); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					x := matrix()
					if !slices.Equal(values(p.Run([]*tensors.Tensor{x})), values(plain.Run([]*tensors.Tensor{weights, x}))) {
						t.Error("it computes something else")
					}
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := e.CompilePrepared("test", shape, shape, func(_, in []*graph.Node) []*graph.Node {
		return []*graph.Node{once(in[0].Graph(), func() *graph.Node { return graph.MulScalar(in[0], 2) })}
	})
	if !errors.Is(err, ErrBuild) {
		t.Errorf("what is made of a run's inputs is made once: %v", err)
	}
}
