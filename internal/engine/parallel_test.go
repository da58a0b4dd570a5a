package engine_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/rng"
)

// A step of least squares by gradient descent, over and over on the same state: it has
// a sum over rows, an input for all, and outputs that are inputs of the next call.
func TestParallelProgramsDoWhatOneDeviceDoes(t *testing.T) {
	const rows, columns = 24, 5
	inputs := []shapes.Shape{shapes.Make(dtypes.Float32, columns), shapes.Make(dtypes.Float32), shapes.Make(dtypes.Float32, rows, columns), shapes.Make(dtypes.Float32, rows)}
	build := func(in []*graph.Node) []*graph.Node {
		weights, rate, x, y := in[0], in[1], in[2], in[3]
		loss := graph.ReduceAllMean(graph.Square(graph.Sub(graph.Dot(x, weights), y)))
		moved := graph.Sub(weights, graph.Mul(engine.Gradient(loss, weights)[0], rate))
		return []*graph.Node{moved, loss, graph.AddScalar(rate, 0.01)}
	}
	r := rng.New(1, "rows")
	x, y := make([]float32, rows*columns), make([]float32, rows)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range y {
		y[i] = float32(r.NormFloat64())
	}
	losses := func(e *engine.Engine) (losses []float64) {
		p, err := e.CompileParallel("least squares", inputs, []int{2, 3}, build)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		state := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(make([]float32, columns), columns), tensors.FromScalar(float32(0.1))}
		for range 5 {
			batch := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(x, rows, columns), tensors.FromFlatDataAndDimensions(y, rows)}
			out, err := p.RunDonating(append(state, batch...), len(state))
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, float64(tensors.ToScalar[float32](out[1])))
			if err := p.Free(append(batch, out[1])...); err != nil {
				t.Fatal(err)
			}
			state = []*tensors.Tensor{out[0], out[2]}
		}
		return losses
	}
	want := losses(enginetest.Test(t))
	if !(want[4] < want[0]) {
		t.Fatalf("losses on one device: %v", want)
	}
	for _, devices := range []int{2, 4} {
		t.Run(fmt.Sprint(devices), func(t *testing.T) {
			e := enginetest.Devices(t, devices)
			if e.Devices() != devices {
				t.Fatalf("%d devices", e.Devices())
			}
			for i, got := range losses(e) {
				if !(math.Abs(got-want[i]) <= 1e-5*want[i]) {
					t.Errorf("step %d: loss %v, on one device %v", i, got, want[i])
				}
			}
		})
	}
}

func TestParallelProgramsNeedRowsToDivide(t *testing.T) {
	e := enginetest.Devices(t, 4)
	_, err := e.CompileParallel("odd", []shapes.Shape{shapes.Make(dtypes.Float32, 6, 2)}, []int{0}, func(in []*graph.Node) []*graph.Node { return in })
	if !errors.Is(err, engine.ErrBuild) || !strings.Contains(err.Error(), "4 devices") {
		t.Error(err)
	}
}
