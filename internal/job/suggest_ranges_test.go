package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
)

// Where no budget is given there is a space for images of any size and any number of classes.
func TestSomeSpaceIsSuggestedForAnyImages(t *testing.T) {
	for _, size := range []int{28, 64, 224} {
		for _, classes := range []int{1, 1000} {
			for family, made := range map[string]func(Range, int, int, int) []string{"conv": convSpaces, "vit": vitSpaces} {
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
