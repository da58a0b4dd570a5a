package supernet_test

import (
	"fmt"
	"testing"

	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// variants have every value of every key of a Variant, and what must go together.
var variants = map[string]struct {
	space.Variant
	pool bool
}{
	"eps and activation":  {space.Variant{NormEps: 1e-2, Activation: space.GELUTanh}, false},
	"quick":               {space.Variant{Activation: space.QuickGELU, PreNorm: true}, false},
	"relu":                {space.Variant{Activation: space.ReLU, QKNorm: true}, true},
	"silu, registers":     {space.Variant{Activation: space.SiLU, Registers: 3}, true},
	"no class token":      {space.Variant{NoClassToken: true, Norm: space.NormPooled}, true},
	"registers alone":     {space.Variant{NoClassToken: true, Registers: 2, Norm: space.NormNone}, true},
	"distilled":           {space.Variant{Registers: 1, Pool: space.PoolDistilled}, false},
	"class and mean":      {space.Variant{Pool: space.PoolClassMean, Registers: 2}, false},
	"attention":           {space.Variant{NoClassToken: true, Pool: space.PoolAttention, PoolHeads: 2, PoolHidden: 7, Activation: space.GELUTanh}, false},
	"attention, no norm":  {space.Variant{Pool: space.PoolAttention, PoolHeads: 1, PoolHidden: 3, Norm: space.NormNone}, false},
	"norm of class token": {space.Variant{Norm: space.NormPooled, QKNorm: true, PreNorm: true}, false},
}

func ofVariant(t *testing.T, name string) *space.Space {
	t.Helper()
	s := little()
	s.Model.RelativePosition, s.Model.MaxRelativePosition = false, 0
	s.Model.Variant, s.Model.GlobalPool = variants[name].Variant, variants[name].pool
	if err := s.Validate(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func TestMaskedEqualsStaticOnVariants(t *testing.T) {
	e := pureGo(t)
	for name := range variants {
		t.Run(name, func(t *testing.T) {
			s := ofVariant(t, name)
			newStage(e, s, 2, true).compare(t, []space.Arch{s.Smallest(), s.Largest()})
		})
	}
}

// The count of parameters is that of the tensors' values.
func TestParamsOfVariants(t *testing.T) {
	for name := range variants {
		s := ofVariant(t, name)
		for _, a := range []space.Arch{s.Smallest(), s.Largest()} {
			var sum int64
			for _, p := range supernet.ParamsOf(s.Model, a) {
				size := int64(1)
				for _, d := range p.Shape {
					size *= int64(d)
				}
				sum += size
			}
			if got := s.Model.Params(a); got != sum {
				t.Errorf("%s, %s: %d parameters, the tensors have %d", name, a, got, sum)
			}
		}
	}
}

// A space file says all of a Variant, and so does its reduced form.
func TestVariantsAsYAML(t *testing.T) {
	for name := range variants {
		s := ofVariant(t, name)
		text := fmt.Sprintf("SUPERNET: {EMBED_DIM: 16, DEPTH: 3, NUM_HEADS: 3, MLP_RATIO: 3}\n"+
			"SEARCH_SPACE: {EMBED_DIM: [16], DEPTH: [3], NUM_HEADS: [3], MLP_RATIO: [3]}\n"+
			"MODEL:\n  IMAGE_SIZE: 8\n  PATCH_SIZE: 4\n  HEAD_DIM: 5\n  RELATIVE_POSITION: false\n  GLOBAL_POOL: %v\n", s.Model.GlobalPool)
		for _, key := range s.Model.VariantKeys() {
			text += fmt.Sprintf("  %s: %s\n", key.Key, key.Value)
		}
		got, err := space.Parse("x", "x.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if got.Model.Variant != s.Model.Variant {
			t.Errorf("%s: %+v, want %+v", name, got.Model.Variant, s.Model.Variant)
		}
	}
}
