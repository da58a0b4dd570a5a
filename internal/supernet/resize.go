package supernet

import (
	"fmt"
	"math"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Resize brings the positions of weights of a model with m to images of another
// size, as s.Model has it: absolute positions by cubic interpolation over the
// grid, tables of relative positions over their distances, whose limit grows
// with the grid. All other weights are shared with the argument.
//
// A convolutional network has no positions, and weights for images of any size.
//
// Grid points are pixels' centres: place i of n new ones is (i+½)·old/n-½ of the
// old ones. Distances have a zero in the middle: distance d of m' is d·m/m'.
func Resize(from, to space.Model, weights map[string]tensorfile.Tensor) (map[string]tensorfile.Tensor, error) {
	out := make(map[string]tensorfile.Tensor, len(weights))
	for name, t := range weights {
		out[name] = t
	}
	if from.IsConv() {
		return out, nil
	}
	old, side := from.ImageSize/from.PatchSize, to.ImageSize/to.PatchSize
	if from.AbsPos && old != side {
		t := weights["pos_embed"]
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor \"pos_embed\": %w", err)
		}
		dim := t.Shape[2]
		place := func(i int) float64 { return (float64(i)+0.5)*float64(old)/float64(side) - 0.5 }
		before := from.Prefix() * dim
		grid := resample(values[before:], old, side, old*dim, place) // rows
		resized := values[:before:before]                            // the class token's
		for y := range side {
			resized = append(resized, resample(grid[y*old*dim:][:old*dim], old, side, dim, place)...)
		}
		out["pos_embed"] = tensorfile.FromFloat32([]int{1, from.Prefix() + side*side, dim}, resized)
	}
	if !from.RelativePosition || from.MaxRelativePosition == to.MaxRelativePosition {
		return out, nil
	}
	m, limit := from.MaxRelativePosition, to.MaxRelativePosition
	place := func(i int) float64 { return float64(i-limit)*float64(m)/float64(limit) + float64(m) }
	for block := 0; ; block++ {
		for _, table := range relativeTables {
			name := blockName(block, table)
			t, ok := weights[name]
			if !ok {
				return out, nil
			}
			values, err := t.Float32s()
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", name, err)
			}
			dim := t.Shape[1] // row 0 is the class token's
			rows := append(values[:dim:dim], resample(values[dim:], 2*m+1, 2*limit+1, dim, place)...)
			out[name] = tensorfile.FromFloat32([]int{2*limit + 2, dim}, rows)
		}
	}
}

// resample interpolates n rows of a width at new places, by cubic convolution
// (R. Keys, 1981) with a = -3/4, which is torch's; rows beyond the ends repeat
// the last.
func resample(values []float32, n, places, width int, place func(int) float64) []float32 {
	const a = -0.75
	weight := func(x float64) float64 {
		switch x = math.Abs(x); {
		case x <= 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}
	out := make([]float32, places*width)
	for i := range places {
		at := place(i)
		first := int(math.Floor(at)) - 1
		for k := first; k < first+4; k++ {
			w := float32(weight(at - float64(k)))
			row := values[max(0, min(n-1, k))*width:][:width]
			for j, v := range row {
				out[i*width+j] += w * v
			}
		}
	}
	return out
}
