package supernet_test

import (
	"slices"
	"testing"

	"prenas/internal/fixture"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// The masked program of a convolutional space computes what the architectures' own do, of
// any kernels, expansions and depths, with and without matrices between kernels and dropout: logits
// and gradients, which are exactly zero where an architecture uses nothing.
func TestMaskedConvEqualsStatic(t *testing.T) {
	e := pureGo(t)
	for i, change := range []func(c *space.ConvModel){
		func(*space.ConvModel) {},
		func(c *space.ConvModel) { c.Transform = true },
		func(c *space.ConvModel) {
			c.Activation, c.Padding, c.Mix, c.MixBias, c.First = space.ReLU6, space.PaddingSame, 0, false, space.ConvFirst{Width: 24}
		},
		func(c *space.ConvModel) {
			c.Activation, c.Squeeze, c.First = space.SiLU, space.SqueezeEfficientNet, space.ConvFirst{Stride: 2, SqueezeExcite: true}
		},
		func(c *space.ConvModel) { c.Squeeze, c.First = space.SqueezeRW, space.ConvFirst{NoSkip: true} },
	} {
		s, _ := convSpace(t)
		s.Model.Conv.Units = slices.Clone(s.Model.Conv.Units)
		if change(&s.Model.Conv); s.Model.Conv.Activation != "" {
			for u := range s.Model.Conv.Units {
				s.Model.Conv.Units[u].HSwish = false
			}
		}
		transform, drawn := s.Model.Conv.Transform, 10
		if i > 1 {
			drawn = 2
		}
		archs := []space.Arch{s.Smallest(), s.Largest()}
		for i := range drawn {
			archs = append(archs, s.Draw(rng.New(4, "masked", uint64(i))))
		}
		st := newStage(e, s, 4, false)
		if transform {
			kept := st.static(t, archs[0])
			st.dropout = &supernet.Dropout{Rate: 0.3}
			if dropped := st.static(t, archs[0]); fixture.Difference(dropped.logits, kept.logits) < 0.01 {
				t.Error("dropout drops nothing")
			}
		}
		for _, a := range archs {
			got, want := st.masked(t, []space.Arch{a})[0], st.static(t, a)
			if d := fixture.Difference(got.logits, want.logits); d > 1e-4 {
				t.Errorf("%s: logits differ by %.2g of the largest", a, d)
			}
			for k, p := range st.net.Params() {
				g, w := got.grads[k], want.grads[k]
				// A norm takes out what is added to all of a batch: such biases have
				// only rounding for a gradient.
				if d := fixture.Difference(g, w); d > 1e-3 && !(max(largest(g), largest(w)) <= 1e-3) {
					t.Errorf("%s: gradient of %s differs by %.2g of the largest", a, p.Name, d)
				}
				for j := range w {
					if w[j] == 0 && g[j] != 0 {
						t.Errorf("%s: gradient of %s is %g at %d, where the architecture has none", a, p.Name, g[j], j)
						break
					}
				}
			}
		}
	}
}
