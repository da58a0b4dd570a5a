package load

import (
	"slices"
	"testing"
)

// Each image of each batch is in one share, and what is mixed with it in the same.
func TestSharesAreDisjointAndWhole(t *testing.T) {
	const batch, all = 48, 25
	for _, c := range []struct{ ranks, accumulate int }{{1, 1}, {1, 6}, {2, 6}, {3, 6}, {6, 6}, {2, 1}, {4, 1}, {3, 1}, {4, 2}, {8, 2}, {24, 1}} {
		times := map[[2]int]int{}
		updates := all / c.accumulate
		for rank := range c.ranks {
			s, err := NewShare(rank, c.ranks, c.accumulate, batch)
			if err != nil {
				t.Fatal(c, err)
			}
			if s.All() != (c.ranks == 1) {
				t.Errorf("%v: rank %d has all: %v", c, rank, s.All())
			}
			for k := range updates * s.Count {
				b := s.Batch(k)
				if b >= all || b/c.accumulate != k/s.Count {
					t.Errorf("%v: batch %d of rank %d is %d of all", c, k, rank, b)
				}
				var places []int
				for i := range s.Images(batch) {
					places = append(places, s.Place(i, batch))
					times[[2]int{b, s.Place(i, batch)}]++
				}
				for _, p := range places {
					if !slices.Contains(places, batch-1-p) {
						t.Errorf("%v: rank %d has image %d and not its mirror image", c, rank, p)
					}
				}
			}
		}
		if len(times) != updates*c.accumulate*batch {
			t.Errorf("%v: %d images are in a share of %d", c, len(times), updates*c.accumulate*batch)
		}
		for at, n := range times {
			if n != 1 {
				t.Errorf("%v: image %v is in %d shares", c, at, n)
			}
		}
	}
	for _, c := range []struct{ ranks, accumulate, batch int }{{3, 2, 48}, {4, 6, 48}, {5, 1, 48}, {16, 1, 48}, {3, 1, 9}} {
		if _, err := NewShare(0, c.ranks, c.accumulate, c.batch); err == nil {
			t.Errorf("%v is shared", c)
		}
	}
}

func TestBatchesOfAShare(t *testing.T) {
	for all := range 20 {
		for ranks := 1; ranks < 5; ranks++ {
			sum := 0
			for rank := range ranks {
				n := Every(rank, ranks).Batches(all)
				sum += n
				for k := range n {
					if b := Every(rank, ranks).Batch(k); b >= all {
						t.Errorf("batch %d of %d of rank %d of %d is %d of %d", k, n, rank, ranks, b, all)
					}
				}
			}
			if sum != all || (Share{}).Batches(all) != all {
				t.Errorf("%d ranks have %d of %d batches", ranks, sum, all)
			}
		}
	}
}
