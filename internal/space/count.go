package space

// Patches is the number of image patches: (ImageSize/PatchSize)².
func (m Model) Patches() int {
	side := m.ImageSize / m.PatchSize
	return side * side
}

// Tokens is the length of the sequence: the class token and the patches.
func (m Model) Tokens() int { return 1 + m.Patches() }

// Params counts the trained numbers of an architecture as the original does:
// it adds class token and positions even to a model without absolute
// positions. All published candidates come out exactly.
func (m Model) Params(a Arch) int64 {
	total := m.TrunkParams(a.EmbedDim)
	for i := range a.NumHeads {
		total += m.BlockParams(a.EmbedDim, a.NumHeads[i], a.MLPRatio[i])
	}
	return total
}

// TrunkParams is the part of Params outside the blocks: patch embedding,
// class token and positions, final norm, head.
func (m Model) TrunkParams(embedDim int) int64 {
	e := int64(embedDim)
	patch := e*int64(m.Channels*m.PatchSize*m.PatchSize) + e
	tokens := e * int64(2+m.Patches())
	norm := 2 * e
	head := int64(m.NumClasses)*e + int64(m.NumClasses)
	return patch + tokens + norm + head
}

// BlockParams is the number of parameters of one block.
func (m Model) BlockParams(embedDim, heads int, ratio float64) int64 {
	e, hidden, inner := int64(embedDim), int64(Hidden(embedDim, ratio)), int64(heads*m.HeadDim)
	qkv := 3 * inner * e
	if m.QKVBias {
		qkv += 3 * inner
	}
	proj := inner*e + e
	mlp := e*hidden + hidden + hidden*e + e
	norms := 2 * 2 * e
	total := qkv + proj + mlp + norms
	if m.RelativePosition {
		// Two tables (rows and columns of the grid) each for keys and values,
		// shared by all heads.
		total += 4 * int64(2*m.MaxRelativePosition+2) * int64(m.HeadDim)
	}
	return total
}

// MACs counts the multiply-accumulates of one image's forward pass: the patch
// convolution, every linear layer, the two products of attention, and the
// products with the relative-position tables. Norms, softmax, activations and
// additions are not counted, as is the custom.
//
// A relative-position term is counted as products with whole tables (each
// query with each row of a table, then gathered to its place), which is the
// least work that gives it, and not as one product for each pair of tokens.
func (m Model) MACs(a Arch) int64 {
	total := m.TrunkMACs(a.EmbedDim)
	for i := range a.NumHeads {
		total += m.BlockMACs(a.EmbedDim, a.NumHeads[i], a.MLPRatio[i])
	}
	return total
}

// TrunkMACs is the part of MACs outside the blocks.
func (m Model) TrunkMACs(embedDim int) int64 {
	e := int64(embedDim)
	return int64(m.Patches())*e*int64(m.Channels*m.PatchSize*m.PatchSize) + e*int64(m.NumClasses)
}

// BlockMACs is the number of multiply-accumulates of one block.
func (m Model) BlockMACs(embedDim, heads int, ratio float64) int64 {
	e, hidden, inner, tokens := int64(embedDim), int64(Hidden(embedDim, ratio)), int64(heads*m.HeadDim), int64(m.Tokens())
	linear := tokens * (3*inner*e + inner*e + 2*e*hidden)
	attention := 2 * tokens * tokens * inner
	total := linear + attention
	if m.RelativePosition {
		total += 4 * tokens * int64(2*m.MaxRelativePosition+2) * inner
	}
	return total
}
