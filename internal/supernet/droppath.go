package supernet

// DropPathRates are the rates of stochastic depth of the blocks of a supernet:
// evenly spaced from 0 in the first to rate in the last block of the supernet,
// whatever the depth of the architecture that uses them.
func DropPathRates(rate float64, depth int) []float64 {
	rates := make([]float64, depth)
	for i := range rates {
		if depth > 1 {
			rates[i] = rate * float64(i) / float64(depth-1)
		}
	}
	return rates
}
