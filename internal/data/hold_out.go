package data

import (
	"cmp"
	"slices"

	"prenas/internal/rng"
)

// HoldOut cuts off a part of a split, 0 to 1, by a permutation drawn from the seed; if it is
// stratified, of each class, and then at most MostHeldOut.
func HoldOut(s Split, seed uint64, part float64, stratify bool) (kept, out Split) {
	order := rng.New(seed, "held-out").Perm(s.Len())
	n := int(part * float64(len(order)))
	n = min(n, MostHeldOut(s, stratify))
	if stratify && n > 0 {
		order = stratified(s, order, n)
	}
	held, rest := order[:n], order[n:]
	slices.Sort(held)
	slices.Sort(rest)
	return subset{s, rest}, subset{s, held}
}

// MostHeldOut is how many images of a split can be held out: if it is stratified, all but one of
// each class.
func MostHeldOut(s Split, stratify bool) int {
	most := s.Len()
	if !stratify {
		return most
	}
	seen := map[int]bool{}
	for i := range s.Len() {
		if label := s.Label(i); !seen[label] {
			seen[label] = true
			most--
		}
	}
	return most
}

// stratified is an order whose first n images have of each class the part that the split has,
// as nearly as whole images can, and no class's last image.
func stratified(s Split, order []int, n int) []int {
	size := map[int]int{}
	for _, i := range order {
		size[s.Label(i)]++
	}
	// The k-th image of a class of c stands at (k+½)/c: the first n of all are then n/len
	// of each. A class's last one stands behind all others.
	where := make(map[int]float64, len(order))
	taken := map[int]int{}
	for _, i := range order {
		label := s.Label(i)
		where[i] = (float64(taken[label]) + 0.5) / float64(size[label])
		if taken[label]++; taken[label] == size[label] {
			where[i] = 2
		}
	}
	sorted := slices.Clone(order)
	slices.SortStableFunc(sorted, func(a, b int) int { return cmp.Compare(where[a], where[b]) })
	return sorted
}
