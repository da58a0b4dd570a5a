package augment

import (
	"math"
	"math/rand/v2"
)

// Erase is random erasing of normalised images (Zhong et al., 2017), as in timm
// 0.5.4: boxes of 2 to 33 % of the area altogether and an aspect of 0.3 to 3.3.
type Erase struct {
	Prob  float64 // of erasing at all
	Mode  string  // of [EraseModes]; empty: the first
	Count int     // most boxes; their number is drawn from 1 on
}

// EraseModes say what an erased box is filled with: zeros, one normal draw a
// channel, or one a value.
var EraseModes = []string{"const", "rand", "pixel"}

// apply erases in an image [channels, size, size].
func (e Erase) apply(values []float32, channels, size int, r *rand.Rand) {
	if e.Prob == 0 || r.Float64() > e.Prob {
		return
	}
	count := 1 + r.IntN(max(e.Count, 1))
	for range count {
		for range 10 {
			area := uniform(r, 0.02, 1.0/3) * float64(size*size) / float64(count)
			aspect := math.Exp(uniform(r, math.Log(0.3), -math.Log(0.3)))
			h, w := round(math.Sqrt(area*aspect)), round(math.Sqrt(area/aspect))
			if h < size && w < size {
				top, left := r.IntN(size-h+1), r.IntN(size-w+1)
				e.fill(values, channels, size, top, left, h, w, r)
				break
			}
		}
	}
}

func (e Erase) fill(values []float32, channels, size, top, left, h, w int, r *rand.Rand) {
	for c := range channels {
		v := float32(0)
		if e.Mode == "rand" {
			v = float32(r.NormFloat64())
		}
		for y := top; y < top+h; y++ {
			row := values[(c*size+y)*size+left:][:w]
			for x := range row {
				if e.Mode == "pixel" {
					v = float32(r.NormFloat64())
				}
				row[x] = v
			}
		}
	}
}
