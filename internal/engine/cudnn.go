package engine

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// fusedShape is what decides whether cuDNN has a kernel.
type fusedShape struct{ tokens, heads, features int }

// fusedShapes are the shapes that a GPU was asked for, and what came of it.
type fusedShapes struct {
	mu    sync.Mutex
	known map[fusedShape]error // nil: it works
}

// try tells why FusedAttention of a shape is not to be had on a backend; it is tried once.
func (f *fusedShapes) try(backend backends.Backend, shape fusedShape) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err, tried := f.known[shape]
	if !tried {
		err = catch(func() error { return tryFused(backend, shape) })
		f.known[shape] = err
	}
	return err
}

// fusing is a backend that may have fused attention.
type fusing interface{ fused() *fusedShapes }

// FusesAttention tells whether x's graph may have FusedAttention of operands of a type, of tokens, heads and features: on one GPU,
// in bfloat16, where cuDNN's kernels of this shape, forward and backward, give what XLA's own operations give. They are tried once.
func FusesAttention(x *graph.Node, operands dtypes.DType, tokens, heads, features int) bool {
	backend := x.Graph().Backend()
	gpu, may := backend.(fusing)
	return may && operands == dtypes.BFloat16 && gpu.fused().try(backend, fusedShape{tokens, heads, features}) == nil
}

// tryFused compiles and runs FusedAttention and its gradients beside its twin.
func tryFused(backend backends.Backend, of fusedShape) error {
	const samples, most = 2, 0.02 // of the length of a result; bfloat16's digits are some 0.005
	g := graph.NewGraph(backend, "try fused attention")
	defer g.Finalize()
	shape := shapes.Make(dtypes.Float32, samples, of.tokens, of.heads, of.features)
	wave := func(frequency float64) *graph.Node { // no two rows alike
		index := graph.Add(graph.Iota(g, shape, 1), graph.Add(graph.MulScalar(graph.Iota(g, shape, 2), 7), graph.MulScalar(graph.Iota(g, shape, 0), 13)))
		return graph.Sin(graph.Add(graph.MulScalar(index, frequency), graph.MulScalar(graph.Iota(g, shape, 3), 78.233)))
	}
	q, k, v, adjoint := wave(12.9898), wave(4.1414), wave(9.7531), wave(3.3333)
	var results [2][]*graph.Node
	for i, attention := range []func(q, k, v *graph.Node, scale float64) *graph.Node{FusedAttention, attentionTwin} {
		y := attention(q, k, v, 1/math.Sqrt(float64(of.features)))
		results[i] = append([]*graph.Node{y}, Gradient(graph.ReduceAllSum(graph.Mul(y, adjoint)), q, k, v)...)
	}
	var off []*graph.Node
	for i, want := range results[1] {
		length := func(x *graph.Node) *graph.Node { return graph.Sqrt(graph.ReduceAllSum(graph.Square(x))) }
		off = append(off, graph.Div(length(graph.Sub(results[0][i], want)), length(want)))
	}
	g.Compile(graph.Stack(off, 0))
	var err error
	failed := tensors.ConstFlatData(g.Run()[0], func(shares []float32) {
		for i, share := range shares {
			if !(share < most) {
				err = fmt.Errorf("fused attention: result %d is off by %g of its length", i, share)
			}
		}
	})
	return errors.Join(failed, err)
}

// attentionTwin is FusedAttention by XLA's operations.
func attentionTwin(q, k, v *graph.Node, scale float64) *graph.Node {
	byHead := func(x *graph.Node) *graph.Node { return graph.TransposeAllAxes(x, 0, 2, 1, 3) }
	scores := graph.DotGeneral(byHead(q), []int{3}, []int{0, 1}, byHead(k), []int{3}, []int{0, 1})
	weights := Softmax(graph.MulScalar(scores, scale))
	return byHead(graph.DotGeneral(weights, []int{3}, []int{0, 1}, byHead(v), []int{2}, []int{0, 1}))
}

// FusedAttention is softmax(scale · q·kᵀ)·v, each of q, k, v and the result [N, tokens, heads, features], by cuDNN's fused
// kernels: no [tokens, tokens] matrix is in memory. Operands are cast to bfloat16, and the result back. Features are a
// multiple of 8, at most 128.
//
// XLA knows these kernels as the calls __cudnn$fmhaSoftmax and __cudnn$fmhaSoftmaxBackward. Their settings are those that
// JAX gives them (jax/_src/cudnn/fused_attention_stablehlo.py). The forward pass also returns log Σ exp of each row, which
// the backward pass makes the matrix anew from.
func FusedAttention(q, k, v *graph.Node, scale float64) *graph.Node {
	full, d := q.DType(), q.Shape().Dimensions
	samples, tokens, heads, features := d[0], d[1], d[2], d[3]
	byHead := shapes.Make(dtypes.BFloat16, samples, heads, tokens, features)
	rows, scratch := shapes.Make(dtypes.Float32, samples, heads, tokens), shapes.Make(dtypes.Uint8, 0)
	low := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, dtypes.BFloat16) }
	// Results [N, heads, tokens, features] lie in memory as [N, tokens, heads, features].
	swapped := func(x *graph.Node) *graph.Node { return graph.TransposeAllAxes(x, 0, 2, 1, 3) }
	call := func(target string, results []shapes.Shape, products string, operands ...*graph.Node) []*graph.Node {
		var layouts, resultLayouts []string
		for _, x := range operands {
			layouts = append(layouts, rowsFirst(x.Rank()))
		}
		for _, shape := range results {
			if shape.Rank() == 4 {
				resultLayouts = append(resultLayouts, layout(3, 1, 2, 0))
			} else {
				resultLayouts = append(resultLayouts, rowsFirst(shape.Rank()))
			}
		}
		config := fmt.Sprintf(attentionConfig, scale, samples, heads, tokens, products)
		return customCall(operands, results, map[string]string{
			"call_target_name": fmt.Sprintf("%q", target),
			"api_version":      "2 : i32", // settings are a text
			"backend_config":   `"` + strings.ReplaceAll(config, `"`, `\22`) + `"`,
			"operand_layouts":  list(layouts),
			"result_layouts":   list(resultLayouts),
		})
	}
	lq, lk, lv := low(q), low(k), low(v)
	forward := call("__cudnn$fmhaSoftmax", []shapes.Shape{byHead, rows, scratch},
		dot("bmm1", 3, 3, 2, 2)+", "+dot("bmm2", 3, 1, 1, 2), lq, lk, lv)
	y := swapped(forward[0])
	return CustomGradient(graph.ConvertDType(y, full), []*graph.Node{q, k, v}, func(adjoint *graph.Node) []*graph.Node {
		products := dot("bmm1_grad_gemm1", 2, 1, 1, 2) + ", " + dot("bmm1_grad_gemm2", 3, 1, 1, 2) + ", " +
			dot("bmm2_grad_gemm1", 2, 1, 1, 2) + ", " + dot("bmm2_grad_gemm2", 3, 3, 2, 2)
		adjoints := call("__cudnn$fmhaSoftmaxBackward", []shapes.Shape{byHead, byHead, byHead, scratch}, products,
			lq, lk, lv, forward[1], low(adjoint), y)
		for i := range adjoints[:3] {
			adjoints[i] = graph.ConvertDType(swapped(adjoints[i]), full)
		}
		return adjoints[:3]
	})
}

// attentionConfig is the text of a call's settings: scale, samples, heads, tokens, and the products.
const attentionConfig = `{"operation_queue_id": "0", "cudnn_fmha_backend_config": {` +
	`"algorithm": {"algo_id": "0", "math_type": "TENSOR_OP_MATH", "tuning_knobs": {"17": "1", "24": "0"}, "is_cudnn_frontend": true, "workspace_size": "0"}, ` +
	`"fmha_scale": %[1]g, "intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["%[2]d", "%[3]d", "%[4]d", "%[4]d"], "tuple_shapes": [], ` +
	`"layout": {"dim_level_types": [], "dim_unique": [], "dim_ordered": [], "minor_to_major": ["3", "2", "1", "0"], "tiles": [], "element_size_in_bits": "0", ` +
	`"memory_space": "0", "index_primitive_type": "PRIMITIVE_TYPE_INVALID", "pointer_primitive_type": "PRIMITIVE_TYPE_INVALID", "dynamic_shape_metadata_prefix_bytes": "0"}, ` +
	`"is_dynamic_dimension": [false, false, false, false]}, "is_flash_attention": true, "mask_type": "NO_MASK", %[5]s, ` +
	`"dropout_rate": 0.0, "seed": 42, "sliding_window_length": 0, "max_seg_per_batch": 1, "is_paged_attention": false}}`

// dot are the settings of one of a call's products: the axes it sums over, and the heads' axes.
func dot(name string, left, right, leftHeads, rightHeads int) string {
	return fmt.Sprintf(`"%s_dot_dimension_numbers": {"lhs_contracting_dimensions": ["%d"], "rhs_contracting_dimensions": ["%d"], `+
		`"lhs_batch_dimensions": ["0", "%d"], "rhs_batch_dimensions": ["0", "%d"]}`, name, left, right, leftHeads, rightHeads)
}
