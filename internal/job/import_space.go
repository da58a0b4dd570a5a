package job

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/input"
	"prenas/internal/pretrained"
	"prenas/internal/printable"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// ofSupernet is the space whose supernet the weights are, with its whole as the one choice, and that
// whole: its model is inferred from their shapes. Where norms are those of each embedding dim by
// itself, the dims are the choices and the whole is that of the largest, since the supernet's own width
// may have no norms.
func ofSupernet(weights map[string]tensorfile.Tensor, h pretrained.Hints) (s *space.Space, whole space.Arch, err error) {
	s = &space.Space{Name: "imported", Model: space.DefaultModel(), ModelGiven: true}
	if s.Supernet, err = supernetSize(weights, h.HeadDim, s.Model.HeadDim); err != nil {
		return nil, whole, err
	}
	if s.Model, err = supernet.InferModel(s, weights); err != nil {
		return nil, whole, err
	}
	s.Model.GlobalPool = h.Pool != pretrained.PoolToken
	whole = s.Whole()
	s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio = []int{s.Supernet.EmbedDim}, []int{s.Supernet.Depth}, []int{s.Supernet.NumHeads}, []float64{s.Supernet.MLPRatio}
	if s.Model.ScaleAttn || s.Model.ScaleMLP || s.Model.ScaleEmbed {
		return nil, whole, fmt.Errorf("its choices have factors of their own (SCALE_ATTN, SCALE_MLP, SCALE_EMBED), and which choice has which the file does not say: search and train with the original's space file and %v, which needs no import", input.Weights)
	}
	if s.Model.SwitchNorm {
		if s.EmbedDim = supernet.NormDims(weights); len(s.EmbedDim) == 0 || slices.Max(s.EmbedDim) > s.Supernet.EmbedDim {
			return nil, whole, fmt.Errorf("its norms are of the embedding dims %v, of a supernet of %d", s.EmbedDim, s.Supernet.EmbedDim)
		}
		whole.EmbedDim = slices.Max(s.EmbedDim)
	}
	return s, whole, s.Validate()
}

// supernetSize is the size of a supernet by the shapes of its weights. headDim is the features of a
// head; 0: those of the table of relative positions, or usual where there is none.
func supernetSize(weights map[string]tensorfile.Tensor, headDim, usual int) (size space.Supernet, err error) {
	shape := func(name string, rank int) ([]int, error) {
		t, ok := weights[name]
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing", name)
		}
		if len(t.Shape) != rank || slices.Contains(t.Shape, 0) {
			return nil, fmt.Errorf("tensor %q has shape %v", name, t.Shape)
		}
		return t.Shape, nil
	}
	qkv, err := shape("blocks.0.attn.qkv.weight", 2)
	if err != nil {
		return size, err
	}
	fc1, err := shape("blocks.0.fc1.weight", 2)
	if err != nil {
		return size, err
	}
	if headDim == 0 {
		headDim = usual
		if table := weights["blocks.0.attn.rel_pos_embed_k.embeddings_table_v"]; len(table.Shape) == 2 {
			headDim = table.Shape[1]
		}
	}
	if headDim < 1 || qkv[0]%(3*headDim) != 0 {
		return size, fmt.Errorf("tensor \"blocks.0.attn.qkv.weight\" has %s, which %s a head do not divide: give %v", printable.Count(qkv[0], "row"), printable.Count(headDim, "feature"), input.HeadDim)
	}
	dim := qkv[1]
	size = space.Supernet{EmbedDim: dim, NumHeads: qkv[0] / (3 * headDim), MLPRatio: float64(fc1[0]) / float64(dim)}
	for weights[fmt.Sprintf("blocks.%d.attn.qkv.weight", size.Depth)].Data != nil {
		size.Depth++
	}
	return size, nil
}

// shrinkable is the space whose supernet is a vision transformer. Its choices are a third to all of
// the heads, a quarter to all of the MLP ratio, and two thirds, five sixths and all of the depth. Of
// the embedding they are three quarters and all, since half of it costs more than its size after
// training (docs/results.md). It is an error if blocks differ in heads or MLP ratio.
func shrinkable(m space.Model, a space.Arch) (*space.Space, error) {
	if heads, ratios := each(a.NumHeads), each(a.MLPRatio); len(heads) > 1 || len(ratios) > 1 {
		return nil, fmt.Errorf("its blocks differ in heads (%v) or in the MLP's ratio (%v), which supernets do not", heads, ratios)
	}
	dim, depth, heads, ratio := a.EmbedDim, a.Depth(), a.NumHeads[0], a.MLPRatio[0]
	s := &space.Space{Name: "imported", Model: m, ModelGiven: true}
	s.Supernet = space.Supernet{EmbedDim: dim, Depth: depth, NumHeads: heads, MLPRatio: ratio}
	s.EmbedDim = fractions(dim, 8, 3./4)
	s.Depth, s.NumHeads = fractions(depth, 1, 2./3, 5./6), fractions(heads, 1, 1./3, 1./2, 3./4)
	s.MLPRatio = []float64{ratio / 4, ratio / 2, ratio * 3 / 4, ratio}
	return withIntervals(s)
}

// withIntervals divides a space into three intervals of parameters.
func withIntervals(s *space.Space) (*space.Space, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	least, most := float64(s.Model.Params(s.Smallest()))/1e6, float64(s.Model.Params(s.Largest()))/1e6
	low := math.Floor(least*1e3) / 1e3
	step := math.Floor((most-low)/3*1e3+1) / 1e3
	s.Interval = space.Interval{Min: low, Step: step, Max: math.Round((low+3*step)*1e3) / 1e3}
	return s, s.Validate()
}

// fractions are parts of n, rounded to multiples of unit, and n itself: ascending, each once.
func fractions(n, unit int, parts ...float64) []int {
	var out []int
	for _, part := range parts {
		v := max(unit, int(math.Round(float64(n)*part/float64(unit)))*unit)
		if v < n && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return append(out, n)
}

// fits checks that the weights are those of the supernet: all of them, and no others.
func fits(s *space.Space, weights map[string]tensorfile.Tensor) error {
	net := supernet.New(s)
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if net.Index(name) >= 0 {
			continue
		}
		return fmt.Errorf("tensor %q has no place in the supernet, and without it the model is another one", name)
	}
	return net.Check(weights)
}

// spaceText is the space file of an imported model.
func spaceText(s *space.Space) string {
	if s.Model.IsConv() {
		return convSpaceText(s)
	}
	super, m := s.Supernet, s.Model
	var b strings.Builder
	fmt.Fprintf(&b, "# Choices that shrink an imported model; change them freely, but not SUPERNET and MODEL.\n")
	fmt.Fprintf(&b, "SUPERNET: {EMBED_DIM: %d, DEPTH: %d, NUM_HEADS: %d, MLP_RATIO: %s}\n", super.EmbedDim, super.Depth, super.NumHeads, decimal(super.MLPRatio))
	ratios := make([]string, len(s.MLPRatio))
	for i, v := range s.MLPRatio {
		ratios[i] = decimal(v)
	}
	fmt.Fprintf(&b, "SEARCH_SPACE:\n  EMBED_DIM: %s\n  DEPTH: %s\n  NUM_HEADS: %s\n  MLP_RATIO: [%s]\n",
		listText(s.EmbedDim), listText(s.Depth), listText(s.NumHeads), strings.Join(ratios, ", "))
	if s.Layers != nil {
		fmt.Fprintf(&b, "  LAYERS: %s # blocks, most important first: the last of them go first\n", listText(s.Layers))
	}
	fmt.Fprintf(&b, "MODEL:\n  IMAGE_SIZE: %d\n  PATCH_SIZE: %d\n  CHANNELS: %d\n  NUM_CLASSES: %d\n  HEAD_DIM: %d\n", m.ImageSize, m.PatchSize, m.Channels, m.NumClasses, m.HeadDim)
	fmt.Fprintf(&b, "  RELATIVE_POSITION: %v\n", m.RelativePosition)
	if m.RelativePosition {
		fmt.Fprintf(&b, "  MAX_RELATIVE_POSITION: %d\n", m.MaxRelativePosition)
	}
	fmt.Fprintf(&b, "  GLOBAL_POOL: %v\n  ABS_POS: %v\n  QKV_BIAS: %v\n", m.GlobalPool, m.AbsPos, m.QKVBias)
	for _, own := range m.VariantKeys() {
		fmt.Fprintf(&b, "  %s: %s\n", own.Key, own.Value)
	}
	fmt.Fprintf(&b, "INTERVAL: {MIN: %s, MAX: %s, STEP: %s}\n", decimal(s.Interval.Min), decimal(s.Interval.Max), decimal(s.Interval.Step))
	return b.String()
}

func listText(values []int) string {
	return strings.ReplaceAll(fmt.Sprint(values), " ", ", ")
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
