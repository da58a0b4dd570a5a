package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
)

// Where no budget is given there is a space, for images of 64 pixels too, which none of from 1 to 5
// million parameters fits.
func TestSomeSpaceIsSuggestedForAnyImages(t *testing.T) {
	for _, size := range []int{28, 64} {
		for _, classes := range []int{6} {
			for family, made := range map[string]func(Range, int, int, int) []string{"conv": convSpaces} {
				t.Run(fmt.Sprintf("%d/%d/%s", size, classes, family), func(t *testing.T) {
					var s Suggested
					o := SuggestOptions{Name: "any", Latency: math.NaN()}
					var err error
					for _, o.Params = range rangesOf(Range{math.NaN(), math.NaN()}, size) {
						if err = s.choose(context.Background(), o, size, made(o.Params, size, 3, classes)); err == nil || !errors.Is(err, ErrSuggest) {
							break
						}
					}
					if err != nil {
						t.Fatal(err)
					}
					if s.Space.Model.NumClasses != classes || o.Params.Max < 1.4*o.Params.Min {
						t.Errorf("%d classes, %v million parameters", s.Space.Model.NumClasses, o.Params)
					}
				})
			}
		}
	}
}
