package supernet_test

import (
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Operands in bfloat16 move the logits by the rounding of their 8 bits.
func TestOperandsInBFloat16AreRoundedOnly(t *testing.T) {
	e := enginetest.Test(t)
	s := &space.Space{
		Name:     "toy",
		Supernet: space.Supernet{EmbedDim: 32, Depth: 2, NumHeads: 2, MLPRatio: 2},
		EmbedDim: []int{32}, Depth: []int{2}, NumHeads: []int{2}, MLPRatio: []float64{2},
		Model: space.Model{ImageSize: 8, PatchSize: 2, Channels: 1, NumClasses: 10, HeadDim: 16, RelativePosition: true, MaxRelativePosition: 3, AbsPos: true, QKVBias: true, GlobalPool: true},
	}
	n := supernet.New(s)
	var inputs []shapes.Shape
	var args []*tensors.Tensor
	weights := n.Init(1)
	for _, p := range n.Params() {
		// Weights as large as a trained net's, so that attention is not uniform.
		values, err := weights[p.Name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] *= 4
		}
		up, err := enginetest.Test(t).Upload(tensorfile.FromFloat32(p.Shape, values))
		if err != nil {
			t.Fatal(err)
		}
		inputs, args = append(inputs, up.Shape()), append(args, up)
	}
	r := rng.New(1, "images")
	images := make([]float32, 4*8*8)
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	args = append(args, tensors.FromFlatDataAndDimensions(images, 4, 1, 8, 8))
	inputs = append(inputs, args[len(args)-1].Shape())

	logits := func(operands dtypes.DType) []float32 {
		p, err := e.Compile("logits", inputs, func(in []*graph.Node) []*graph.Node {
			last := len(in) - 1
			f := supernet.Forward{Arch: s.Largest(), Operands: operands}
			return []*graph.Node{n.Logits(in[:last], in[last], f)}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		out, err := p.Run(args)
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[float32](out[0])
	}
	if d := fixture.Difference(logits(dtypes.BFloat16), logits(dtypes.Float32)); d == 0 || d > 3e-2 {
		t.Errorf("products in bfloat16 move the logits by %.2g", d)
	}
}
