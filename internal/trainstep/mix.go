package trainstep

import (
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/recipe"
	"prenas/internal/rng"
)

// Mixup and cutmix, and the batch, pair and elem modes of both, are one mechanism: each
// image of the batch has a row that says how much of it stays, and where.
//
//	            outside the box         inside the box      target
//	mixup       keep·own + (1-keep)·other   (no box)        share·own + (1-share)·other
//	cutmix      own  (keep = 1)             other           share = 1 - area of the box
//
// The other image of number i is number N-1-i. The rows are drawn on the host, the
// mixing is part of the compiled step. Formulas: timm 0.5.4, timm/data/mixup.py.
const (
	mixKeep  = iota // weight of the own pixels outside the box
	mixShare        // weight of the own target
	mixTop          // box, in pixels: rows [top, bottom), columns [left, right)
	mixBottom
	mixLeft
	mixRight
	mixColumns
)

// mixRows draws the rows, [batch, mixColumns], of one batch of size × size images.
// step and part name the update and the batch within it.
func mixRows(m recipe.Mix, seed uint64, step, part, batch, size int) []float32 {
	rows := make([]float32, batch*mixColumns)
	row := func(i int) []float32 { return rows[i*mixColumns : (i+1)*mixColumns] }
	for i := range batch {
		copy(row(i), []float32{mixKeep: 1, mixShare: 1})
	}
	r := rng.New(seed, "mix", uint64(step), uint64(part))
	switch m.Mode {
	case "batch":
		drawMix(m, r, size, row(0))
		for i := 1; i < batch; i++ {
			copy(row(i), row(0))
		}
	case "pair":
		for i := range batch / 2 {
			drawMix(m, r, size, row(i))
			copy(row(batch-1-i), row(i))
		}
	case "elem":
		for i := range batch {
			drawMix(m, r, size, row(i))
		}
	}
	return rows
}

// drawMix fills one row; it leaves the row as it is where chance says not to mix.
func drawMix(m recipe.Mix, r *rand.Rand, size int, row []float32) {
	if r.Float64() >= m.Prob {
		return
	}
	cut := m.Cutmix > 0 && (m.Mixup == 0 || r.Float64() < m.Switch)
	if !cut {
		share := float32(betaDraw(r, m.Mixup))
		row[mixKeep], row[mixShare] = share, share
		return
	}
	// The box's sides are the root of the share taken; what sticks out of the image
	// is cut off, and the share follows the area that is left.
	side := int(float64(size) * math.Sqrt(1-betaDraw(r, m.Cutmix)))
	y, x := r.IntN(size), r.IntN(size)
	top, bottom := max(y-side/2, 0), min(y+side/2, size)
	left, right := max(x-side/2, 0), min(x+side/2, size)
	row[mixTop], row[mixBottom] = float32(top), float32(bottom)
	row[mixLeft], row[mixRight] = float32(left), float32(right)
	row[mixShare] = float32(1 - float64((bottom-top)*(right-left))/float64(size*size))
}

// betaDraw draws from Beta(alpha, alpha), as a ratio of two Gamma draws.
func betaDraw(r *rand.Rand, alpha float64) float64 {
	a, b := gammaDraw(r, alpha), gammaDraw(r, alpha)
	if a+b == 0 { // both underflow only for a tiny alpha, where the mass is at the ends
		return float64(r.IntN(2))
	}
	return a / (a + b)
}

// gammaDraw draws from Gamma(shape, 1): Marsaglia and Tsang, "A simple method for
// generating gamma variables" (2000), with their boost for shapes below one.
func gammaDraw(r *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gammaDraw(r, shape+1) * math.Pow(1-r.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(1-r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// mixImages applies the rows to images [N, C, H, W].
func mixImages(images, rows *graph.Node) *graph.Node {
	dims := images.Shape().Dimensions
	n, height, width := dims[0], dims[2], dims[3]
	column := func(c int) *graph.Node { return graph.Reshape(mixColumn(rows, c), n, 1, 1, 1) }
	plane := shapes.Make(rows.DType(), n, 1, height, width)
	y, x := graph.Iota(rows.Graph(), plane, 2), graph.Iota(rows.Graph(), plane, 3)
	broadcast := func(c int) *graph.Node { return graph.BroadcastToShape(column(c), plane) }
	inside := graph.LogicalAnd(
		graph.LogicalAnd(graph.GreaterOrEqual(y, broadcast(mixTop)), graph.LessThan(y, broadcast(mixBottom))),
		graph.LogicalAnd(graph.GreaterOrEqual(x, broadcast(mixLeft)), graph.LessThan(x, broadcast(mixRight))))
	keep := graph.Where(inside, graph.ZerosLike(y), broadcast(mixKeep))
	keep = graph.BroadcastToShape(keep, images.Shape())
	return graph.Add(graph.Mul(keep, images), graph.Mul(graph.OneMinus(keep), reverseBatch(images)))
}

// mixTargets applies the rows to targets [N, classes].
func mixTargets(targets, rows *graph.Node) *graph.Node {
	share := graph.BroadcastToShape(mixColumn(rows, mixShare), targets.Shape())
	return graph.Add(graph.Mul(share, targets), graph.Mul(graph.OneMinus(share), reverseBatch(targets)))
}

// mixColumn is column c of the rows, [N, 1].
func mixColumn(rows *graph.Node, c int) *graph.Node {
	return graph.Slice(rows, graph.AxisRange(), graph.AxisRange(c, c+1))
}

// reverseBatch turns the first axis around, by a gather: the pure-Go backend has no Reverse.
func reverseBatch(x *graph.Node) *graph.Node {
	n := x.Shape().Dimensions[0]
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(n - 1 - i)
	}
	return graph.Gather(x, graph.InsertAxes(graph.Const(x.Graph(), order), -1))
}

// smoothTargets turns labels, int32 [N], into rows of off = smoothing/classes with
// 1 - smoothing + off at the label (timm's mixup_target).
func smoothTargets(labels *graph.Node, classes int, smoothing float64) *graph.Node {
	off := smoothing / float64(classes)
	one := graph.OneHot(labels, classes, dtypes.Float32)
	return graph.AddScalar(graph.MulScalar(one, 1-smoothing), off)
}

// weighTargets [N, classes] multiplies those of each class by its weight; the model may have more
// classes than there are weights, which no image has: theirs is 0.
func weighTargets(targets *graph.Node, weights []float32) *graph.Node {
	row := make([]float32, targets.Shape().Dim(-1))
	copy(row, weights)
	of := graph.InsertAxes(graph.Const(targets.Graph(), row), 0)
	return graph.Mul(targets, graph.BroadcastToShape(of, targets.Shape()))
}
