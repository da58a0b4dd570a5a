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
	first := 9*c.Stem + 2*c.Stem + c.Stem*c.Stem + 2*c.Stem
	head := last*c.Features + 2*c.Features + c.Features*c.Mix + m.NumClasses*(c.Mix+1)
	if c.MixBias {
		head += c.Mix
	}
	return stem + first + head
}

// Params of a block of a unit.
func (b ConvBlock) Params() int {
	n := b.Hidden*(b.In+2) + b.Hidden*(b.Kernel*b.Kernel+2) + b.Out*(b.Hidden+2)
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
	c, sides := m.Conv, m.convSides(resolution)
	first, last := int64(sides[0]*sides[0]), int64(sides[len(sides)-1]*sides[len(sides)-1])
	n := first * int64(9*m.Channels*c.Stem+9*c.Stem+c.Stem*c.Stem)
	n += last * int64(c.Units[len(c.Units)-1].Width*c.Features)
	return n + int64(c.Features*c.Mix) + int64(c.Mix*m.NumClasses)
}

// MACs of a block of a unit, for one image.
func (b ConvBlock) MACs() int64 {
	in, out := int64(b.Side*b.Side), int64(b.OutSide()*b.OutSide())
	n := in*int64(b.In*b.Hidden) + out*int64(b.Hidden*b.Kernel*b.Kernel+b.Hidden*b.Out)
	return n + 2*int64(b.Hidden*b.Squeeze)
}
