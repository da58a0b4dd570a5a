package recipe

// WeightsOf the classes in the loss, by how many training images each has; nil: all alike.
//
// balanced, of a class with n of N images, where K classes have any: N / (K · n), scikit-learn's
// class_weight="balanced". All images together then weigh as much as without, and each class as much as any
// other. A class without images has 0: only label smoothing would touch it.
//
// In the loss a weight is a factor of its class's part of the target, after label smoothing and
// mixing, and the batch's loss is the mean over its images: PyTorch's CrossEntropyLoss(weight) of
// soft targets. So parts of an update add up to the whole, however it is divided.
func (r Recipe) WeightsOf(counts []int) []float32 {
	if r.ClassWeights == "" {
		return nil
	}
	all, classes := 0, 0
	for _, n := range counts {
		all += n
		if n > 0 {
			classes++
		}
	}
	weights := make([]float32, len(counts))
	for i, n := range counts {
		if n > 0 {
			weights[i] = float32(float64(all) / (float64(classes) * float64(n)))
		}
	}
	return weights
}
