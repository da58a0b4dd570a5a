package trainstep

import (
	"fmt"
	"slices"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// What a step costs by the number of models in it, and beside the static step of the
// same architecture: ns/op is of all models together.
func BenchmarkMaskedStep(b *testing.B) {
	s, err := space.Load("../../examples/audit/little.yaml")
	if err != nil {
		b.Fatal(err)
	}
	e, net, arch := enginetest.Test(b), supernet.New(s), s.Largest()
	r := recipe.Default()
	r.Batch = 16
	batch := evaluate.Batch{Images: make([]float32, r.Batch*28*28), Labels: make([]int32, r.Batch)}
	report := func(b *testing.B, models int) {
		b.ReportMetric(float64(b.N*models*r.Batch)/b.Elapsed().Seconds(), "images/s")
	}
	for _, models := range []int{1, 2, 4, 8, 16} {
		b.Run(fmt.Sprintf("models=%d", models), func(b *testing.B) {
			step, err := NewMaskedStep(e, net, r, nil, models, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer step.Close()
			state, err := step.Start(make([]uint64, models))
			if err != nil {
				b.Fatal(err)
			}
			defer state.Free()
			archs := slices.Repeat([]space.Arch{arch}, models)
			for b.Loop() {
				if _, err := step.Run(state, archs, 1e-3, batch, 1, 0); err != nil {
					b.Fatal(err)
				}
			}
			report(b, models)
		})
	}
	b.Run("static", func(b *testing.B) {
		in := stepInputs{engine: e, recipe: r, space: s, arch: arch}
		step, err := compileStep(e, net, arch, r, in.form())
		if err != nil {
			b.Fatal(err)
		}
		defer step.close()
		state, err := Upload(NewState(net, r, net.Init(1)), e, net)
		if err != nil {
			b.Fatal(err)
		}
		defer state.Free()
		for b.Loop() {
			on := put(b, e, s.Model, batch)
			if _, err := step.run(state, 1e-3, on.images, in.values(on.Labels, 1, 0, 0)...); err != nil {
				b.Fatal(err)
			}
			if err := on.Free(); err != nil {
				b.Fatal(err)
			}
		}
		report(b, 1)
	})
}
