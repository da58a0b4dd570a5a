package space

// Sizes that no machine trains; below them no count of parameters or of multiply-accumulates
// overflows.
const (
	maxParams = 1e12
	maxMACs   = 1e18
)

// validateSize refuses a supernet that is too large to count. It counts in floats, which do not
// overflow, and a little more than there is.
func (s *Space) validateSize() error {
	params, macs := s.roughSize()
	if params > maxParams || macs > maxMACs {
		return impossible("its supernet has about %.2g parameters and %.2g multiply-accumulates an image; at most %.0g and %.0g can be counted, so make the largest choices smaller",
			params, macs, maxParams, maxMACs)
	}
	return nil
}

// roughSize is about how many parameters and multiply-accumulates the supernet has, at most.
func (s *Space) roughSize() (params, macs float64) {
	m := s.Model
	channels, classes := float64(m.Channels), float64(m.NumClasses)
	if m.IsConv() {
		c := m.Conv
		pixels := float64(m.ImageSize) * float64(m.ImageSize)
		stem, features, mix := float64(c.Stem), float64(c.Features), float64(c.Mix)
		in := stem
		kernel := float64(s.Supernet.Kernel * s.Supernet.Kernel)
		params = 9*channels*stem + 13*stem + stem*stem + features*mix + (classes+1)*(mix+1)
		macs = pixels*(9*channels*stem+9*stem+stem*stem) + features*mix + mix*classes
		for _, u := range c.Units {
			width := float64(u.Width)
			for range s.Supernet.Depth {
				hidden := in * s.Supernet.Expand
				block := hidden*(in+2) + hidden*(kernel+2) + width*(hidden+2)
				params += block + 2*hidden*(hidden+1)
				macs += pixels*block + 2*hidden*hidden
				in = width
			}
		}
		return params + in*features, macs + pixels*in*features
	}
	e, depth, width := float64(s.Supernet.EmbedDim), float64(s.Supernet.Depth), float64(s.Supernet.NumHeads)*float64(m.HeadDim)
	hidden := e * s.Supernet.MLPRatio
	patches := float64(m.ImageSize/m.PatchSize) * float64(m.ImageSize/m.PatchSize)
	tokens, patch := 1+patches, channels*float64(m.PatchSize)*float64(m.PatchSize)
	distances := 0.0
	if m.RelativePosition {
		distances = float64(2*m.MaxRelativePosition + 2)
	}
	params = e*(patch+1) + e*(1+tokens) + 2*e + classes*(e+1) + depth*(4*e*width+3*width+hidden*(2*e+1)+6*e+4*distances*float64(m.HeadDim))
	macs = patches*e*patch + e*classes + depth*(4*tokens*e*width+2*tokens*tokens*width+4*tokens*width*distances+2*tokens*e*hidden)
	return params, macs
}
