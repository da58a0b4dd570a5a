package trainstep

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
	"prenas/internal/rng"
)

// lossTwin is the loss of one image in float64, term by term.
func lossTwin(r recipe.Recipe, logits, targets, teacher []float64) float64 {
	softmax := func(x []float64, t float64) []float64 {
		p, sum := make([]float64, len(x)), 0.0
		for i, v := range x {
			p[i] = math.Exp(v / t)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	entropy := func(target []float64, t float64) (sum float64) {
		for i, p := range softmax(logits, t) {
			sum -= target[i] * math.Log(p)
		}
		return sum
	}
	d := r.Distill
	if d.Kind == recipe.HardTarget {
		label := make([]float64, len(logits))
		off := r.Loss.Smoothing / float64(len(logits))
		for i := range label {
			label[i] = off
		}
		for i, v := range teacher {
			if v == slices.Max(teacher) {
				label[i] = 1 - r.Loss.Smoothing + off
			}
		}
		return (1-d.Alpha)*entropy(targets, 1) + d.Alpha*entropy(label, 1)
	}
	t := d.Temperature
	return (1-d.Alpha)*entropy(targets, 1) + d.Alpha*t*t*entropy(softmax(teacher, t), t)
}

func TestLossWithATeacherEqualsItsFormula(t *testing.T) {
	const n, classes = 5, 4
	random := rng.New(1, "distill")
	values := make([][]float32, 3) // logits, targets, teacher
	for i := range values {
		for range n * classes {
			values[i] = append(values[i], float32(2*random.NormFloat64()))
		}
	}
	for i := range values[1] {
		values[1][i] = 1.0 / classes
	}
	shape := shapes.Make(dtypes.Float32, n, classes)
	e := enginetest.PureGo(t)
	for _, d := range []recipe.Distill{
		{Teacher: "t", Kind: recipe.SoftTarget, Alpha: 0.3, Temperature: 1},
		{Teacher: "t", Kind: recipe.SoftTarget, Alpha: 1, Temperature: 4},
		{Teacher: "t", Kind: recipe.HardTarget, Alpha: 0.5, Temperature: 1},
	} {
		r := recipe.Default()
		r.Distill = d
		p, err := e.Compile("loss", []shapes.Shape{shape, shape, shape}, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{lossOf(r, in[0], in[1], in[2])}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var args []*tensors.Tensor
		for _, v := range values {
			args = append(args, tensors.FromFlatDataAndDimensions(v, n, classes))
		}
		out, err := p.Run(args)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range download(t, out[0]) {
			row := func(k int) (x []float64) {
				for _, v := range values[k][i*classes:][:classes] {
					x = append(x, float64(v))
				}
				return x
			}
			if want := lossTwin(r, row(0), row(1), row(2)); !(math.Abs(float64(got)-want) <= 1e-5*want) {
				t.Errorf("%+v: image %d has loss %v, want %v", d, i, got, want)
			}
		}
	}
}
