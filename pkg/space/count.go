package space

// Hidden is the width of an MLP: embed_dim · mlp_ratio, truncated.
func Hidden(embedDim int, ratio float64) int { return int(float64(embedDim) * ratio) }

// Patches of an image.
func (m Model) Patches() int { side := m.ImageSize / m.PatchSize; return side * side }

// Tokens of an image: the class token (and what else stands before the patches), and its
// patches.
func (m Model) Tokens() int { return m.Prefix() + m.Patches() }

// Params counts an architecture's parameters as the original does: patch
// convolution, blocks (qkv, proj, fc1, fc2 and norms with their biases, and the
// relative-position tables), final norm, head, and embed_dim·(1 + tokens) for
// the class token and the positions, which it adds even without absolute
// positions. All published candidates come out exactly. Running statistics of
// a convolutional network's batch norms are no parameters.
func (m Model) Params(a Arch) int64 {
	if m.IsConv() {
		return m.convParams(a)
	}
	e := a.EmbedDim
	n := m.TrunkParams(e)
	for i := range a.NumHeads {
		n += m.HeadParams(e)*a.NumHeads[i] + m.MLPParams(e, a.MLPRatio[i]) + m.BlockParams(e)
	}
	return int64(n)
}

// TrunkParams are the parameters outside of the blocks.
func (m Model) TrunkParams(embedDim int) int {
	patch := embedDim * (m.Channels*m.PatchSize*m.PatchSize + 1)
	return patch + embedDim*(m.Prefix()+m.Tokens()) + 2*embedDim + m.NumClasses*(embedDim+1) + m.variantParams(embedDim)
}

// HeadParams are the parameters of one attention head of one block.
func (m Model) HeadParams(embedDim int) int {
	n := 3*m.HeadDim*embedDim + embedDim*m.HeadDim
	if m.QKVBias {
		n += 3 * m.HeadDim
	}
	return n
}

// MLPParams are those of the MLP of one block that depend on its ratio.
func (m Model) MLPParams(embedDim int, ratio float64) int {
	return Hidden(embedDim, ratio) * (2*embedDim + 1)
}

// BlockParams are those of one block that depend on neither heads nor ratio:
// the biases of proj and fc2, two norms, and the relative-position tables.
func (m Model) BlockParams(embedDim int) int {
	n := 2*embedDim + 4*embedDim
	if m.RelativePosition {
		n += 4 * (2*m.MaxRelativePosition + 2) * m.HeadDim
	}
	if m.Variant.QKNorm {
		n += 4 * m.HeadDim
	}
	return n
}

// MACs counts the multiply-accumulates of matrix products for one image: patch
// convolution, qkv, proj and MLP of every token, the two products of attention
// (and, with relative positions, the products with their tables), and the head.
// Those of a convolutional network are of all its convolutions and its classifier.
func (m Model) MACs(a Arch) int64 {
	if m.IsConv() {
		return m.convMACs(a)
	}
	n := m.TrunkMACs(a.EmbedDim)
	for i := range a.NumHeads {
		n += m.HeadMACs(a.EmbedDim)*int64(a.NumHeads[i]) + m.MLPMACs(a.EmbedDim, a.MLPRatio[i])
	}
	return n
}

// TrunkMACs are the multiply-accumulates outside of the blocks.
func (m Model) TrunkMACs(embedDim int) int64 {
	e := int64(embedDim)
	return int64(m.Patches())*e*int64(m.Channels*m.PatchSize*m.PatchSize) + e*int64(m.NumClasses) + m.variantMACs(embedDim)
}

// MLPMACs are the multiply-accumulates of the MLP of one block.
func (m Model) MLPMACs(embedDim int, ratio float64) int64 {
	return 2 * int64(m.Tokens()) * int64(embedDim) * int64(Hidden(embedDim, ratio))
}

// HeadMACs are the multiply-accumulates of one attention head of one block.
func (m Model) HeadMACs(embedDim int) int64 {
	t, e, d := int64(m.Tokens()), int64(embedDim), int64(m.HeadDim)
	n := 4*t*e*d + 2*t*t*d
	if m.RelativePosition {
		// Queries with the tables for keys, and sums of attention with those
		// for values: 2·(2·max+2) rows each.
		n += 2 * t * d * int64(2*(2*m.MaxRelativePosition+2))
	}
	return n
}
