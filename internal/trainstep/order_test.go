package trainstep

import (
	"fmt"
	"slices"
	"testing"
)

// Whoever adds, in runs of any length, adds the same pairs.
func TestTheOrderOfSumsIsOne(t *testing.T) {
	add := func(a, b string) string { return "(" + a + "+" + b + ")" }
	for parts := 1; parts <= 33; parts++ {
		all := span{0, parts}
		leaves := map[span]string{}
		for p := range parts {
			leaves[span{p, p + 1}] = fmt.Sprint(p)
		}
		want := sum(all, leaves, add)
		for ranks := 1; ranks <= parts; ranks++ {
			if parts%ranks != 0 {
				continue
			}
			given, own := map[span]string{}, parts/ranks
			for rank := range ranks {
				run := span{rank * own, (rank + 1) * own}
				var sums []partial[string]
				most := 0
				for p := run.from; p < run.to; p++ {
					sums, _ = push(all, sums, partial[string]{span{p, p + 1}, fmt.Sprint(p)}, func(a, b string) (string, error) { return add(a, b), nil })
					most = max(most, len(sums))
				}
				var left []span
				for _, s := range sums {
					left = append(left, s.span)
					given[s.span] = s.value
				}
				if !slices.Equal(left, all.within(run)) {
					t.Errorf("%d parts, rank %d of %d: left are %v, want %v", parts, rank, ranks, left, all.within(run))
				}
				if ranks == 1 && most > 6 {
					t.Errorf("%d sums of %d parts at once", most, parts)
				}
			}
			if got := sum(all, given, add); got != want {
				t.Errorf("%d parts on %d ranks: %s, want %s", parts, ranks, got, want)
			}
		}
	}
	if got := sum(span{0, 7}, map[span]string{{0, 4}: "a", {4, 6}: "b", {6, 7}: "c"}, add); got != "(a+(b+c))" {
		t.Error(got)
	}
}
