package evaluate

import (
	"context"
	"iter"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
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
			if d := s.Loss - want[k].Loss; s.Images != 13 || s.Top1 != want[k].Top1 || s.Top5 != want[k].Top5 || d > 1e-5 || d < -1e-5 {
				t.Errorf("%s: %+v, want %+v", archs[k], s, want[k])
			}
		}
	}
	check(2, together, archs, want)
	check(1, own[1], archs[1:], want[1:])
}
