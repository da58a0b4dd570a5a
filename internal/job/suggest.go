package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// ErrSuggest: no space fits what was asked for.
var ErrSuggest = errors.New("no space fits")

// Families of networks that a space can be suggested of.
var Families = []string{"conv", "vit"}

// SuggestOptions of Suggest. Ranges have the units of [Costs].
type SuggestOptions struct {
	Data     string
	Family   string // one of Families; empty: chosen by images and budgets
	Params   Range  // NaN for an end that was not given
	Latency  float64
	Engine   func() (*engine.Engine, error) // opened where latency is to be measured
	Name     string                         // of the space
	Log      func(string)
	Measured func(done, total int)
}

// Suggested is a space for some images and budgets.
type Suggested struct {
	Space  *space.Space `json:"space"`
	YAML   string       `json:"yaml"`
	Images int          `json:"images"`
	Sides  [3]int       `json:"sides"` // shorter sides of the images that were looked at, in pixels: least, median, most
	// From the cheapest to the most expensive architecture: parameters and MACs in millions, latency
	// in milliseconds where it was measured.
	Params  [2]float64  `json:"params"`
	MACs    [2]float64  `json:"macs"`
	Latency *[2]float64 `json:"latency,omitempty"`
	Why     []string    `json:"why"`
	Search  string      `json:"search"` // how to go on
}

// sizes are the image sizes of suggested models, in pixels. 28 and 32 are those of common small
// images, which are then not resized.
var sizes = []int{28, 32, 48, 64, 96, 128, 160, 192, 224}

// Suggest makes a space whose architectures fit some images and span some budgets.
//
// The family is conv where none is named, since convolutions learn more from few images than
// attention does: on CIFAR-10 they had 74 to 75 % after three epochs where vision transformers had
// 51, and of 1,000 images of Fashion-MNIST 84 % where these had 77 (docs/recipes.md). Where a latency
// is asked for it is vit, since latency is measured for vision transformers only.
func Suggest(ctx context.Context, o SuggestOptions) (s Suggested, err error) {
	set, err := source.Open(ctx, o.Data, source.Options{Log: o.Log})
	if err != nil {
		return s, err
	}
	if set.Train.Len() == 0 {
		return s, fmt.Errorf("%w %s: it has no images to train on", input.Data, o.Data)
	}
	if s.Sides, err = sidesOf(ctx, set.Train); err != nil {
		return s, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	s.Images = set.Train.Len()
	size := sizes[len(sizes)-1]
	for _, fits := range slices.Backward(sizes) {
		if s.Sides[1] <= fits {
			size = fits
		}
	}
	s.because("images of %s: the shorter sides are %d to %d, %d in the middle", printable.Count(size, "pixel"), s.Sides[0], s.Sides[2], s.Sides[1])
	if o.Family == "" {
		o.Family = "conv"
		if !math.IsNaN(o.Latency) {
			o.Family = "vit"
			s.because("a vision transformer, since latency is measured of these; %v conv takes no %v", input.Family, input.Latency)
		} else {
			s.because("convolutions, which learn more from scratch than transformers: 84 %% from 1,000 images of Fashion-MNIST, where these had 77 %%; %v vit takes the others", input.Family)
		}
	} else if o.Family == "conv" && !math.IsNaN(o.Latency) {
		return s, fmt.Errorf("%w: the latency of parts is measured of vision transformers: leave out %v, or %v conv", ErrSuggest, input.Latency, input.Family)
	}
	channels := set.Channels
	if channels != 1 {
		channels = 3
	}
	made := vitSpaces
	if o.Family == "conv" {
		made = convSpaces
	}
	given := o.Params
	for i, params := range rangesOf(given, size) {
		o.Params = params
		missed := s.choose(ctx, o, size, made(params, size, channels, len(set.Classes)))
		if i == 0 || missed == nil {
			err = missed // else what was asked for is told, not what was tried instead
		}
		if missed == nil || !errors.Is(missed, ErrSuggest) || s.Latency != nil {
			break
		}
	}
	if err != nil {
		return s, err
	}
	switch {
	case math.IsNaN(given.Max):
		s.because("from %s to %s million parameters, since %v was not given", search.Number(o.Params.Min), search.Number(o.Params.Max), input.Params)
	case math.IsNaN(given.Min):
		s.because("from %s million parameters on, since %v says the most alone", search.Number(o.Params.Min), input.Params)
	}
	s.Search = fmt.Sprintf("prenas search %v FILE %v %s", input.Space, input.Data, o.Data)
	if !math.IsNaN(o.Latency) {
		s.Search += fmt.Sprintf(" %v %s", input.Most("latency"), search.Number(o.Latency))
	}
	return s, nil
}

// rangesOf are the ranges of parameters to try in turn, in millions: an end that was not given is
// ours to choose, and how far a space reaches depends on its images and classes.
func rangesOf(given Range, size int) (list []Range) {
	if !math.IsNaN(given.Min) {
		return []Range{given}
	}
	most, parts := 1.2, []float64{4, 3, 2, 1.5}
	if size > 32 {
		most, parts = 5, []float64{3, 2, 1.5}
	}
	larger := 64.0 // for thousands of classes, whose head alone has millions of parameters
	if !math.IsNaN(given.Max) {
		most, parts, larger = given.Max, []float64{4, 3, 2, 1.5}, 1
	}
	for ; larger >= 1; larger, most = larger/2, most*2 {
		for _, part := range parts {
			least, _ := strconv.ParseFloat(strconv.FormatFloat(most/part, 'g', 2, 64), 64)
			list = append(list, Range{min(least, most), most})
		}
	}
	return list
}

// choose takes the first of some spaces that reaches from end to end of the parameters, has an
// architecture in each interval, and some within the latency.
func (s *Suggested) choose(ctx context.Context, o SuggestOptions, size int, texts []string) error {
	low, high := o.Params.Min, o.Params.Max
	var tried []string
	for _, text := range texts {
		if err := ctx.Err(); err != nil {
			return err
		}
		candidate, err := space.Parse(o.Name, o.Name+".yaml", []byte(text))
		if err != nil {
			return fmt.Errorf("a space of our own making: %w", err)
		}
		least, most := candidate.Model.Params(candidate.Smallest()), candidate.Model.Params(candidate.Largest())
		if float64(least) > low*1e6 || float64(most) < high*1e6 {
			tried = append(tried, fmt.Sprintf("%.3g to %.3g", float64(least)/1e6, float64(most)/1e6))
			continue
		}
		if err := search.EveryInterval(candidate, candidate.Interval); err != nil {
			tried = append(tried, err.Error())
			continue
		}
		if !math.IsNaN(o.Latency) {
			fast, err := s.measure(ctx, candidate, o)
			if err != nil {
				return err
			}
			if !fast {
				tried = append(tried, fmt.Sprintf("%.3g to %.3g ms", s.Latency[0], s.Latency[1]))
				if len(tried) > 8 {
					break
				}
				continue
			}
		}
		s.Space, s.YAML = candidate, text
		s.Params = [2]float64{float64(least) / 1e6, float64(most) / 1e6}
		s.MACs = [2]float64{float64(candidate.Model.MACs(candidate.Smallest())) / 1e6, float64(candidate.Model.MACs(candidate.Largest())) / 1e6}
		return nil
	}
	why := "none of our spaces has such sizes"
	if len(tried) > 0 {
		why = "those that come near have " + few(tried)
	}
	return fmt.Errorf("%w: %s to %s million parameters%s in images of %s: %s; ask for others, or write the space yourself",
		ErrSuggest, search.Number(low), search.Number(high), within(o.Latency), printable.Count(size, "pixel"), why)
}

func (s *Suggested) because(format string, args ...any) {
	s.Why = append(s.Why, fmt.Sprintf(format, args...))
}

func within(latency float64) string {
	if math.IsNaN(latency) {
		return ""
	}
	return fmt.Sprintf(" within %s ms", search.Number(latency))
}

// measure tells whether the space has architectures within the latency.
func (s *Suggested) measure(ctx context.Context, candidate *space.Space, o SuggestOptions) (bool, error) {
	e, err := o.Engine()
	if err != nil {
		return false, err
	}
	r, err := Latency(ctx, LatencyOptions{Engine: e, Space: candidate, Batch: 1, Log: o.Log, Progress: o.Measured})
	if err != nil {
		return false, err
	}
	s.Latency = &[2]float64{r.Profile.Predict(candidate.Smallest()), r.Profile.Predict(candidate.Largest())}
	return s.Latency[0] <= o.Latency, nil
}

// sidesOf looks at some images of a split, spread evenly over it. It returns the least, the median
// and the most of their shorter sides, in pixels.
func sidesOf(ctx context.Context, split data.Split) (sides [3]int, err error) {
	const most = 64
	n := min(most, split.Len())
	var all []int
	for i := range n {
		if err := ctx.Err(); err != nil {
			return sides, err
		}
		img, err := split.Image(i * split.Len() / n)
		if bad := (*data.DamagedImage)(nil); errors.As(err, &bad) {
			continue
		}
		if err != nil {
			return sides, err
		}
		all = append(all, min(img.Height, img.Width))
	}
	if len(all) == 0 {
		return sides, errors.New("none of the images that were looked at can be read")
	}
	slices.Sort(all)
	return [3]int{all[0], all[len(all)/2], all[len(all)-1]}, nil
}

// intervals is the INTERVAL of a space file that divides a range of budgets into four.
func intervals(r Range) string {
	if r.Max <= r.Min { // a single budget: one interval that ends at it
		r.Min = r.Max / 2
	}
	const steps = 4
	return fmt.Sprintf("{MIN: %s, MAX: %s, STEP: %s}", search.Number(r.Min), search.Number(r.Max), search.Number((r.Max-r.Min)/steps))
}

// convSpaces are convolutional spaces, those of the smallest supernet first, and of those that reach
// no farther than they must. The skeleton is MobileNetV3's, with fewer and less strided units for
// small images, and all widths in proportion. What all architectures have in common, FEATURES and MIX
// before the head, is narrower where small ones are asked for beside large ones.
func convSpaces(r Range, size, channels, classes int) (list []string) {
	deepest, kernels := 4, []int{3, 5, 7}
	body := `STEM: 16, STEM_STRIDE: 2, WIDTH: [24, 40, 80, 112, 160], STRIDE: [2, 2, 2, 1, 2],
  SQUEEZE_EXCITE: [false, true, false, true, true], H_SWISH: [false, false, true, true, true]`
	features, mix := 960, 1280
	switch {
	case size <= 32:
		deepest, kernels = 3, []int{3, 5}
		body = `STEM: 16, STEM_STRIDE: 1, WIDTH: [24, 40, 64], STRIDE: [2, 2, 1],
  SQUEEZE_EXCITE: [false, true, true], H_SWISH: [false, true, true]`
		features, mix = 192, 256
	case size <= 96:
		deepest, kernels = 3, []int{3, 5}
		body = `STEM: 16, STEM_STRIDE: 2, WIDTH: [24, 40, 80, 112], STRIDE: [1, 2, 2, 1],
  SQUEEZE_EXCITE: [false, true, true, true], H_SWISH: [false, false, true, true]`
		features, mix = 480, 640
	}
	for _, reach := range []struct {
		depth  int // least
		expand []int
		part   int // of FEATURES and MIX
	}{
		{deepest - 2, []int{3, 4, 6}, 1}, {1, []int{2, 3, 4, 6}, 1}, {1, []int{2, 3, 4, 6}, 2}, {1, []int{1, 2, 3, 4, 6}, 4}, {1, []int{1, 2, 4, 6, 8}, 8},
	} {
		var depths []int
		for d := reach.depth; d <= deepest; d++ {
			depths = append(depths, d)
		}
		for m := 0.25; m <= 12; m += 0.25 {
			list = append(list, fmt.Sprintf(`FAMILY: conv
SUPERNET: {DEPTH: %d, KERNEL: %d, EXPAND: %d}
SEARCH_SPACE: {DEPTH: %s, KERNEL: %s, EXPAND: %s, RESOLUTION: [%d]}
MODEL: {IMAGE_SIZE: %d, CHANNELS: %d, NUM_CLASSES: %d, WIDTH_MULT: %s,
  %s,
  FEATURES: %d, MIX: %d}
INTERVAL: %s
`, deepest, slices.Max(kernels), slices.Max(reach.expand), listText(depths), listText(kernels), listText(reach.expand), size,
				size, channels, classes, strconv.FormatFloat(m, 'f', -1, 64), body, features/reach.part, mix/reach.part, intervals(r)))
		}
	}
	return list
}

// vitSpaces are spaces of vision transformers, those of the smallest supernet first, and of those
// that reach no farther than they must: heads of 16 to 64 features, embedding dims of 8 to 44 for each
// layer as published ones have.
func vitSpaces(r Range, size, channels, classes int) (list []string) {
	patch := map[int]int{28: 4, 32: 4, 48: 6, 64: 8, 96: 8, 128: 16, 160: 16, 192: 16, 224: 16}[size]
	type shape struct {
		cost int
		text string
	}
	for _, reach := range []struct {
		parts  []float64 // of the supernet's depth, heads and embedding dim, beside the whole
		ratios string
	}{{[]float64{1. / 2, 3. / 4}, "[2, 3, 4]"}, {[]float64{1. / 4, 1. / 2, 3. / 4}, "[1, 2, 3, 4]"}} {
		var all []shape
		for _, depth := range []int{4, 6, 8, 10, 12, 14} {
			for dim := 32; dim <= 1024; dim += 32 {
				if dim < 8*depth || dim > 44*depth {
					continue
				}
				headDim := 64
				if dim <= 128 {
					headDim = 16
				} else if dim <= 320 {
					headDim = 32
				}
				heads := max(2, dim/headDim)
				all = append(all, shape{dim * dim * depth, fmt.Sprintf(`SUPERNET: {EMBED_DIM: %d, DEPTH: %d, NUM_HEADS: %d, MLP_RATIO: 4}
SEARCH_SPACE: {EMBED_DIM: %s, DEPTH: %s, NUM_HEADS: %s, MLP_RATIO: %s}
MODEL: {IMAGE_SIZE: %d, PATCH_SIZE: %d, CHANNELS: %d, NUM_CLASSES: %d, HEAD_DIM: %d, MAX_RELATIVE_POSITION: %d}
INTERVAL: %s
`, dim, depth, heads, listText(fractions(dim, 16, reach.parts...)), listText(fractions(depth, 1, reach.parts...)), listText(fractions(heads, 1, reach.parts...)),
					reach.ratios, size, patch, channels, classes, headDim, size/patch, intervals(r))})
			}
		}
		slices.SortStableFunc(all, func(a, b shape) int { return a.cost - b.cost })
		for _, s := range all {
			list = append(list, s.text)
		}
	}
	return list
}

// comment is the comment at the top of a suggested file.
func (s Suggested) comment(source string) string {
	var b strings.Builder
	commented(&b, "# ", "For %s: %s of %s. Change the choices freely.", source, printable.Count(s.Images, "image"), printable.Count(s.Space.Model.NumClasses, "class"))
	for _, why := range s.Why {
		commented(&b, "# - ", "%s", why)
	}
	latency := ""
	if s.Latency != nil {
		latency = fmt.Sprintf(", %.3g to %.3g ms", s.Latency[0], s.Latency[1])
	}
	commented(&b, "# ", "It spans %.3g to %.3g million parameters, %.3g to %.3g million MACs%s.", s.Params[0], s.Params[1], s.MACs[0], s.MACs[1], latency)
	return b.String()
}

// commented writes a comment of lines that fit a terminal, the first of which begins with first.
func commented(b *strings.Builder, first, format string, args ...any) {
	const width = 80
	line := first
	for i, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		switch {
		case i == 0:
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = "#" + strings.Repeat(" ", len(first)-1)
		default:
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}

// File is the text of the space's file.
func (s Suggested) File(source string) []byte {
	return []byte(s.comment(strings.Join(strings.Fields(source), " ")) + s.YAML)
}
