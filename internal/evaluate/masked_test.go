package evaluate

import (
	"context"
	"iter"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/toy"
	"prenas/pkg/space"
)

// Models with weights and architectures of their own score in one masked program
// what each scores in its own static one.
func TestMaskedEqualsStatic(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	net := supernet.New(&space.Space{
		Supernet: space.Supernet{EmbedDim: 12, Depth: 2, NumHeads: 2, MLPRatio: 2},
		Model:    space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: 6, HeadDim: 4, GlobalPool: true, AbsPos: true},
	})
	archs := []space.Arch{
		{EmbedDim: 12, NumHeads: []int{2, 1}, MLPRatio: []float64{2, 1}},
		{EmbedDim: 7, NumHeads: []int{1}, MLPRatio: []float64{1.5}},
	}
	images := func(yield func(Batch, error) bool) {
		r := rng.New(1, "images")
		for _, n := range []int{5, 5, 3} {
			b := Batch{Images: make([]float32, n*16), Labels: make([]int32, n)}
			for i := range b.Images {
				b.Images[i] = float32(r.NormFloat64())
			}
			for i := range b.Labels {
				b.Labels[i] = r.Int32N(6)
			}
			if !yield(b, nil) {
				return
			}
		}
	}
	values := func(seed uint64, size int, name string) []float32 {
		r, v := rng.New(seed, name), make([]float32, size)
		for i := range v {
			v[i] = float32(0.5 * r.NormFloat64())
		}
		return v
	}
	var together []*tensors.Tensor
	var want []Score
	own := make([][]*tensors.Tensor, len(archs))
	for _, p := range net.Params() {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		var all []float32
		for k := range archs {
			v := values(uint64(k), size, p.Name)
			own[k] = append(own[k], tensors.FromFlatDataAndDimensions(v, p.Shape...))
			all = append(all, v...)
		}
		together = append(together, tensors.FromFlatDataAndDimensions(all, append([]int{len(archs)}, p.Shape...)...))
	}
	for k, a := range archs {
		static, err := New(e, net, []space.Arch{a}, 5, 1, engine.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer static.Close()
		s, err := static.Run(t.Context(), Weights{Shared: own[k]}, iter.Seq2[Batch, error](images), nil)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, s[0])
	}
	check := func(models int, weights []*tensors.Tensor, archs []space.Arch, want []Score) {
		t.Helper()
		masked, err := NewMasked(e, net, models, 5)
		if err != nil {
			t.Fatal(err)
		}
		defer masked.Close()
		got, err := masked.Run(context.Background(), weights, archs, images)
		if err != nil {
			t.Fatal(err)
		}
		for k, s := range got {
			if s.Images != 13 || s.Top1 != want[k].Top1 || s.Top5 != want[k].Top5 || !(math.Abs(s.Loss-want[k].Loss) <= 1e-5) {
				t.Errorf("%s: %+v, want %+v", archs[k], s, want[k])
			}
		}
	}
	check(2, together, archs, want)
	check(1, own[1], archs[1:], want[1:])
}

// The masked programs of a convolutional space estimate and measure what the programs of each
// architecture do, of any kernels, expansions, depths and resolutions, with and without matrices
// between kernels.
func TestMaskedConvEqualsStatic(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, transform := range []bool{false, true} {
		s := toy.ConvSpace(t)
		s.Resolution = []int{12, 16}
		s.Model.Conv.Transform = transform
		net, m := supernet.New(s), s.Model
		pixels := m.Channels * m.ImageSize * m.ImageSize
		images := func(name string, sizes ...int) iter.Seq2[Batch, error] {
			return func(yield func(Batch, error) bool) {
				r := rng.New(1, name)
				for _, n := range sizes {
					b := Batch{Images: make([]float32, n*pixels), Labels: make([]int32, n)}
					for i := range b.Images {
						b.Images[i] = float32(r.NormFloat64())
					}
					for i := range b.Labels {
						b.Labels[i] = r.Int32N(int32(m.NumClasses))
					}
					if !yield(b, nil) {
						return
					}
				}
			}
		}
		calibration, measured := images("calibration", 4, 4), images("measured", 5, 5, 3)
		start := net.Init(1)
		var weights []*tensors.Tensor
		for _, p := range net.Params() {
			up, err := e.Upload(start[p.Name])
			if err != nil {
				t.Fatal(err)
			}
			weights = append(weights, up)
		}
		archs := []space.Arch{s.Smallest(), s.Largest()}
		for i := range 4 {
			archs = append(archs, s.Draw(rng.New(4, "masked", uint64(i))))
		}
		masked := map[int]*MaskedConv{}
		for _, resolution := range s.Resolution {
			if masked[resolution], err = NewMaskedConv(e, net, resolution, 4, 5); err != nil {
				t.Fatal(err)
			}
			defer masked[resolution].Close()
		}
		for _, a := range archs {
			calibrator, err := NewCalibrator(e, net, []space.Arch{a}, 4, engine.Float32)
			if err != nil {
				t.Fatal(err)
			}
			defer calibrator.Close()
			stats, err := calibrator.Run(t.Context(), weights, calibration)
			if err != nil {
				t.Fatal(err)
			}
			own := make([]*tensors.Tensor, len(stats[0]))
			for k := range own {
				if own[k], err = e.Upload(stats[0][k]); err != nil {
					t.Fatal(err)
				}
			}
			static, err := New(e, net, []space.Arch{a}, 5, 1, engine.Float32)
			if err != nil {
				t.Fatal(err)
			}
			defer static.Close()
			want, err := static.Run(t.Context(), Weights{Shared: weights, Stats: [][]*tensors.Tensor{own}}, measured, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := masked[a.Resolution].Run(t.Context(), weights, a, calibration, measured)
			if err != nil {
				t.Fatal(err)
			}
			if got.Images != 13 || got.Top1 != want[0].Top1 || got.Top5 != want[0].Top5 || !(math.Abs(got.Loss-want[0].Loss) <= 1e-4) {
				t.Errorf("%s: %+v, want %+v", a, got, want[0])
			}
		}
	}
}
