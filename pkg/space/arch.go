package space

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Arch is one architecture of either family; the fields of the other are zero.
type Arch struct {
	// A vision transformer: an embedding dim and, for each layer, a number of
	// heads and an MLP ratio. Both lists have one entry per layer.
	EmbedDim int
	NumHeads []int
	MLPRatio []float64
	// Layers are the blocks of the supernet that it keeps, by their numbers there,
	// ascending, one for each entry of the lists above. nil: the first ones, which are
	// never listed.
	Layers []int

	// A convolutional network: the side of its images, and the layers of each
	// unit, of which none is empty.
	Resolution int
	Units      [][]ConvLayer
}

// IsConv tells the family.
func (a Arch) IsConv() bool { return a.Units != nil }

// Depth is the number of layers, of all units together.
func (a Arch) Depth() int {
	n := len(a.NumHeads)
	for _, layers := range a.Units {
		n += len(layers)
	}
	return n
}

// Layer is the number that layer i of a vision transformer has in the supernet.
func (a Arch) Layer(i int) int {
	if a.Layers == nil {
		return i
	}
	return a.Layers[i]
}

// At is the inverse of Layer: where a block of the supernet is among the layers of a vision
// transformer; -1 where it is not.
func (a Arch) At(block int) int {
	switch {
	case a.Layers != nil:
		return slices.Index(a.Layers, block)
	case block < len(a.NumHeads):
		return block
	}
	return -1
}

// Keeping is the architecture with its layers at those blocks of the supernet, ascending.
func (a Arch) Keeping(layers []int) Arch {
	a.Layers = nil
	if len(layers) > 0 && layers[len(layers)-1] >= len(layers) {
		a.Layers = slices.Clone(layers)
	}
	return a
}

// Alone is the architecture as a network of its own, whose blocks are numbered anew.
func (a Arch) Alone() Arch { return a.Keeping(nil) }

// Equal reports whether a and b are the same architecture.
func (a Arch) Equal(b Arch) bool {
	return a.EmbedDim == b.EmbedDim && slices.Equal(a.NumHeads, b.NumHeads) && slices.Equal(a.MLPRatio, b.MLPRatio) &&
		slices.Equal(a.Layers, b.Layers) && a.Resolution == b.Resolution && slices.EqualFunc(a.Units, b.Units, slices.Equal)
}

// String is the architecture's name: embedding dim, heads and ratios, the
// lists run-length coded. Heads 4 4 4 3 and ratios 4 3.5 3.5 4 at dim 192 are
//
//	e192-h4x3_3-r4_3.5x2_4
//
// Where these are other than the first blocks of the supernet, their numbers follow:
//
//	e192-h4x3_3-r4_3.5x2_4-l0to1_4_7
//
// and of a convolutional network the resolution, the layers of each unit, and
// each layer's kernel and expansion:
//
//	i224-d2_3x3_4-k3x5_5x10-x6x15
//
// It holds only letters, digits, '-', '_' and '.', so it needs no quoting in
// a shell and can be part of a file's name.
func (a Arch) String() string {
	var b strings.Builder
	if a.IsConv() {
		depths, kernels, expands := a.flat()
		b.WriteString("i" + strconv.Itoa(a.Resolution) + "-d")
		writeRuns(&b, depths, strconv.Itoa)
		b.WriteString("-k")
		writeRuns(&b, kernels, strconv.Itoa)
		b.WriteString("-x")
		writeRuns(&b, expands, formatRatio)
		return b.String()
	}
	b.WriteString("e" + strconv.Itoa(a.EmbedDim) + "-h")
	writeRuns(&b, a.NumHeads, strconv.Itoa)
	b.WriteString("-r")
	writeRuns(&b, a.MLPRatio, formatRatio)
	if a.Layers != nil {
		b.WriteString("-l")
		writeRanges(&b, a.Layers)
	}
	return b.String()
}

func formatRatio(r float64) string { return strconv.FormatFloat(r, 'f', -1, 64) }

func writeRuns[T comparable](b *strings.Builder, values []T, format func(T) string) {
	for i := 0; i < len(values); {
		run := 1
		for i+run < len(values) && values[i+run] == values[i] {
			run++
		}
		if i > 0 {
			b.WriteByte('_')
		}
		b.WriteString(format(values[i]))
		if run > 1 {
			b.WriteByte('x')
			b.WriteString(strconv.Itoa(run))
		}
		i += run
	}
}

// writeRanges writes ascending numbers, those that follow each other as first and last.
func writeRanges(b *strings.Builder, values []int) {
	for i := 0; i < len(values); {
		end := i
		for end+1 < len(values) && values[end+1] == values[end]+1 {
			end++
		}
		if i > 0 {
			b.WriteByte('_')
		}
		b.WriteString(strconv.Itoa(values[i]))
		if end > i {
			b.WriteString("to" + strconv.Itoa(values[end]))
		}
		i = end + 1
	}
}

// parseRanges is the inverse of writeRanges.
func parseRanges(text string) ([]int, bool) {
	var values []int
	for item := range strings.SplitSeq(text, "_") {
		from, to, many := strings.Cut(item, "to")
		first, ok := index(from)
		last := first
		if many && ok {
			last, ok = index(to)
		}
		if !ok || last < first || len(values) > 0 && first <= values[len(values)-1] {
			return nil, false
		}
		for v := first; v <= last; v++ {
			values = append(values, v)
		}
	}
	return values, true
}

// index is the number of a block.
func index(s string) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && v >= 0 && v < maxLayers
}

// ParseArch reads the text form of an architecture. It accepts exactly the
// texts that String writes: any other spelling of the same architecture
// ("h4_4" for "h4x2") is an error that names the right one, so that two files
// never differ about what one architecture is called.
func ParseArch(text string) (Arch, error) {
	bad := func(why string) (Arch, error) {
		const most = 200
		if len(text) > most {
			text = text[:most] + "..."
		}
		return Arch{}, fmt.Errorf("%w: %q: %s (it looks like e192-h4x3_3-r4_3.5x2_4, or i224-d2x5-k3x10-x4x10)", ErrArch, text, why)
	}
	parts := strings.Split(text, "-")
	parse := parseViT
	if strings.HasPrefix(text, "i") {
		parse = parseConv
	}
	a, why := parse(parts)
	if why != "" {
		return bad(why)
	}
	if canonical := a.String(); canonical != text {
		return bad("not the canonical form, which is " + canonical)
	}
	return a, nil
}

// parseViT reads the parts of a name; why says what is wrong with them.
func parseViT(parts []string) (a Arch, why string) {
	if !prefixed(parts, "e", "h", "r") && !prefixed(parts, "e", "h", "r", "l") {
		return a, "want e..., h... and r..., joined by '-', and l... where it keeps other blocks than the first"
	}
	embedDim, ok := number(parts[0][1:], maxDim)
	if !ok {
		return a, "the embedding dim is not a number in range"
	}
	heads, ok := parseRuns(parts[1][1:], func(s string) (int, bool) { return number(s, maxLayers) })
	if !ok {
		return a, "the heads are not a list of numbers in range"
	}
	ratios, ok := parseRuns(parts[2][1:], ratio)
	if !ok {
		return a, "the MLP ratios are not a list of numbers in range"
	}
	if len(heads) != len(ratios) {
		return a, fmt.Sprintf("%d layers of heads and %d of MLP ratios", len(heads), len(ratios))
	}
	a = Arch{EmbedDim: embedDim, NumHeads: heads, MLPRatio: ratios}
	if len(parts) > 3 {
		layers, ok := parseRanges(parts[3][1:])
		if !ok {
			return Arch{}, "the blocks that it keeps are not a list of ascending numbers in range"
		}
		if len(layers) != len(heads) {
			return Arch{}, fmt.Sprintf("%d layers of heads and %d blocks that it keeps", len(heads), len(layers))
		}
		a = a.Keeping(layers)
	}
	return a, ""
}

// parseConv is parseViT for a convolutional network.
func parseConv(parts []string) (a Arch, why string) {
	if !prefixed(parts, "i", "d", "k", "x") {
		return a, "want four parts, i..., d..., k... and x..., joined by '-'"
	}
	resolution, ok := number(parts[0][1:], maxPixels)
	if !ok {
		return a, "the resolution is not a number in range"
	}
	depths, ok := parseRuns(parts[1][1:], func(s string) (int, bool) { return number(s, maxLayers) })
	if !ok {
		return a, "the depths are not a list of numbers in range"
	}
	kernels, ok := parseRuns(parts[2][1:], func(s string) (int, bool) {
		k, ok := number(s, maxKernel)
		return k, ok && k%2 == 1
	})
	if !ok {
		return a, "the kernels are not a list of odd numbers in range"
	}
	expands, ok := parseRuns(parts[3][1:], ratio)
	if !ok {
		return a, "the expansions are not a list of numbers in range"
	}
	return convArch(resolution, depths, kernels, expands)
}

// convArch puts layers, given one after the other, into their units.
func convArch(resolution int, depths, kernels []int, expands []float64) (a Arch, why string) {
	total := 0
	for _, d := range depths {
		total += d
	}
	if total != len(kernels) || total != len(expands) {
		return a, fmt.Sprintf("%d layers in all, %d kernels and %d expansions", total, len(kernels), len(expands))
	}
	a.Resolution, a.Units = resolution, make([][]ConvLayer, len(depths))
	at := 0
	for u, d := range depths {
		for range d {
			a.Units[u] = append(a.Units[u], ConvLayer{kernels[at], expands[at]})
			at++
		}
	}
	return a, ""
}

// flat is convArch's inverse.
func (a Arch) flat() (depths, kernels []int, expands []float64) {
	for _, layers := range a.Units {
		depths = append(depths, len(layers))
		for _, l := range layers {
			kernels, expands = append(kernels, l.Kernel), append(expands, l.Expand)
		}
	}
	return depths, kernels, expands
}

func prefixed(parts []string, prefixes ...string) bool {
	return slices.EqualFunc(parts, prefixes, strings.HasPrefix)
}

func number(s string, most int) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && v >= 1 && v <= most
}

func ratio(s string) (float64, bool) {
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && v > 0 && v <= maxRatio
}

func parseRuns[T any](text string, parse func(string) (T, bool)) ([]T, bool) {
	var values []T
	for item := range strings.SplitSeq(text, "_") {
		value, count, repeated := strings.Cut(item, "x")
		v, ok := parse(value)
		n := 1
		if repeated {
			var err error
			n, err = strconv.Atoi(count)
			ok = ok && err == nil && n > 1
		}
		if !ok || n > maxLayers-len(values) {
			return nil, false
		}
		values = append(values, slices.Repeat([]T{v}, n)...)
	}
	return values, true
}
