package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// An update of tensors by AdamW with values of their own, and what it must become, number by number.
type adamwCase struct {
	shapes, corners       [][]int
	averages              bool
	factor                float64
	finite                bool
	gradients             [][]float32
	groups                [][][]float32 // [groups][tensors][values]
	remains, steps, roots []float32
}

const (
	adamwBeta1, adamwBeta2, adamwEps, adamwAverage = 0.9, 0.99, 1e-3, 0.8
)

func (c *adamwCase) draw(seed uint64) {
	random := rand.New(rand.NewPCG(seed, 5))
	size := func(dims []int) int { return shapes.Make(dtypes.Float32, dims...).Size() }
	groups := 3
	if c.averages {
		groups = 4
	}
	c.gradients, c.groups = nil, make([][][]float32, groups)
	c.remains, c.steps, c.roots = nil, nil, nil
	for k, dims := range c.shapes {
		c.gradients = append(c.gradients, normals(random, size(c.corners[k])))
		for g := range c.groups {
			values := normals(random, size(dims))
			if g == 2 {
				for i, v := range values {
					values[i] = v * v
				}
			}
			c.groups[g] = append(c.groups[g], values)
		}
		c.remains = append(c.remains, []float32{1, 0.95}[k%2])
		c.steps = append(c.steps, 0.1*float32(k+1))
		c.roots = append(c.roots, 1-0.1*float32(k%5))
	}
}

// want is the value of index i of each group of tensor k after the update.
func (c *adamwCase) want(k, i int) []float64 {
	var before []float64
	for _, group := range c.groups {
		before = append(before, float64(group[k][i]))
	}
	if !c.finite {
		return before
	}
	x, at, size, within := 0.0, 0, 1, true
	for axis := len(c.shapes[k]) - 1; axis >= 0; axis-- {
		index := i % c.shapes[k][axis]
		i /= c.shapes[k][axis]
		within = within && index < c.corners[k][axis]
		at += index * size
		size *= c.corners[k][axis]
	}
	if within {
		x = c.factor * float64(c.gradients[k][at])
	}
	m := adamwBeta1*before[1] + (1-adamwBeta1)*x
	v := adamwBeta2*before[2] + (1-adamwBeta2)*x*x
	w := float64(c.remains[k])*before[0] - float64(c.steps[k])*m/(math.Sqrt(v)/float64(c.roots[k])+adamwEps)
	after := []float64{w, m, v}
	if c.averages {
		after = append(after, adamwAverage*before[3]+(1-adamwAverage)*w)
	}
	return after
}

// run returns the groups after the update.
func (c *adamwCase) run(t *testing.T, e *Engine, lanes int) [][][]float32 {
	t.Helper()
	var args []any
	add := func(values []float32, dims []int) {
		args = append(args, tensors.FromFlatDataAndDimensions(values, dims...))
	}
	n := len(c.shapes)
	for k, values := range c.gradients {
		add(values, c.corners[k])
	}
	for _, group := range c.groups {
		for k, values := range group {
			add(values, c.shapes[k])
		}
	}
	for _, own := range [][]float32{c.remains, c.steps, c.roots} {
		add(own, []int{n})
	}
	args = append(args, tensors.FromScalar(float32(c.factor)), tensors.FromScalar(c.finite))
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		u := AdamWUpdate{Gradients: in[:n], Beta1: adamwBeta1, Beta2: adamwBeta2, Eps: adamwEps, AverageDecay: adamwAverage}
		in = in[n:]
		for range c.groups {
			u.Groups = append(u.Groups, in[:n])
			in = in[n:]
		}
		u.Remains, u.Steps, u.Roots, u.Factor, u.Finite = in[0], in[1], in[2], in[3], in[4]
		return slices.Concat(adamWCall(u, lanes)...)
	})
	out, err := exec.Exec(args...)
	if err != nil {
		t.Fatal(err)
	}
	after := make([][][]float32, len(c.groups))
	for i, x := range out {
		after[i/n] = append(after[i/n], tensors.MustCopyFlatData[float32](x))
	}
	return after
}

// Sizes that fill vectors, pieces and parts, and such that do not; corners along each axis.
func TestAdamWCallIsTheFormula(t *testing.T) {
	e := engineWithKernels(t)
	whole := [][]int{{1}, {7}, {300, 300}, {3, 5, 2, 4}, {2, 3, 2, 2, 3}, {1024}, {65536}, {1, 1, 65553}}
	cut := [][]int{{1}, {5}, {299, 288}, {2, 5, 1, 4}, {1, 3, 2, 1, 3}, {1000}, {1}, {1, 1, 1025}}
	for i, c := range []adamwCase{
		{shapes: whole, corners: whole, factor: 1, finite: true},
		{shapes: whole, corners: cut, factor: 0.5, finite: true, averages: true},
		{shapes: whole, corners: cut, factor: math.NaN(), averages: true},
	} {
		for _, lanes := range []int{4, 8, widest} {
			t.Run(fmt.Sprint(i, lanes), func(t *testing.T) {
				c.draw(uint64(i))
				if !c.finite {
					c.gradients[2][5], c.gradients[3][1] = float32(math.NaN()), float32(math.Inf(1))
				}
				after := c.run(t, e, lanes)
				for k := range c.shapes {
					for i := range c.groups[0][k] {
						for g, want := range c.want(k, i) {
							if got := float64(after[g][k][i]); !(math.Abs(got-want) <= 3e-6*(1+math.Abs(want))) || !c.finite && got != want {
								t.Fatalf("group %d of tensor %v at %d is %v, want %v", g, c.shapes[k], i, got, want)
							}
						}
					}
				}
				again := c.run(t, e, lanes)
				for g := range after {
					for k := range after[g] {
						if !slices.Equal(after[g][k], again[g][k]) {
							t.Errorf("group %d of tensor %v has other bits the second time", g, c.shapes[k])
						}
					}
				}
			})
		}
	}
}

func TestAdamWCallRefusesWhatDoesNotFit(t *testing.T) {
	e := engineWithKernels(t)
	for name, change := range map[string]func(c *adamwCase){
		"a gradient larger than its weight": func(c *adamwCase) { c.corners = [][]int{{2, 3}, {6}} },
		"a gradient of another rank":        func(c *adamwCase) { c.corners = [][]int{{2, 3}, {5, 1}} },
		"a rate too few":                    func(c *adamwCase) {},
	} {
		c := adamwCase{shapes: [][]int{{2, 3}, {5}}, corners: [][]int{{2, 3}, {5}}, factor: 1, finite: true}
		change(&c)
		c.draw(1)
		var args []any
		for k, values := range c.gradients {
			args = append(args, tensors.FromFlatDataAndDimensions(values, c.corners[k]...))
		}
		for k, values := range c.groups[0] {
			args = append(args, tensors.FromFlatDataAndDimensions(values, c.shapes[k]...))
		}
		own := c.steps
		if name == "a rate too few" {
			own = own[:1]
		}
		args = append(args, tensors.FromFlatDataAndDimensions(own, len(own)))
		exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
			u := AdamWUpdate{Gradients: in[:2], Groups: [][]*graph.Node{in[2:4], in[2:4], in[2:4]}, Remains: in[4], Steps: in[4], Roots: in[4]}
			u.Factor = graph.ScalarOne(in[0].Graph(), dtypes.Float32)
			u.Finite = graph.IsFinite(u.Factor)
			return slices.Concat(adamWCall(u, widest)...)
		})
		if _, err := exec.Exec(args...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSquareSumCallIsTheFormula(t *testing.T) {
	e := engineWithKernels(t)
	random := rand.New(rand.NewPCG(6, 7))
	for _, sizes := range [][]int{{1}, {17}, {64}, {1024, 1023, 1025}, {65536, 3, 200001}} {
		for _, lanes := range []int{4, 8, widest} {
			var want float64
			var values [][]float32
			for _, n := range sizes {
				values = append(values, normals(random, n))
				for _, x := range values[len(values)-1] {
					want += float64(x) * float64(x)
				}
			}
			exec := graph.MustNewExec(e.backend, func(in []*graph.Node) *graph.Node { return squareSumCall(in, lanes) })
			var first float32
			for run := range 2 {
				var args []any
				for _, v := range values {
					args = append(args, tensors.FromFlatDataAndDimensions(v, len(v)))
				}
				out, err := exec.Exec(args...)
				if err != nil {
					t.Fatal(err)
				}
				got := tensors.ToScalar[float32](out[0])
				if !(math.Abs(float64(got)-want) <= 1e-6*want) {
					t.Errorf("%v, %d lanes: %v, want %v", sizes, lanes, got, want)
				}
				if run == 0 {
					first = got
				} else if got != first {
					t.Errorf("%v, %d lanes: %v and then %v", sizes, lanes, first, got)
				}
			}
		}
	}
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) *graph.Node { return SquareSum(in) })
	for _, spoiled := range []float64{math.NaN(), math.Inf(-1), 1e20} { // the last one's square is too large
		x := normals(random, 2000)
		x[1999] = float32(spoiled)
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, 40, 50))
		if err != nil {
			t.Fatal(err)
		}
		if sum := float64(tensors.ToScalar[float32](out[0])); !math.IsNaN(sum) && !math.IsInf(sum, 1) {
			t.Errorf("with %v the sum is %v", spoiled, sum)
		}
	}
}

func TestWidenedAndCorner(t *testing.T) {
	for _, backend := range []string{"go", "auto"} {
		e, err := Open(t.Context(), Options{Backend: backend})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
			wide := ZeroPad(in[0], []int{3, 2, 4})
			return []*graph.Node{wide, LeadingSlice(wide, []int{2, 1, 3}), SquareSum([]*graph.Node{wide, in[0]})}
		})
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions([]float32{1, 2, 3, 4, 5, 6}, 2, 1, 3))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(tensors.MustCopyFlatData[float32](out[0])); got != "[1 2 3 0 0 0 0 0 4 5 6 0 0 0 0 0 0 0 0 0 0 0 0 0]" {
			t.Errorf("%s: widened to %s", backend, got)
		}
		if got := fmt.Sprint(tensors.MustCopyFlatData[float32](out[1])); got != "[1 2 3 4 5 6]" {
			t.Errorf("%s: the corner is %s", backend, got)
		}
		if got := tensors.ToScalar[float32](out[2]); got != 182 {
			t.Errorf("%s: the squares sum to %v", backend, got)
		}
	}
}
