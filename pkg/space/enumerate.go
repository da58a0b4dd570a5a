package space

import "math/big"

// Splits are the ways to give each of some layers one of n choices, counted
// only: splits[k][i] layers get choice i. They come in the original's order,
// from cut points 0 <= c1 < c2 < ... <= depth between the choices:
//
//	depth 2, n 2:   | x x    x | x    x x |        -> (0 2) (1 1) (2 0)
//
// Because no cut point is used twice, with three choices and more each of the
// middle ones gets at least one layer, and n-1 > depth+1 gives no split at
// all. With all set, cut points may repeat, and every count occurs.
func Splits(n, depth int, all bool) [][]int {
	if n == 1 {
		return [][]int{{depth}}
	}
	var splits [][]int
	cuts := make([]int, n-1)
	var place func(i, from int)
	place = func(i, from int) {
		if i == len(cuts) {
			counts, last := make([]int, n), 0
			for j, c := range cuts {
				counts[j], last = c-last, c
			}
			counts[n-1] = depth - last
			splits = append(splits, counts)
			return
		}
		for c := from; c <= depth; c++ {
			cuts[i] = c
			next := c + 1
			if all {
				next = c
			}
			place(i+1, next)
		}
	}
	place(0, 0)
	return splits
}

// CountSplits is the number of splits that Splits lists, without listing them.
func CountSplits(n, depth int, all bool) *big.Int {
	points, picked := int64(depth+1), int64(n-1)
	if all {
		// Picking with repetition from p points is picking without from p+k-1.
		points += picked - 1
	}
	if n == 1 {
		return big.NewInt(1)
	}
	return new(big.Int).Binomial(points, picked)
}

// CountIsomers is the number of architectures that the enumeration over
// splits visits: one for each embedding dim, depth, split of the ratios and
// split of the heads; in a convolutional space one for each resolution, list of
// the units' depths, split of the kernels and split of the expansions over all
// layers.
func (s *Space) CountIsomers(all bool) *big.Int {
	if s.Model.IsConv() {
		return s.countConvIsomers(all)
	}
	total := new(big.Int)
	for _, depth := range s.Depth {
		n := CountSplits(len(s.MLPRatio), depth, all)
		total.Add(total, n.Mul(n, CountSplits(len(s.NumHeads), depth, all)))
	}
	return total.Mul(total, big.NewInt(int64(len(s.EmbedDim))))
}

func (s *Space) countConvIsomers(all bool) *big.Int {
	// ways[n]: lists of depths of n layers in all.
	ways := map[int]*big.Int{0: big.NewInt(1)}
	for range s.Model.Conv.Units {
		next := map[int]*big.Int{}
		for n, w := range ways {
			for _, d := range s.Depth {
				if next[n+d] == nil {
					next[n+d] = new(big.Int)
				}
				next[n+d].Add(next[n+d], w)
			}
		}
		ways = next
	}
	total := new(big.Int)
	for layers, w := range ways {
		n := CountSplits(len(s.Kernel), layers, all)
		n.Mul(n, CountSplits(len(s.Expand), layers, all))
		total.Add(total, n.Mul(n, w))
	}
	return total.Mul(total, big.NewInt(int64(len(s.Resolution))))
}
