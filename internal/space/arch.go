package space

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Arch is one architecture: an embedding dim and, for each layer, a number of
// heads and an MLP ratio. Both lists have one entry per layer.
type Arch struct {
	EmbedDim int
	NumHeads []int
	MLPRatio []float64
}

// Depth is the number of layers.
func (a Arch) Depth() int { return len(a.NumHeads) }

// Equal reports whether a and b are the same architecture.
func (a Arch) Equal(b Arch) bool {
	return a.EmbedDim == b.EmbedDim && slices.Equal(a.NumHeads, b.NumHeads) && slices.Equal(a.MLPRatio, b.MLPRatio)
}

// String is the architecture's name: embedding dim, heads and ratios, the
// lists run-length coded. Heads 4 4 4 3 and ratios 4 3.5 3.5 4 at dim 192 are
//
//	e192-h4x3_3-r4_3.5x2_4
//
// It holds only letters, digits, '-', '_' and '.', so it needs no quoting in
// a shell and can be part of a file's name.
func (a Arch) String() string {
	var b strings.Builder
	b.WriteString("e" + strconv.Itoa(a.EmbedDim) + "-h")
	writeRuns(&b, a.NumHeads, strconv.Itoa)
	b.WriteString("-r")
	writeRuns(&b, a.MLPRatio, formatRatio)
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
		return Arch{}, fmt.Errorf("%w: %q: %s (it looks like e192-h4x3_3-r4_3.5x2_4)", ErrArch, text, why)
	}
	parts := strings.Split(text, "-")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "e") || !strings.HasPrefix(parts[1], "h") || !strings.HasPrefix(parts[2], "r") {
		return bad("want three parts, e..., h... and r..., joined by '-'")
	}
	embedDim, err := strconv.Atoi(parts[0][1:])
	if err != nil || embedDim < 1 || embedDim > maxDim {
		return bad("the embedding dim is not a number in range")
	}
	heads, ok := parseRuns(parts[1][1:], func(s string) (int, bool) {
		v, err := strconv.Atoi(s)
		return v, err == nil && v >= 1 && v <= maxLayers
	})
	if !ok {
		return bad("the heads are not a list of numbers in range")
	}
	ratios, ok := parseRuns(parts[2][1:], func(s string) (float64, bool) {
		v, err := strconv.ParseFloat(s, 64)
		return v, err == nil && v > 0 && v <= maxRatio
	})
	if !ok {
		return bad("the MLP ratios are not a list of numbers in range")
	}
	if len(heads) != len(ratios) {
		return bad(fmt.Sprintf("%d layers of heads and %d of MLP ratios", len(heads), len(ratios)))
	}
	a := Arch{EmbedDim: embedDim, NumHeads: heads, MLPRatio: ratios}
	if canonical := a.String(); canonical != text {
		return bad("not the canonical form, which is " + canonical)
	}
	return a, nil
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
