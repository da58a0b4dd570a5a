package space

// Counts of a convolutional network, as parts that add up: the trunk (the block
// after the stem is of it), and a block for each layer. A batch norm has two parameters per feature. Matrices between
// kernels are no parameters of an architecture: its own kernels are what they make.

func (m Model) convParams(a Arch) int64 {
	n := int64(m.ConvTrunkParams())
	for _, b := range m.ConvBlocks(a)[1:] {
		n += int64(b.Params())
	}
	return n
}

// ConvTrunkParams are the parameters outside of the units.
func (m Model) ConvTrunkParams() int {
	c, last := m.Conv, m.Conv.Units[len(m.Conv.Units)-1].Width
	stem := 9*m.Channels*c.Stem + 2*c.Stem
	head := last*c.Features + 2*c.Features + m.NumClasses*(m.Conv.Pooled()+1)
	if c.Mix > 0 {
		head += c.Features * c.Mix
	}
	if c.MixBias {
		head += c.Mix
	}
	return stem + m.firstBlock(m.ImageSize).Params() + head
}

// Params of a block.
func (b ConvBlock) Params() int {
	n := b.Hidden*(b.Kernel*b.Kernel+2) + b.Out*(b.Hidden+2)
	if b.Expands {
		n += b.Hidden * (b.In + 2)
	}
	if b.Squeeze > 0 {
		n += 2*b.Hidden*b.Squeeze + b.Hidden + b.Squeeze
	}
	return n
}

func (m Model) convMACs(a Arch) int64 {
	n := m.ConvTrunkMACs(a.Resolution)
	for _, b := range m.ConvBlocks(a)[1:] {
		n += b.MACs()
	}
	return n
}

// ConvTrunkMACs are the multiply-accumulates outside of the units.
func (m Model) ConvTrunkMACs(resolution int) int64 {
	c, sides, first := m.Conv, m.convSides(resolution), m.firstBlock(resolution)
	stem, last := int64(first.Side*first.Side), int64(sides[len(sides)-1]*sides[len(sides)-1])
	n := stem*int64(9*m.Channels*c.Stem) + first.MACs()
	n += last * int64(c.Units[len(c.Units)-1].Width*c.Features)
	return n + int64(c.Features*c.Mix) + int64(c.Pooled()*m.NumClasses)
}

// MACs of a block, for one image.
func (b ConvBlock) MACs() int64 {
	in, out := int64(b.Side*b.Side), int64(b.OutSide()*b.OutSide())
	n := out * int64(b.Hidden*b.Kernel*b.Kernel+b.Hidden*b.Out)
	if b.Expands {
		n += in * int64(b.In*b.Hidden)
	}
	return n + 2*int64(b.Hidden*b.Squeeze)
}
