package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/tensorfile"
)

// engines are the one that the machine offers and pure Go, which always is.
func engines(t *testing.T) []*engine.Engine {
	t.Helper()
	pure, err := engine.Open(context.Background(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pure.Close)
	return []*engine.Engine{enginetest.Test(t), pure}
}

var pair = shapes.Make(dtypes.Float32, 2)

func TestRunAndRunDonating(t *testing.T) {
	for _, e := range engines(t) {
		p, err := e.Compile("add", []shapes.Shape{pair, pair}, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{graph.Add(in[0], in[1])}
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := e.Upload(tensorfile.FromFloat32([]int{2}, []float32{1, 2}))
		if err != nil {
			t.Fatal(err)
		}
		one := tensors.FromFlatDataAndDimensions([]float32{1, 1}, 2)
		for range 3 {
			out, err := p.RunDonating([]*tensors.Tensor{state, one}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if state.Ok() {
				t.Errorf("%s: a donated tensor is still there", e.Name())
			}
			state = out[0]
		}
		got, err := engine.Download(state)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := got.Float32s(); !slices.Equal(v, []float32{4, 5}) {
			t.Errorf("%s: %v", e.Name(), v)
		}
		p.Close()
	}
}

// place is where the values of a tensor are.
func place(t *testing.T, x *tensors.Tensor) *float32 {
	t.Helper()
	var at *float32
	if err := x.ConstFlatData(func(flat any) { at = &flat.([]float32)[0] }); err != nil {
		t.Fatal(err)
	}
	return at
}

// An update that donates its state gives the same values everywhere, on one device of a CPU where the state was; an update
// that does not leaves it as it was, as does one of a state that is the host's.
func TestUpdateIsInPlace(t *testing.T) {
	for _, e := range engines(t) {
		p, err := e.CompileUpdate("add", []shapes.Shape{pair, pair, pair}, nil, 2, func(in []*graph.Node) []*graph.Node {
			sum := graph.Add(in[0], in[2])
			return []*graph.Node{sum, graph.Mul(in[1], in[0]), graph.ReduceAllSum(in[1])} // the first is written before the second is computed, or not
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		check := func(x *tensors.Tensor, want ...float32) {
			t.Helper()
			got, err := engine.Download(x)
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := got.Float32s(); !slices.Equal(v, want) {
				t.Errorf("%s: %v, want %v", e.Name(), v, want)
			}
		}
		a, err := e.Put([]float32{1, 2}, 2)
		if err != nil {
			t.Fatal(err)
		}
		b := tensors.FromFlatDataAndDimensions([]float32{3, 4}, 2)
		one := tensors.FromFlatDataAndDimensions([]float32{1, 1}, 2)
		out, err := p.Run([]*tensors.Tensor{a, b, one})
		if err != nil {
			t.Fatal(err)
		}
		check(a, 1, 2)
		check(b, 3, 4)
		check(out[0], 2, 3)
		check(out[1], 3, 8)
		state := []*tensors.Tensor{a, b}
		for step := range 3 {
			was := place(t, state[0])
			if out, err = p.RunDonating(append(state, one), 2); err != nil {
				t.Fatal(err)
			}
			if state[0].Ok() || state[1].Ok() {
				t.Errorf("%s: a donated tensor is still there", e.Name())
			}
			state = out[:2]
			if at := place(t, state[0]); e.Kernels() && at != was {
				t.Errorf("%s, update %d: the state went elsewhere", e.Name(), step)
			}
		}
		check(state[0], 4, 5)
		check(state[1], 3*1*2*3, 4*2*3*4)
		check(one, 1, 1)
	}
}

func TestWrongInputsAreErrors(t *testing.T) {
	for _, e := range engines(t) {
		p, err := e.Compile("negate", []shapes.Shape{pair}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.Neg(in[0])} })
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]*tensors.Tensor{nil, {tensors.FromFlatDataAndDimensions([]float32{1}, 1)}, {tensors.FromFlatDataAndDimensions([]float64{1, 2}, 2)}} {
			if _, err := p.Run(args); !errors.Is(err, engine.ErrRun) || !strings.Contains(err.Error(), "negate") {
				t.Errorf("%s: %v", e.Name(), err)
			}
		}
		p.Close()
	}
}

func TestPanicsOfBuildingAreErrors(t *testing.T) {
	for _, e := range engines(t) {
		for name, build := range map[string]func(in []*graph.Node) []*graph.Node{
			"shapes": func(in []*graph.Node) []*graph.Node {
				return []*graph.Node{graph.Dot(in[0], graph.InsertAxes(in[0], -1, -1, -1))}
			},
			"text": func([]*graph.Node) []*graph.Node { panic("no") },
		} {
			if _, err := e.Compile(name, []shapes.Shape{pair}, build); !errors.Is(err, engine.ErrBuild) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s: %v", e.Name(), name, err)
			}
		}
	}
}

func TestUnknownBackend(t *testing.T) {
	if _, err := engine.Open(context.Background(), engine.Options{Backend: "abacus"}); !errors.Is(err, engine.ErrBackend) {
		t.Error(err)
	}
}

func TestNamedPluginMustExist(t *testing.T) {
	_, err := engine.Open(context.Background(), engine.Options{Backend: "xla:/nowhere/plugin.so"})
	if !errors.Is(err, engine.ErrNoPlugin) || !strings.Contains(err.Error(), "/nowhere/plugin.so") {
		t.Error(err)
	}
}

func TestDiagnose(t *testing.T) {
	d, err := enginetest.Test(t).Diagnose(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if d.GFLOPS["float32"] <= 0 || d.Devices < 1 || d.Cores < 1 || d.Versions["go"] == "" {
		t.Errorf("%+v", d)
	}
}
