package train

import (
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/toy"
	"slices"
	"strings"
	"testing"
)

// A frozen backbone keeps every bit, whatever trains the head: one program, sums of
// several, averages. The head's first update is that of a backbone that is not frozen.
func TestOnlyTheHeadTrains(t *testing.T) {
	start := map[string][]float32{}
	for name, w := range supernet.New(toy.Space()).Init(5) {
		values, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		start[name] = values
	}
	once := func(freeze bool) func(*Options) {
		return func(o *Options) {
			plainToy(o)
			o.Source, o.Recipe.Epochs, o.Recipe.Schedule.Warmup, o.Recipe.Optimizer.Clip = toyImages{train: 8}, 1, 0, 0
			o.Recipe.Optimizer.Freeze = freeze
		}
	}
	free := trained(t, once(false))
	for name, change := range map[string]func(*Options){
		"one update": once(true),
		"averages":   func(o *Options) { o.Recipe.Optimizer.Freeze, o.Recipe.EMA.Decay = true, 0.5 },
		"sums":       func(o *Options) { o.Recipe.Optimizer.Freeze, o.Recipe.Accumulate = true, 2 },
		"sandwich":   func(o *Options) { o.Recipe.Optimizer.Freeze, o.Recipe.Sampler.Name = true, recipe.Sandwich },
	} {
		got := trained(t, change)
		for weight, values := range got {
			if head := strings.HasPrefix(weight, "head."); slices.Equal(values, start[weight]) == head {
				t.Errorf("%s: %s changed: %v", name, weight, !head)
			}
		}
		if name != "one update" {
			continue
		}
		for _, weight := range []string{"head.weight", "head.bias"} {
			if d := far(map[string][]float32{"": got[weight]}, map[string][]float32{"": free[weight]}); d > 1e-6 {
				t.Errorf("first update of %s differs by %v from one that trains all", weight, d)
			}
		}
	}
}
