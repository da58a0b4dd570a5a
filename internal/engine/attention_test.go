package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/kernels"
)

// slowAttention is Attention as its formula has it, with an embedding of each pair of tokens.
func slowAttention(qkv *graph.Node, heads int, relative *Relative, operands dtypes.DType) *graph.Node {
	d := qkv.Shape().Dimensions
	n, tokens, size := d[0], d[1], d[2]/3/heads
	part := func(i int) *graph.Node { // [n, heads, tokens, size]
		x := graph.Slice(qkv, graph.AxisRange(), graph.AxisRange(), graph.AxisRange(i*heads*size, (i+1)*heads*size))
		return graph.TransposeAllAxes(graph.Reshape(x, n, tokens, heads, size), 0, 2, 1, 3)
	}
	q, k, v := part(0), part(1), part(2)
	embedding := func(vertical, horizontal *graph.Node) *graph.Node { // [tokens, tokens, size]
		index := func(d int) int32 { return int32(max(-relative.Limit, min(relative.Limit, d)) + relative.Limit + 1) }
		rows, columns := make([]int32, tokens*tokens), make([]int32, tokens*tokens)
		for i := 1; i < tokens; i++ {
			for j := 1; j < tokens; j++ {
				rows[i*tokens+j] = index((j-1)/relative.Side - (i-1)/relative.Side)
				columns[i*tokens+j] = index((j-1)%relative.Side - (i-1)%relative.Side)
			}
		}
		of := func(table *graph.Node, index []int32) *graph.Node {
			return graph.Gather(table, graph.Const(table.Graph(), tensors.FromFlatDataAndDimensions(index, tokens, tokens, 1)))
		}
		return graph.Add(of(vertical, rows), of(horizontal, columns))
	}
	scores := DotGeneral(q, []int{3}, []int{0, 1}, k, []int{3}, []int{0, 1}, operands)
	if relative != nil {
		more := DotGeneral(q, []int{3}, []int{2}, embedding(relative.Tables[0], relative.Tables[1]), []int{2}, []int{0}, operands) // [tokens, n, heads, tokens]
		scores = graph.Add(scores, graph.TransposeAllAxes(more, 1, 2, 0, 3))
	}
	p := graph.Softmax(graph.MulScalar(scores, 1/math.Sqrt(float64(size))), -1)
	y := DotGeneral(p, []int{3}, []int{0, 1}, v, []int{2}, []int{0, 1}, operands)
	if relative != nil {
		more := DotGeneral(p, []int{3}, []int{2}, embedding(relative.Tables[2], relative.Tables[3]), []int{1}, []int{0}, operands)
		y = graph.Add(y, graph.TransposeAllAxes(more, 1, 2, 0, 3))
	}
	return graph.Reshape(graph.TransposeAllAxes(y, 0, 2, 1, 3), n, tokens, heads*size)
}

func TestAttentionIsTheFormula(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	e := engineWithKernels(t)
	for i, c := range []struct{ n, heads, size, tokens, side, limit int }{
		{n: 2, heads: 3, size: 64, tokens: 197, side: 14, limit: 14}, // as the spaces of the paper
		{n: 3, heads: 2, size: 64, tokens: 50, side: 7, limit: 14},   // as the quickstart's
		{n: 1, heads: 1, size: 16, tokens: 10, side: 3, limit: 1},    // with distances beyond the limit
		{n: 2, heads: 1, size: 34, tokens: 2, side: 1, limit: 2},
		{n: 1, heads: 2, size: 32, tokens: 18*18 + 1, side: 18, limit: 10}, // more than a vector in a row
		{n: 1, heads: 1, size: 6, tokens: 33*33 + 1, side: 33, limit: 33},  // more places than two vectors
		{n: 1, heads: 1, size: 4, tokens: 33*33 + 1, side: 33, limit: 30},  // with distances beyond the limit
		{n: 2, heads: 5, size: 48, tokens: 23},                             // without relative positions
		{n: 1, heads: 1, size: 2, tokens: 1},
	} {
		for _, precision := range []Precision{Float32, BFloat16} {
			operands := precision.Operands()
			if !kernels.Products(operands == dtypes.BFloat16) {
				t.Logf("%s: not on this processor", precision)
				continue
			}
			t.Run(fmt.Sprintf("%+v %s", c, precision), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(i), 5))
				inputs := []any{
					tensors.FromFlatDataAndDimensions(normals(random, c.n*c.tokens*3*c.heads*c.size), c.n, c.tokens, 3*c.heads*c.size),
					tensors.FromFlatDataAndDimensions(normals(random, c.n*c.tokens*c.heads*c.size), c.n, c.tokens, c.heads*c.size),
				}
				for range 4 {
					if c.side > 0 {
						inputs = append(inputs, tensors.FromFlatDataAndDimensions(normals(random, (2*c.limit+2)*c.size), 2*c.limit+2, c.size))
					}
				}
				program := func(attend func(qkv *graph.Node, relative *Relative) *graph.Node) [][]float32 {
					exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
						var relative *Relative
						if c.side > 0 {
							relative = &Relative{Side: c.side, Limit: c.limit, Tables: in[2:]}
						}
						y := attend(in[0], relative)
						wanted := append([]*graph.Node{in[0]}, in[2:]...)
						return append(Gradient(graph.ReduceAllSum(graph.Mul(y, in[1])), wanted...), y)
					})
					out, err := exec.Exec(inputs...)
					if err != nil {
						t.Fatal(err)
					}
					var values [][]float32
					for i := range out {
						values = append(values, tensors.MustCopyFlatData[float32](out[i]))
					}
					return values
				}
				got := program(func(qkv *graph.Node, relative *Relative) *graph.Node {
					y, ok := Attention(qkv, c.heads, relative, operands)
					if !ok {
						t.Fatal("refused")
					}
					return y
				})
				want := program(func(qkv *graph.Node, relative *Relative) *graph.Node {
					return slowAttention(qkv, c.heads, relative, Float32.Operands())
				})
				for i := range want {
					// Adjoints of tables add up over all pairs of tokens. bf16 is off by 1/256 of each operand.
					tolerance := 2e-5
					if precision == BFloat16 {
						tolerance = 0.03
					}
					worst, most := 0.0, 0.0
					for at := range want[i] {
						worst = max(worst, math.Abs(float64(got[i][at]-want[i][at])))
						most = max(most, math.Abs(float64(want[i][at])))
					}
					if !(worst <= tolerance*(1+most)) {
						t.Errorf("output %d of %d is off by %g where the largest is %g", i, len(want), worst, most)
					}
				}
				if again := program(func(qkv *graph.Node, relative *Relative) *graph.Node {
					y, _ := Attention(qkv, c.heads, relative, operands)
					return y
				}); differ(again[0], got[0]) != 0 || differ(again[len(again)-2], got[len(got)-2]) != 0 {
					t.Error("a second run differs")
				}
			})
		}
	}
}

// An image's result and adjoint have the same bits among many images, whose results may be written past the caches, as alone.
func TestAttentionOfManyImages(t *testing.T) {
	e := engineWithKernels(t)
	if !kernels.Products(true) {
		t.Skip("not on this processor")
	}
	const images, heads, size, tokens = 16, 6, 64, 197
	random := rand.New(rand.NewPCG(4, 4))
	qkv, v := normals(random, images*tokens*3*heads*size), normals(random, images*tokens*heads*size)
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y, _ := Attention(in[0], heads, nil, dtypes.BFloat16)
		return []*graph.Node{y, Gradient(graph.ReduceAllSum(graph.Mul(y, in[1])), in[0])[0]}
	})
	of := func(first, count int) (results [2][]float32) {
		const x, y = tokens * 3 * heads * size, tokens * heads * size
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions(qkv[first*x:(first+count)*x], count, tokens, 3*heads*size),
			tensors.FromFlatDataAndDimensions(v[first*y:(first+count)*y], count, tokens, heads*size))
		if err != nil {
			t.Fatal(err)
		}
		for i := range results {
			results[i] = tensors.MustCopyFlatData[float32](out[i])
		}
		return results
	}
	all := of(0, images)
	for _, image := range []int{0, images - 1} {
		for i, alone := range of(image, 1) {
			if d := differ(all[i][image*len(alone):(image+1)*len(alone)], alone); d != 0 {
				t.Errorf("image %d: output %d is off by %g of that of the image alone", image, i, d)
			}
		}
	}
}

// What is not finite stays so: a loss must tell.
func TestAttentionKeepsNaN(t *testing.T) {
	e := engineWithKernels(t)
	if !kernels.Products(false) {
		t.Skip("not on this processor")
	}
	x := normals(rand.New(rand.NewPCG(1, 1)), 2*5*3*16)
	x[3*16+2] = float32(math.NaN()) // in a query of the first image
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) *graph.Node {
		y, _ := Attention(in[0], 1, nil, dtypes.Float32)
		return y
	})
	out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, 2, 5, 3*16))
	if err != nil {
		t.Fatal(err)
	}
	for i, y := range tensors.MustCopyFlatData[float32](out[0]) {
		if isNaN := math.IsNaN(float64(y)); isNaN != (i/16 == 1) {
			t.Fatalf("value %d of token %d is %v", i%16, i/16, y)
		}
	}
}
