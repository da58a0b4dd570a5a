package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
)

// There is a space for images of any size and for few and many classes, whether budgets are given, far
// apart or near each other, or not at all.
func TestSomeSpaceIsSuggestedForAnyImages(t *testing.T) {
	asked := []Range{{math.NaN(), math.NaN()}, {math.NaN(), 5}, {0.05, 0.2}, {1, 5}, {2, 20}, {5, 11}, {5, 5}}
	for _, size := range []int{28, 64, 224} {
		for _, classes := range []int{2, 100} {
			for family, made := range map[string]func(Range, int, int, int) []string{"conv": convSpaces, "vit": vitSpaces} {
				for _, given := range asked {
					t.Run(fmt.Sprintf("%d/%d/%s/%v", size, classes, family, given), func(t *testing.T) {
						var s Suggested
						o := SuggestOptions{Name: "any", Latency: math.NaN()}
						var err error
						for _, o.Params = range rangesOf(given, size) {
							if err = s.choose(context.Background(), o, size, made(o.Params, size, 3, classes)); err == nil || !errors.Is(err, ErrSuggest) {
								break
							}
						}
						if err != nil {
							t.Fatal(err)
						}
						if s.Space.Model.NumClasses != classes || s.Params[0] > o.Params.Min || s.Params[1] < o.Params.Max {
							t.Errorf("%d classes, %v million parameters, asked for %v", s.Space.Model.NumClasses, s.Params, o.Params)
						}
						if math.IsNaN(given.Min) && o.Params.Max < 1.4*o.Params.Min {
							t.Errorf("its own range is %v", o.Params)
						}
					})
				}
			}
		}
	}
}
