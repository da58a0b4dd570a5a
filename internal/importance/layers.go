package importance

import (
	"slices"

	"prenas/pkg/space"
)

// Layers orders the blocks of a supernet, most important first. From the whole the block goes
// first without which divergence, of what is left to the whole, is least; then the next one of
// what is left, until only so many are left as the least depth has. Those are ordered by the
// divergence without each of them at the end.
//
// So two blocks that each could go, but not both, do not go together, which a measure of single
// blocks does not see. It takes as many calls as the sum of what is left each time.
func Layers(s *space.Space, divergence func(space.Arch) (float64, error)) ([]int, error) {
	whole, least := s.Whole(), slices.Min(s.Depth)
	left := make([]int, s.Supernet.Depth)
	for l := range left {
		left[l] = l
	}
	var gone []int
	for {
		without := make([]float64, len(left))
		for i := range left {
			if len(left) == 1 {
				break
			}
			kept := slices.Delete(slices.Clone(left), i, i+1)
			a := space.Arch{EmbedDim: whole.EmbedDim, NumHeads: whole.NumHeads[:len(kept)], MLPRatio: whole.MLPRatio[:len(kept)]}
			var err error
			if without[i], err = divergence(a.Keeping(kept)); err != nil {
				return nil, err
			}
		}
		if len(left) <= least {
			var order []int
			for _, i := range descending(without) {
				order = append(order, left[i])
			}
			return append(order, gone...), nil
		}
		i := slices.Index(without, slices.Min(without))
		gone = append([]int{left[i]}, gone...)
		left = slices.Delete(left, i, i+1)
	}
}

// Removals is how many divergences Layers asks for.
func Removals(s *space.Space) int {
	n := 0
	for left := s.Supernet.Depth; left >= slices.Min(s.Depth) && left > 1; left-- {
		n += left
	}
	return n
}
