package search

import "prenas/pkg/space"

// MemoryCost is an estimate of the peak memory of activations, of one image in
// float32 at inference; budgets are in megabytes (1e6 bytes). Weights are not
// in it: they are what ParamsCost counts, 4 bytes each.
//
// Blocks run one after the other and free what they made, so the peak is that
// of one step. Each step's bytes are those of all that lives at that moment,
// with T tokens, embedding e and width w = heads · head_dim:
//
//	patches      pixels + T·e
//	attention    T·e (residual) + 3·T·w (q, k, v) + 2·heads·T² (scores, their softmax)
//	MLP          T·e (residual) + T·e (input) + 2·T·hidden (before and after GELU)
//
// What a compiler fuses it does not keep, so this is an upper estimate of what
// a plain implementation needs.
//
// Those of a convolutional block are its input, the hidden features before and
// after the depthwise convolution, and its output, of which neighbours live
// together:
//
//	stem     pixels + stem
//	block    input (residual) + the larger of (hidden before + after) and (hidden after + output)
func MemoryCost(s *space.Space) Cost {
	m := s.Model
	bytes := func(values int) float64 { return 4 * float64(values) }
	c := Cost{Name: "memory", Unit: 1e6, Peak: true}
	if m.IsConv() {
		c.Table = ConvParts{
			Trunk: func(r int) float64 {
				first := m.ConvBlocks(space.Arch{Resolution: r})[0]
				return bytes(m.Channels*r*r + first.In*first.Side*first.Side)
			},
			Block: func(_ int, b space.ConvBlock) float64 {
				in, out := b.Side*b.Side, b.OutSide()*b.OutSide()
				return bytes(max(b.In*in+b.Hidden*(in+out), b.In*in+(b.Hidden+b.Out)*out))
			},
		}.Table(s)
		return c
	}
	tokens, pixels := m.Tokens(), m.Channels*m.ImageSize*m.ImageSize
	c.Table = ViTParts{
		Trunk: func(e int) float64 { return bytes(pixels + tokens*e) },
		Block: func(e, _ int) float64 { return bytes(2 * tokens * e) },
		Heads: func(e, _, h int) float64 { return bytes(tokens*e + 3*tokens*h*m.HeadDim + 2*h*tokens*tokens) },
		MLP:   func(e, _ int, r float64) float64 { return bytes(2*tokens*e + 2*tokens*space.Hidden(e, r)) },
	}.Table(s)
	return c
}
