package space

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Arch is one architecture: its width, and for each layer its heads and the
// ratio of its MLP.
type Arch struct {
	EmbedDim int
	NumHeads []int
	MLPRatio []float64
}

// Depth is the number of layers.
func (a Arch) Depth() int { return len(a.NumHeads) }

// Equal tells whether two architectures are the same.
func (a Arch) Equal(b Arch) bool {
	return a.EmbedDim == b.EmbedDim && slices.Equal(a.NumHeads, b.NumHeads) && slices.Equal(a.MLPRatio, b.MLPRatio)
}

// String is the architecture's name everywhere: "e192-h4x5_3-r4x4_3.5x2" is
// embed_dim 192, five layers of 4 heads and one of 3, four of ratio 4 and two
// of 3.5. Equal neighbours are always run together, so the name is unique; it
// is safe in file names and shells.
func (a Arch) String() string {
	ratios := make([]string, len(a.MLPRatio))
	for i, r := range a.MLPRatio {
		ratios[i] = strconv.FormatFloat(r, 'f', -1, 64)
	}
	heads := make([]string, len(a.NumHeads))
	for i, h := range a.NumHeads {
		heads[i] = strconv.Itoa(h)
	}
	return fmt.Sprintf("e%d-h%s-r%s", a.EmbedDim, runs(heads), runs(ratios))
}

func runs(values []string) string {
	var parts []string
	for i := 0; i < len(values); {
		j := i
		for j < len(values) && values[j] == values[i] {
			j++
		}
		part := values[i]
		if j-i > 1 {
			part += "x" + strconv.Itoa(j-i)
		}
		parts = append(parts, part)
		i = j
	}
	return strings.Join(parts, "_")
}

// maxDepth bounds what ParseArch builds from a short text.
const maxDepth = 1 << 10

// ParseArch reads an architecture's name. Only the text that String writes is
// accepted, so that no architecture has two names.
func ParseArch(text string) (Arch, error) {
	bad := fmt.Errorf("%w %q: want a name such as e192-h4x5_3x7-r4x5_3.5x2_4x5", ErrArch, text)
	parts := strings.Split(text, "-")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "e") || !strings.HasPrefix(parts[1], "h") || !strings.HasPrefix(parts[2], "r") {
		return Arch{}, bad
	}
	var a Arch
	var err error
	if a.EmbedDim, err = strconv.Atoi(parts[0][1:]); err != nil {
		return Arch{}, bad
	}
	if a.NumHeads, err = expand(parts[1][1:], strconv.Atoi); err != nil {
		return Arch{}, bad
	}
	a.MLPRatio, err = expand(parts[2][1:], func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	if err != nil || len(a.NumHeads) != len(a.MLPRatio) || a.String() != text {
		return Arch{}, bad
	}
	return a, nil
}

func expand[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for _, part := range strings.Split(text, "_") {
		value, times, repeated := strings.Cut(part, "x")
		count := 1
		if repeated {
			var err error
			if count, err = strconv.Atoi(times); err != nil || count < 2 {
				return nil, ErrArch
			}
		}
		v, err := parse(value)
		if err != nil || len(list)+count > maxDepth {
			return nil, ErrArch
		}
		for range count {
			list = append(list, v)
		}
	}
	return list, nil
}
