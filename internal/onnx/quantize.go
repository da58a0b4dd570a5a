package onnx

import "math"

// quantize rounds weights [..., out, inner] to 8 bits, symmetrically, with one scale for each
// output: w ≈ q·scale, scale = max|w| / 127 over the output's weights. NaN and infinite
// weights have no such form; callers refuse them before.
func quantize(w []float32, out, inner int) (q []int8, scales []float32) {
	scales = make([]float32, out)
	of := func(i int) *float32 { return &scales[i/inner%out] }
	for i, x := range w {
		*of(i) = max(*of(i), float32(math.Abs(float64(x))))
	}
	for o := range scales {
		if scales[o] /= 127; scales[o] == 0 {
			scales[o] = 1 // all weights are 0, or so near that 8 bits cannot tell
		}
	}
	q = make([]int8, len(w))
	for i, x := range w {
		q[i] = int8(math.RoundToEven(float64(x) / float64(*of(i))))
	}
	return q, scales
}
