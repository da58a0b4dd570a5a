package onnx

import (
	"math"
	"slices"
	"testing"

	"prenas/internal/rng"
)

// Every weight is within half a step of its quantised form, the largest of an output is
// exact to rounding, and an output without weight stays without.
func TestQuantize(t *testing.T) {
	const in, out = 50, 7
	r := rng.New(1, "weights")
	w := make([]float32, in*out)
	for i := range w {
		w[i] = float32(math.Exp(float64(i%out)) * r.NormFloat64())
		if i%out == 3 {
			w[i] = 0
		}
	}
	q, scales := quantize(w, out, 1)
	var largest [out]int
	for i, x := range w {
		scale := float64(scales[i%out])
		if !(math.Abs(float64(x)-float64(q[i])*scale) <= scale*0.50001) {
			t.Errorf("weight %d: %v became %v", i, x, float64(q[i])*scale)
		}
		largest[i%out] = max(largest[i%out], int(q[i]), -int(q[i]))
	}
	for o, most := range largest {
		if want := map[bool]int{true: 0, false: 127}[o == 3]; most != want {
			t.Errorf("output %d: the largest is %d, want %d", o, most, want)
		}
	}
}

// Weights of one output may lie together, as a convolution's do: the same in another order.
func TestQuantizeRows(t *testing.T) {
	const in, out = 6, 4
	r := rng.New(2, "weights")
	rows, columns := make([]float32, in*out), make([]float32, in*out)
	for o := range out {
		for i := range in {
			v := float32(r.NormFloat64())
			rows[o*in+i], columns[i*out+o] = v, v
		}
	}
	q, scales := quantize(rows, out, in)
	want, same := quantize(columns, out, 1)
	if !slices.Equal(scales, same) {
		t.Errorf("scales %v, want %v", scales, same)
	}
	for o := range out {
		for i := range in {
			if q[o*in+i] != want[i*out+o] {
				t.Errorf("output %d, weight %d: %d, want %d", o, i, q[o*in+i], want[i*out+o])
			}
		}
	}
}

// A weight below the smallest scale that float32 has does not divide by zero.
func TestQuantizeTiny(t *testing.T) {
	q, scales := quantize([]float32{math.SmallestNonzeroFloat32}, 1, 1)
	if got := float64(q[0]) * float64(scales[0]); !(math.Abs(got) <= 1e-40) {
		t.Errorf("%d times %v", q[0], scales[0])
	}
}
