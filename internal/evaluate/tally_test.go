package evaluate

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/enginetest"
	"prenas/internal/rng"
)

// The tally of a program and that of the host say the same of any logits, ties among them.
func TestTheHostCountsAsTheProgramDoes(t *testing.T) {
	const n, classes = 40, 12
	r := rng.New(1, "tally")
	logits, labels := make([]float32, n*classes), make([]int32, n)
	for i := range logits {
		logits[i] = float32(r.IntN(6)) // many are equal
	}
	var host Score
	for i := range labels {
		labels[i] = r.Int32N(classes)
		host.AddImage(logits[i*classes:][:classes], int(labels[i]))
	}
	program, err := enginetest.PureGo(t).Compile("tally", []shapes.Shape{shapes.Make(dtypes.Float32, n, classes), shapes.Make(dtypes.Int32, n)},
		func(in []*graph.Node) []*graph.Node { return []*graph.Node{tally(in[0], in[1])} })
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(logits, n, classes), tensors.FromFlatDataAndDimensions(labels, n)})
	if err != nil {
		t.Fatal(err)
	}
	var got Score
	if err := out[0].ConstFlatData(func(flat any) { got.add(n, flat.([]float32)) }); err != nil {
		t.Fatal(err)
	}
	if got.Images != host.Images || got.Top1 != host.Top1 || got.Top5 != host.Top5 || !(math.Abs(got.Loss-host.Loss) <= 1e-4*host.Loss) {
		t.Errorf("the program counts %+v, the host %+v", got, host)
	}
	if host.Top1 == 0 || host.Top1 == n || host.Top5 <= host.Top1 {
		t.Errorf("%+v tells hits and misses not apart", host)
	}
}
