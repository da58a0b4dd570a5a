package search

import (
	"fmt"
	"math"
	"slices"
)

// Tensor is a dense float32 array, row-major.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Tensors are the supernet's weights, or its gradients, by the original's
// names: patch_embed_super.proj.weight, blocks.0.attn.qkv.weight, ...
type Tensors map[string]Tensor

// A measure is what is summed over a slice of a weight w and its gradient g.
type measure int

const (
	absProduct     measure = iota // |w·g|
	absWeight                     // |w|
	absGradient                   // |g|
	signedProduct                 // w·g
	signedWeight                  // w
	signedGradient                // g
	squareProduct                 // (w·g)²
	squareGradient                // g²
	measures
)

// prefixSums holds, for one weight, the sums over its corner slices [:r, :c]:
//
//	     c1   c2    c3
//	   ┌────┬─────┬─────┐      sum[i][j] is the sum over everything above
//	r1 │    │     │     │      and left of the crossing of the cuts r_i and
//	   ├────┼─────┼─────┤      c_j. Slices of a weight-sharing supernet are
//	r2 │    │     │     │      corners, so the few cuts that the choices of
//	   └────┴─────┴─────┘      the space make are all that is ever asked for.
//
// A tensor of one dimension is a column; one of more is a matrix of its first
// dimension by the rest.
type prefixSums struct {
	rows, cols []int // ascending cuts
	sum        [measures][][]float64
}

// at is the sum of m over [:r, :c]; both must be cuts.
func (c *prefixSums) at(m measure, r, col int) float64 {
	return c.sum[m][slices.Index(c.rows, r)][slices.Index(c.cols, col)]
}

// newPrefixSums sums a weight, and its gradient where there is one, in one pass.
// Sums are float64 in a fixed order: the same for any number of workers.
func newPrefixSums(w, g []float32, width int, rows, cols []int, rare bool) *prefixSums {
	c := &prefixSums{rows: rows, cols: cols}
	for m := range c.sum {
		c.sum[m] = make([][]float64, len(rows))
		for i := range rows {
			c.sum[m][i] = make([]float64, len(cols))
		}
	}
	row := 0
	for i, rowCut := range rows {
		for ; row < rowCut; row++ {
			col := 0
			for j, colCut := range cols {
				from, to := row*width+col, row*width+colCut
				col = colCut
				if g == nil {
					addWeights(c, i, j, w[from:to])
				} else {
					addProducts(c, i, j, w[from:to], g[from:to], rare)
				}
			}
		}
	}
	for _, sum := range c.sum {
		for i := range rows {
			for j := 1; j < len(cols); j++ {
				sum[i][j] += sum[i][j-1]
			}
		}
		for i := 1; i < len(rows); i++ {
			for j := range cols {
				sum[i][j] += sum[i-1][j]
			}
		}
	}
	return c
}

// addProducts is the inner loop of the whole search: everything else costs
// additions over a few cuts. The sums that few methods need, all but the
// first three measures, are left out when none asks for them.
func addProducts(c *prefixSums, i, j int, w, g []float32, rare bool) {
	var product, weight, gradient, signedP, signedW, signedG, squareP, squareG float64
	g = g[:len(w)]
	if rare {
		for k, a := range w {
			x, y := float64(a), float64(g[k])
			signedP += x * y
			signedW += x
			signedG += y
			squareP += x * y * x * y
			squareG += y * y
		}
	}
	for k, a := range w {
		x, y := math.Abs(float64(a)), math.Abs(float64(g[k]))
		product += x * y
		weight += x
		gradient += y
	}
	c.sum[absProduct][i][j] += product
	c.sum[absWeight][i][j] += weight
	c.sum[absGradient][i][j] += gradient
	c.sum[signedProduct][i][j] += signedP
	c.sum[signedWeight][i][j] += signedW
	c.sum[signedGradient][i][j] += signedG
	c.sum[squareProduct][i][j] += squareP
	c.sum[squareGradient][i][j] += squareG
}

func addWeights(c *prefixSums, i, j int, w []float32) {
	var abs, signed float64
	for _, a := range w {
		x := float64(a)
		abs += math.Abs(x)
		signed += x
	}
	c.sum[absWeight][i][j] += abs
	c.sum[signedWeight][i][j] += signed
}

// matrix is the tensor's size as a matrix: its first dimension by the rest.
func (t Tensor) matrix() (rows, width int) {
	if len(t.Shape) == 0 {
		return 0, 0
	}
	rows, width = t.Shape[0], 1
	for _, d := range t.Shape[1:] {
		width *= d
	}
	return rows, width
}

// fits reports whether the tensor can be cut at all of rows and cols.
func (t Tensor) fits(name string, rows, cols []int) error {
	r, width := t.matrix()
	if r*width != len(t.Data) {
		return fmt.Errorf("%w: tensor %s has shape %v but %d values", ErrWeights, name, t.Shape, len(t.Data))
	}
	if r < rows[len(rows)-1] || width < cols[len(cols)-1] {
		return fmt.Errorf("%w: tensor %s has shape %v, the largest architecture needs %d x %d of it",
			ErrWeights, name, t.Shape, rows[len(rows)-1], cols[len(cols)-1])
	}
	return nil
}
