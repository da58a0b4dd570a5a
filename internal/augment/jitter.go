package augment

import "math/rand/v2"

// jitter is torchvision's ColorJitter for brightness, contrast and saturation:
// in a random order, each by a factor drawn from 1 - strength to 1 + strength.
func jitter(img Image, strength float64, r *rand.Rand) Image {
	three := []func(Image, float64, setting) Image{brightness, contrast, colour}
	for _, i := range r.Perm(len(three)) {
		img = three[i](img, uniform(r, max(0, 1-strength), 1+strength), setting{})
	}
	return img
}
