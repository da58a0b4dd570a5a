package train

import (
	"prenas/internal/engine/enginetest"
	"prenas/internal/supernet"
	"prenas/internal/toy"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
	"testing"
)

// Models that are trained alone have products in float32, whatever the recipe says.
func TestAloneIsInFloat32(t *testing.T) {
	s := toy.Space()
	norms := map[string]float32{}
	for _, precision := range []string{"float32", "bf16"} {
		r := toyRecipe()
		r.Precision = precision
		alone, err := NewStandalone(enginetest.PureGo(t), supernet.New(s), r, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer alone.Close()
		state, err := alone.step.Start([]uint64{5})
		if err != nil {
			t.Fatal(err)
		}
		stats, err := alone.step.Run(state, []space.Arch{s.Largest()}, 0.01, trainstep.NoiseBatch(r.Batch, s.Model), 9, 0)
		if err != nil {
			t.Fatal(err)
		}
		norms[precision] = stats[0].GradNorm
	}
	if norms["bf16"] != norms["float32"] {
		t.Errorf("by a recipe in bf16 the gradient's norm is %v, want that in float32, %v", norms["bf16"], norms["float32"])
	}
}
