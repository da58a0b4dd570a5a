package trainstep

import (
	"math"
	"slices"

	"prenas/internal/recipe"
	"prenas/internal/supernet"
)

// trainedOf are those of the used tensors that an update moves: all of them, or the head's.
func trainedOf(o recipe.Optimizer, params []supernet.Param, used []int) []int {
	if !o.Freeze {
		return used
	}
	return slices.DeleteFunc(slices.Clone(used), func(i int) bool { return !params[i].InHead() })
}

// frozenOf are the used tensors that an update leaves as they are.
func frozenOf(o recipe.Optimizer, params []supernet.Param, used []int) []int {
	if !o.Freeze {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(used), func(i int) bool { return params[i].InHead() })
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
