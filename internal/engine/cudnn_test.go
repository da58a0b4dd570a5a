//go:build cgo

package engine

import (
	"bytes"
	_ "embed"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/private"
)

// The calls as JAX 0.10.2 writes them for the same attention: jax.vjp of dot_product_attention in
// jax/_src/cudnn/fused_attention_stablehlo.py, bf16 [2, 197, 4, 96], scale 0.125, lowered for CUDA.
//
//go:embed testdata/fused_attention.txt
var jaxCalls string

// The calls of fused attention are JAX's: the same targets, settings, layouts and types. (This needs no GPU.)
func TestFusedAttentionIsWrittenAsJAXDoes(t *testing.T) {
	e := engineWithKernels(t)
	if !e.Kernels() {
		t.Skip("pure Go writes no StableHLO")
	}
	g := graph.NewGraph(e.backend, "attention")
	in := make([]*graph.Node, 4)
	for i := range in {
		in[i] = graph.Parameter(g, "", shapes.Make(dtypes.BFloat16, 2, 197, 4, 96))
	}
	y := FusedAttention(in[0], in[1], in[2], 0.125)
	Gradient(graph.ReduceAllSum(graph.Mul(y, in[3])), in[:3]...)
	var text bytes.Buffer
	if err := private.Program(g).Write(&text, ""); err != nil {
		t.Fatal(err)
	}
	calls := func(program string) []string {
		return strings.Split(strings.Join(strings.Fields(program), " "), "stablehlo.custom_call")[1:]
	}
	got, want := calls(text.String()), calls(jaxCalls)
	if len(got) != 2 || len(want) != 2 {
		t.Fatalf("%d calls, want 2 as JAX's %d:\n%s", len(got), len(want), text.String())
	}
	for i, call := range want {
		for what, of := range map[string]func(call string) string{
			"target":   regexp.MustCompile(`__cudnn\$\w+`).FindString,
			"version":  regexp.MustCompile(`api_version = \d : i32`).FindString,
			"settings": regexp.MustCompile(`backend_config = "[^"]*"`).FindString,
			"types":    regexp.MustCompile(`: \(tensor[^%]*?\) -> \([^)]*\)`).FindString,
			"operands": func(call string) string { return layoutsOf(call, "operand_layouts") },
			"results":  func(call string) string { return layoutsOf(call, "result_layouts") },
		} {
			if mine, theirs := of(got[i]), of(call); theirs == "" || mine != theirs {
				t.Errorf("call %d, %s:\n%s\nwant\n%s", i, what, mine, theirs)
			}
		}
	}
}

// layoutsOf is the list of layouts of this name in a statement.
func layoutsOf(statement, name string) string {
	_, rest, _ := strings.Cut(statement, name+" = [")
	var all []string
	for _, layout := range regexp.MustCompile(`dense<[^>]*> : tensor<\dxindex>|\]`).FindAllString(rest, -1) {
		if layout == "]" {
			break
		}
		all = append(all, strings.NewReplacer("[", "", "]", "").Replace(layout))
	}
	return strings.Join(all, ", ")
}

// On a GPU the kernels are right for odd numbers of tokens, one head, few and many features.
func TestFusedAttention(t *testing.T) {
	e := engineWithKernels(t)
	g := graph.NewGraph(e.backend, "attention")
	x := graph.Parameter(g, "", shapes.Make(dtypes.Float32))
	if !OnCUDA(x) {
		if FusesAttention(x, dtypes.BFloat16, 197, 4, 96) {
			t.Error("a CPU has fused attention")
		}
		t.Skip("cuDNN's attention needs a GPU")
	}
	for _, shape := range []fusedShape{{197, 4, 96}, {17, 1, 8}, {50, 3, 128}, {5, 2, 32}} {
		if err := catch(func() error { return tryFused(e.backend, shape) }); err != nil {
			t.Errorf("%+v: %v", shape, err)
		}
	}
}

// Layer norms and activation functions of an x in bfloat16 are those of the same x in float32, rounded; so are their adjoints.
func TestActivationsStoredInBFloat16(t *testing.T) {
	e := engineWithKernels(t)
	x, v, w := shapes.Make(dtypes.Float32, 6, 40), shapes.Make(dtypes.Float32, 6, 40), shapes.Make(dtypes.Float32, 40)
	p, err := e.Compile("stored", []shapes.Shape{x, v, w, w}, func(in []*graph.Node) (out []*graph.Node) {
		low := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, dtypes.BFloat16) }
		wide := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, dtypes.Float32) }
		weight, bias := in[2], in[3]
		for _, f := range []func(x *graph.Node) *graph.Node{
			func(x *graph.Node) *graph.Node { return layerNorm(x, weight, bias, 1e-5) },
			func(x *graph.Node) *graph.Node {
				if x.DType() == dtypes.BFloat16 {
					return biasGeluStored(x, bias)
				}
				return Gelu(graph.Add(x, alongLastAxis(bias, x)))
			},
		} {
			for _, stored := range []bool{true, false} {
				x := wide(low(in[0]))
				y := x
				if stored {
					y = low(x)
				}
				y = wide(f(y))
				adjoints := Gradient(graph.ReduceAllSum(graph.Mul(y, wide(low(in[1])))), x, weight, bias)
				out = append(append(out, y), adjoints...)
			}
		}
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	args, err := e.filled([]shapes.Shape{x, v})
	if err != nil {
		t.Fatal(err)
	}
	vector := func(from float32) *tensors.Tensor {
		values := make([]float32, 40)
		for i := range values {
			values[i] = from + float32(i)/40
		}
		return tensors.FromFlatDataAndDimensions(values, 40)
	}
	out, err := p.Run(append(args, vector(0.5), vector(-0.3)))
	if err != nil {
		t.Fatal(err)
	}
	for f, name := range []string{"layer norm", "GELU"} {
		for i, what := range []string{"result", "adjoint of x", "of the weight", "of the bias"} {
			got, want := tensors.MustCopyFlatData[float32](out[8*f+i]), tensors.MustCopyFlatData[float32](out[8*f+4+i])
			for j := range want {
				if !(math.Abs(float64(got[j]-want[j])) <= 0.005*math.Abs(float64(want[j]))+1e-6) {
					t.Errorf("%s, %s: value %d is %v, want %v", name, what, j, got[j], want[j])
					break
				}
			}
		}
	}
}
