package trainstep

import (
	"math"
	"slices"

	"prenas/internal/recipe"
	"prenas/internal/supernet"
)

// partition parts the weights that a step uses into those that it trains, all of them or the
// head's, and those that it leaves as they are.
func partition(o recipe.Optimizer, used supernet.Binding) (trained, frozen supernet.Binding) {
	trains := func(p supernet.Param) bool { return !o.Freeze || p.InHead() }
	return used.Only(trains), used.Only(func(p supernet.Param) bool { return !trains(p) })
}

// layerScales is what each of the used tensors gets of the learning rate, weight decay
// included: decay^(depth+1-layer), as BEiT has it (Bao et al., 2022, appendix), where
// depth is that of the deepest used block.
func layerScales(o recipe.Optimizer, params []supernet.Param, used []int) []float64 {
	scales := slices.Repeat([]float64{1}, len(used))
	if o.LayerDecay == 0 || o.LayerDecay == 1 {
		return scales
	}
	depth := 0
	for _, i := range used {
		depth = max(depth, params[i].Block+1)
	}
	for k, i := range used {
		scales[k] = math.Pow(o.LayerDecay, float64(depth+1-params[i].Layer(depth)))
	}
	return scales
}
