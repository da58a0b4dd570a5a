package supernet_test

import (
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// forward runs an architecture on the images with the shared weights, in float32.
func forward(t *testing.T, n *supernet.Net, weights map[string]tensorfile.Tensor, images tensorfile.Tensor, a space.Arch) []float32 {
	t.Helper()
	return forwardIn(t, engine.Float32, n, weights, images, a)
}

func forwardIn(t *testing.T, p engine.Precision, n *supernet.Net, weights map[string]tensorfile.Tensor, images tensorfile.Tensor, a space.Arch) []float32 {
	t.Helper()
	var inputs []shapes.Shape
	var args []*tensors.Tensor
	add := func(x tensorfile.Tensor) {
		inputs = append(inputs, shapes.Make(dtypes.Float32, x.Shape...))
		up, err := enginetest.Test(t).Upload(x)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, up)
	}
	for _, p := range n.Params() {
		add(weights[p.Name])
	}
	add(images)
	program, err := enginetest.Test(t).Compile("forward", inputs, func(in []*graph.Node) []*graph.Node {
		last := len(in) - 1
		return []*graph.Node{n.Logits(in[:last], in[last], supernet.Forward{Arch: a, Operands: p.Operands()})}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run(args)
	if err != nil {
		t.Fatal(err)
	}
	logits, err := engine.Download(out[0])
	if err != nil {
		t.Fatal(err)
	}
	values, err := logits.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestFixtureLogits(t *testing.T) {
	f := fixture.Open(t)
	n := supernet.New(f.Space)
	if err := n.Check(f.Weights); err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Logits struct {
			Configs map[string]fixture.Arch `json:"configs"`
		} `json:"logits"`
	}
	f.JSON("expected.json", &expected)
	images := f.Tensors("inputs.safetensors")["input"]
	for name, want := range f.Tensors("logits.safetensors") {
		a := expected.Logits.Configs[name].Arch()
		got := forward(t, n, f.Weights, images, a)
		if d := fixture.Difference(got, f.Floats(want)); d > 1e-4 {
			t.Errorf("%s (%s): logits differ by %.2g of the largest", name, a, d)
		}
		got = forwardIn(t, engine.BFloat16, n, f.Weights, images, a)
		if d := fixture.Difference(got, f.Floats(want)); d == 0 || d > 2e-2 {
			t.Errorf("%s (%s): logits in bf16 differ by %.2g of the largest", name, a, d)
		}
	}
}
