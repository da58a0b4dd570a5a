package job

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Forms of weights that Import knows.
const (
	FormAuto       = "auto"
	FormPreNAS     = "prenas"
	FormAutoFormer = "autoformer"
	FormTimm       = "timm"
)

// Errors of Import.
var (
	// ErrForm: there is no form of weights by that name.
	ErrForm = errors.New("unknown form of weights")
	// ErrImport: a file's tensors are not a supernet's nor a ViT's.
	ErrImport = errors.New("cannot be imported")
)

// ImportOptions of Import.
type ImportOptions struct {
	File    string
	Form    string
	HeadDim int // features of an attention head; 0: those of the relative tables, else 64
	Out     string
}

// Imported is what Import found and wrote.
type Imported struct {
	Form    string   `json:"form"`
	Entry   string   `json:"entry"`   // of the file that held the weights
	Skipped []string `json:"skipped"` // entries beside it
	Renamed int      `json:"renamed"` // tensors
	Notes   []string `json:"notes"`
	Tensors int      `json:"tensors"`
	Weights string   `json:"weights"`
	Space   string   `json:"space"` // file of the space to search in
	Largest string   `json:"largest"`
	Params  int64    `json:"params"` // of the largest
}

// Import writes foreign weights as a supernet's safetensors, and beside them a
// space file whose supernet is the model and whose choices shrink it.
func Import(o ImportOptions) (Imported, error) {
	var r Imported
	if !slices.Contains([]string{FormAuto, FormPreNAS, FormAutoFormer, FormTimm}, o.Form) {
		return r, fmt.Errorf("%w %q: --form takes auto, prenas, autoformer or timm", ErrForm, o.Form)
	}
	release, err := holdFile("--out", o.Out)
	if err != nil {
		return r, err
	}
	defer release()
	c, err := tensorfile.ReadAny(o.File)
	if err != nil {
		return r, err
	}
	r = Imported{Form: o.Form, Entry: c.Entry, Skipped: c.Skipped, Weights: o.Out, Space: SpacePath(o.Out)}
	weights, err := r.rename(c.Tensors)
	if err != nil {
		return r, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	s, err := shrinkable(weights, o.HeadDim, r.Form)
	if err == nil {
		err = r.fits(s, weights)
	}
	if err != nil {
		return r, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	r.Tensors, r.Largest, r.Params = len(weights), s.Largest().String(), s.Model.Params(s.Largest())
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	if err := tensorfile.Write(set, o.Out, &tensorfile.File{Tensors: weights}); err != nil {
		return r, err
	}
	if err := writeText(set, r.Space, []byte(spaceText(s))); err != nil {
		return r, err
	}
	return r, set.Commit()
}

// SpacePath is the file of the space beside imported weights.
func SpacePath(weights string) string {
	return strings.TrimSuffix(weights, ".safetensors") + ".space.yaml"
}

// rename brings names, types and the rows of qkv into the supernet's form.
func (r *Imported) rename(from map[string]tensorfile.Tensor) (map[string]tensorfile.Tensor, error) {
	to := map[string]tensorfile.Tensor{}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		plain := strings.TrimPrefix(strings.TrimPrefix(name, "module."), "_orig_mod.")
		if r.Form == FormAuto && strings.HasPrefix(plain, "patch_embed") {
			r.Form = FormTimm
			if strings.HasPrefix(plain, "patch_embed_super.") {
				r.Form = FormPreNAS
				r.Notes = append(r.Notes, "AutoFormer's files have the same names as PreNAS's, but other rows in attn.qkv.bias: give --form autoformer if it is one")
			}
		}
		to[plain] = from[name]
	}
	if r.Form == FormAuto {
		return nil, fmt.Errorf("no tensor patch_embed.proj.weight or patch_embed_super.proj.weight: this is no ViT")
	}
	out := map[string]tensorfile.Tensor{}
	for _, plain := range slices.Sorted(maps.Keys(to)) {
		t, name := to[plain], plain
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", plain, err)
		}
		if r.Form == FormTimm {
			name = export.SupernetName(plain)
		}
		if name != plain {
			r.Renamed++
		}
		sorted := r.Form == FormTimm && strings.Contains(name, ".attn.qkv.") || r.Form == FormAutoFormer && strings.HasSuffix(name, ".attn.qkv.bias")
		if sorted && len(t.Shape) > 0 && t.Shape[0] > 0 && t.Shape[0]%3 == 0 {
			values = export.InterleaveQKV(values, len(values)/t.Shape[0])
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("two tensors are named %q", name)
		}
		out[name] = tensorfile.FromFloat32(t.Shape, values)
	}
	if r.Form == FormAutoFormer {
		r.Notes = append(r.Notes, "biases of qkv are exact at the supernet's number of heads; AutoFormer gives architectures of fewer heads other biases")
	}
	if r.Form == FormTimm {
		r.Notes = append(r.Notes, "norms are computed with epsilon 1e-5, timm's models have 1e-6")
	}
	return out, nil
}

// shrinkable is the space whose supernet the weights are: choices of a half,
// three quarters and all of each width, and two thirds, five sixths and all of
// the depth.
func shrinkable(weights map[string]tensorfile.Tensor, headDim int, form string) (*space.Space, error) {
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
	s := &space.Space{Name: "imported", Model: space.DefaultModel(), ModelGiven: true}
	depth := 0
	for ; weights[fmt.Sprintf("blocks.%d.attn.qkv.weight", depth)].Data != nil; depth++ {
	}
	qkv, err := shape("blocks.0.attn.qkv.weight", 2)
	if err != nil {
		return nil, err
	}
	fc1, err := shape("blocks.0.fc1.weight", 2)
	if err != nil {
		return nil, err
	}
	if headDim == 0 {
		headDim = s.Model.HeadDim
		if table := weights["blocks.0.attn.rel_pos_embed_k.embeddings_table_v"]; len(table.Shape) == 2 {
			headDim = table.Shape[1]
		}
	}
	dim := qkv[1]
	if headDim < 1 || qkv[0]%(3*headDim) != 0 {
		return nil, fmt.Errorf("tensor \"blocks.0.attn.qkv.weight\" has %d rows, which %d features a head do not divide: give --head-dim", qkv[0], headDim)
	}
	heads, ratio := qkv[0]/(3*headDim), float64(fc1[0])/float64(dim)
	s.Supernet = space.Supernet{EmbedDim: dim, Depth: depth, NumHeads: heads, MLPRatio: ratio}
	s.EmbedDim = fractions(dim, 8, 1./2, 3./4)
	s.Depth, s.NumHeads = fractions(depth, 1, 2./3, 5./6), fractions(heads, 1, 1./2, 3./4)
	s.MLPRatio = []float64{ratio / 2, ratio * 3 / 4, ratio}
	if s.Model, err = supernet.InferModel(s, weights); err != nil {
		return nil, err
	}
	s.Model.GlobalPool = form != FormTimm
	if err := s.Validate(); err != nil {
		return nil, err
	}
	least, most := float64(s.Model.Params(s.Smallest()))/1e6, float64(s.Model.Params(s.Largest()))/1e6
	low := math.Floor(least*1e3) / 1e3
	step := math.Floor((most-low)/3*1e3+1) / 1e3
	s.Interval = space.Interval{Min: low, Step: step, Max: math.Round((low+3*step)*1e3) / 1e3}
	return s, s.Validate()
}

// fractions of n, in multiples of unit, and n, smallest first, each once.
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

// fits checks that the weights are the supernet's, all of them and no more.
func (r *Imported) fits(s *space.Space, weights map[string]tensorfile.Tensor) error {
	net := supernet.New(s)
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if net.Index(name) >= 0 {
			continue
		}
		return fmt.Errorf("tensor %q has no place in the supernet, and without it the model is another one", name)
	}
	return net.Check(weights)
}

func spaceText(s *space.Space) string {
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
	fmt.Fprintf(&b, "MODEL:\n  IMAGE_SIZE: %d\n  PATCH_SIZE: %d\n  CHANNELS: %d\n  NUM_CLASSES: %d\n  HEAD_DIM: %d\n", m.ImageSize, m.PatchSize, m.Channels, m.NumClasses, m.HeadDim)
	fmt.Fprintf(&b, "  RELATIVE_POSITION: %v\n", m.RelativePosition)
	if m.RelativePosition {
		fmt.Fprintf(&b, "  MAX_RELATIVE_POSITION: %d\n", m.MaxRelativePosition)
	}
	fmt.Fprintf(&b, "  GLOBAL_POOL: %v\n  ABS_POS: %v\n  QKV_BIAS: %v\n", m.GlobalPool, m.AbsPos, m.QKVBias)
	fmt.Fprintf(&b, "INTERVAL: {MIN: %s, MAX: %s, STEP: %s}\n", decimal(s.Interval.Min), decimal(s.Interval.Max), decimal(s.Interval.Step))
	return b.String()
}

func listText(values []int) string {
	return strings.ReplaceAll(fmt.Sprint(values), " ", ", ")
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
