package trainstep

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/ranks"
	"prenas/internal/rng"
)

// Ranks, however many and on whatever hosts, add the same pairs as one process, and all have the same.
func TestRanksAddAlongTheTree(t *testing.T) {
	shapes := []shapes.Shape{shapes.Make(dtypes.Float32, 3, 5), shapes.Make(dtypes.Float32), shapes.Make(dtypes.Float32, 12)}
	for _, c := range []struct {
		parts     int
		hosts     []int // ranks of each
		hostBytes int64
	}{
		{4, []int{4}, 0},
		{8, []int{4, 4}, 4 * (14 + 14)}, // the sum of a host's parts, of the values that the other adds, and sums of its own
		{8, []int{1, 1, 1, 1}, 4 * (21 + 3*7)},
		{4, []int{3, 1}, 4 * (2*7 + 21)}, // parts 0 to 2 are two branches
		{4, []int{1, 3}, 4 * (2*7 + 21)},
		{6, []int{2, 1}, 4 * (10 + 18)},    // parts 0 to 3 are one; 28 values on three ranks are 9, 9 and 10
		{12, []int{6, 6}, 4 * (2*14 + 14)}, // 0 to 3, 4 to 5; 6 to 7, 8 to 11
		{14, []int{2, 2, 3}, 4 * (16 + 2*12)},
		{10, []int{2, 5, 3}, 4 * (3*14 + 2*14)}, // 2 to 3, 4 to 5, 6 of the second host
		{3, []int{1, 1, 1}, 4 * (18 + 2*10)},
	} {
		t.Run(fmt.Sprint(c.parts, c.hosts), func(t *testing.T) {
			all := span{0, c.parts}
			parts := make([][]float32, c.parts)
			leaves := map[span][]float32{}
			r := rng.New(5, "gradients")
			for p := range parts {
				for range 28 {
					parts[p] = append(parts[p], float32(r.NormFloat64()))
				}
				leaves[span{p, p + 1}] = parts[p]
			}
			add := func(a, b []float32) []float32 {
				var both []float32
				for i := range a {
					both = append(both, a[i]+b[i])
				}
				return both
			}
			want := sum(all, leaves, add)
			var group sync.WaitGroup
			for rank, w := range ranks.Together(time.Minute, c.hosts...) {
				group.Go(func() {
					got, bytes, err := addOnRank(w, all, shapes, parts, add)
					if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("rank %d: %v, %v\nwant %v", rank, err, got, want)
					}
					if bytes != c.hostBytes {
						t.Errorf("rank %d: a host sends %d bytes, want %d", rank, bytes, c.hostBytes)
					}
				})
			}
			group.Wait()
		})
	}
}

// addOnRank adds twice, and returns the second sum and what a host sends.
func addOnRank(w *ranks.World, all span, shapes []shapes.Shape, parts [][]float32, add func(a, b []float32) []float32) (whole []float32, hostBytes int64, err error) {
	e, err := engine.Open(context.Background(), engine.Options{Backend: "go", Ranks: w})
	if err != nil {
		return nil, 0, err
	}
	defer e.Close()
	r, err := newRankSums(e, all, shapes)
	if err != nil {
		return nil, 0, err
	}
	defer r.close()
	for range 2 {
		leaves := map[span][]float32{}
		for p, v := range parts {
			leaves[span{p, p + 1}] = v
		}
		var own []partial[[]*tensors.Tensor]
		for _, branch := range r.runs[w.Rank()] {
			values, at := sum(branch, leaves, add), 0
			var of []*tensors.Tensor
			for _, s := range shapes {
				t, err := e.Put(values[at:at+s.Size()], s.Dimensions...)
				if err != nil {
					return nil, 0, err
				}
				of, at = append(of, t), at+s.Size()
			}
			own = append(own, partial[[]*tensors.Tensor]{branch, of})
		}
		sums, err := r.sum("a test", own)
		if err != nil {
			return nil, 0, err
		}
		whole = nil
		for _, t := range sums[0].value {
			if err := t.ConstFlatData(func(flat any) { whole = append(whole, flat.([]float32)...) }); err != nil {
				return nil, 0, err
			}
		}
	}
	return whole, r.hostBytes(all), nil
}
