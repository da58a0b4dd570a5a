package train

import "prenas/internal/rng"

// balanced is the architecture (of count) that update number step trains.
//
// Every count updates in a row are one permutation of all architectures, drawn from
// the seed: after any update each has had the same number of turns, give or take one,
// and exactly the same whenever count divides the number of updates. The answer is a
// pure function of the step, so resuming needs no state.
func balanced(seed uint64, step, count int) int {
	round := step / count
	return rng.New(seed, "sampler", uint64(round)).Perm(count)[step%count]
}
