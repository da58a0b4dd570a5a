package search

import "prenas/internal/space"

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
func MemoryCost(s *space.Space) Cost {
	m := s.Model
	tokens, pixels := m.Tokens(), m.Channels*m.ImageSize*m.ImageSize
	bytes := func(values int) float64 { return 4 * float64(values) }
	return Cost{Name: "memory", Unit: 1e6, Peak: true, Table: NewTable(s,
		func(e int) float64 { return bytes(pixels + tokens*e) },
		func(e, _ int) float64 { return bytes(2 * tokens * e) },
		func(e, _, h int) float64 { return bytes(tokens*e + 3*tokens*h*m.HeadDim + 2*h*tokens*tokens) },
		func(e, _ int, r float64) float64 { return bytes(2*tokens*e + 2*tokens*space.Hidden(e, r)) })}
}
