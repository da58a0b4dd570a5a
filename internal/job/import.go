package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/pretrained"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Forms of a supernet's weights that Import knows; those of other models are told by their
// names.
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
	// ErrImport: a file's tensors are no model's that is known.
	ErrImport = pretrained.ErrFile
	// ErrAsk: what the file does not say, and a flag must.
	ErrAsk = pretrained.ErrAsk
)

// ImportOptions of Import.
type ImportOptions struct {
	File    string
	Form    string
	Hints   pretrained.Hints
	Licence string
	Order   Ordering
	Out     string
	Command string
}

// Imported is what Import found and wrote.
type Imported struct {
	Form    string   `json:"form"`    // whose names the tensors had
	Entry   string   `json:"entry"`   // of the file that held the weights
	Others  []string `json:"others"`  // entries with a model that were not taken
	Skipped []string `json:"skipped"` // tensors that take no part in the outputs
	Notes   []string `json:"notes"`
	Tensors int      `json:"tensors"`
	Weights string   `json:"weights"`
	Space   string   `json:"space"` // file of the space to search in; empty: none
	Largest string   `json:"largest"`
	Params  int64    `json:"params"` // of the largest
	Classes int      `json:"classes"`
}

// Import writes foreign weights as a model, with its card, and beside it a space file
// whose supernet is the model and whose choices shrink it.
func Import(ctx context.Context, o ImportOptions) (Imported, error) {
	release, err := holdFile(input.Out, o.Out)
	if err != nil {
		return Imported{}, err
	}
	defer release()
	r, model, s, err := o.read()
	if err != nil {
		return r, err
	}
	if r.Weights = o.Out; s != nil {
		r.Space = SpacePath(o.Out)
	}
	if o.Order.Data != "" {
		if model.Info.SpaceModel().IsConv() {
			return r, fmt.Errorf("%w is for vision transformers; %s is a convolutional network", input.OrderBy, o.File)
		}
		if model, err = o.Order.ordered(ctx, s, model); err != nil {
			return r, err
		}
	}
	return r, writeImported(model, s, o.Out, o.Command)
}

// writeImported writes a model with its card and its space, all of them or none.
func writeImported(model *export.Model, s *space.Space, to, command string) error {
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	if err := model.Write(set, to); err != nil {
		return err
	}
	if s != nil {
		if err := writeText(set, SpacePath(to), []byte(spaceText(s))); err != nil {
			return err
		}
	}
	card := export.Card{Info: model.Info, File: filepath.Base(to), Form: "safetensors, float32, timm's names and layouts", Command: command}
	if err := export.WriteSiblings(set, to, card); err != nil {
		return err
	}
	return set.Commit()
}

// read reads the model of a file, and the space whose choices shrink it.
func (o ImportOptions) read() (r Imported, model *export.Model, s *space.Space, err error) {
	if !slices.Contains([]string{FormAuto, FormPreNAS, FormAutoFormer, FormTimm}, o.Form) {
		return r, nil, nil, fmt.Errorf("%w %q: %v takes auto, prenas, autoformer or timm", ErrForm, o.Form, input.Form)
	}
	file, err := tensorfile.ReadAny(o.File)
	if err != nil {
		return r, nil, nil, err
	}
	if model, s, err = r.own(file, o); model == nil && err == nil {
		model, s, err = r.foreign(file, o)
	}
	if err != nil {
		return r, nil, nil, err
	}
	r.Tensors, r.Largest, r.Params, r.Classes = len(model.Tensors), model.Info.Arch, model.Info.Parameters, model.Info.Architecture.NumClasses
	return r, model, s, nil
}

// originOf names a file and its bytes.
func originOf(file string) (*export.Imported, error) {
	sum, err := fsys.Sum(file)
	return &export.Imported{File: filepath.Base(file), SHA256: sum}, err
}

// own is a model that export or import wrote: its file says all of it. nil where the file is another one.
func (r *Imported) own(file *tensorfile.File, o ImportOptions) (*export.Model, *space.Space, error) {
	model, err := export.Of(file)
	if err != nil {
		return nil, nil, nil // foreign tells what is wrong with it
	}
	if model.Info.Imported, err = originOf(o.File); err != nil {
		return nil, nil, err
	}
	r.Form, model.Info.Imported.Form = FormPreNAS, FormPreNAS
	model.Info.Arch = model.Info.SpaceArch().String() // it is the whole of its space
	model.Info.Licence = cmp.Or(o.Licence, model.Info.Licence)
	s, err := r.space(model.Info.SpaceModel(), model.Info.SpaceArch())
	if err != nil {
		return nil, nil, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	return model, s, nil
}

// space is the space whose supernet is a model; nil where it is a convolutional network whose
// blocks differ, which is told.
func (r *Imported) space(m space.Model, a space.Arch) (*space.Space, error) {
	if !m.IsConv() {
		return shrinkable(m, a)
	}
	s, err := shrinkableConv(m, a)
	if s == nil && err == nil {
		r.Notes = append(r.Notes, "there is no space beside it: its units or blocks differ in depth, kernel or expansion, and a supernet has one of each; eval, export, predict, finetune and teachers take the model")
	}
	return s, err
}

// foreign is a model of another training code.
func (r *Imported) foreign(file *tensorfile.File, o ImportOptions) (*export.Model, *space.Space, error) {
	from, err := pretrained.Of(file, o.File, o.Hints)
	if err != nil {
		return nil, nil, err
	}
	imported, err := originOf(o.File)
	if err != nil {
		return nil, nil, err
	}
	r.Form, r.Entry, r.Others, r.Skipped, r.Notes = from.Family, from.Entry, from.Others, from.LeftOut, from.Notes
	imported.Entry = from.Entry
	about := export.Info{Classes: from.Classes, Licence: cmp.Or(o.Licence, from.Licence), Imported: imported}
	var model *export.Model
	var s *space.Space
	if from.Supernet {
		model, s, err = r.supernet(o, from, about)
	} else {
		about.Imported.Form = r.Form
		about.Preprocess = r.preprocess(from.Model, from.Prep)
		if model, err = export.New(from.Tensors, from.Model, from.Arch, about); err == nil {
			s, err = r.space(from.Model, from.Arch)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	return model, s, nil
}

// SpacePath is the file of the space beside imported weights.
func SpacePath(weights string) string {
	return strings.TrimSuffix(weights, ".safetensors") + ".space.yaml"
}

// preprocess is what is known of the images, else ImageNet's normalisation.
func (r *Imported) preprocess(m space.Model, p pretrained.Preprocess) export.Preprocess {
	if len(p.Mean) != m.Channels || len(p.Std) != m.Channels {
		p.Mean, p.Std = []float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}
		if m.Channels != 3 {
			p.Mean, p.Std = slices.Repeat([]float32{0.449}, m.Channels), slices.Repeat([]float32{0.226}, m.Channels)
		}
		r.Notes = append(r.Notes, fmt.Sprintf("the file does not say how images are normalised: ImageNet's mean and deviation are taken (%v, %v)", input.Mean, input.Std))
	}
	return export.Preprocess{Size: m.ImageSize, Resize: max(p.Resize, m.ImageSize), Interpolation: export.Bicubic, Mean: p.Mean, Std: p.Std}
}

// supernet is the model of a supernet of PreNAS or AutoFormer: its whole.
func (r *Imported) supernet(o ImportOptions, from *pretrained.Model, about export.Info) (*export.Model, *space.Space, error) {
	weights := map[string]tensorfile.Tensor{}
	for _, name := range slices.Sorted(maps.Keys(from.Tensors)) {
		t := from.Tensors[name]
		values, err := t.Float32s()
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if o.Form == FormAutoFormer && strings.HasSuffix(name, ".attn.qkv.bias") && len(t.Shape) == 1 && t.Shape[0] > 0 && t.Shape[0]%3 == 0 {
			values = export.InterleaveQKV(values, 1)
		}
		weights[name] = tensorfile.FromFloat32(t.Shape, values)
	}
	r.Form = FormPreNAS
	if o.Form == FormAutoFormer {
		r.Form = FormAutoFormer
		r.Notes = append(r.Notes, "biases of qkv are exact at the supernet's number of heads; AutoFormer gives architectures of fewer heads other biases")
	} else if o.Form == FormAuto {
		r.Notes = append(r.Notes, fmt.Sprintf("AutoFormer's files have the same names as PreNAS's, but other rows in attn.qkv.bias: give %v autoformer if it is one", input.Form))
	}
	about.Imported.Form = r.Form
	s, err := ofSupernet(weights, o.Hints)
	if err != nil {
		return nil, nil, err
	}
	if o.Hints.Pool == "" {
		r.Notes = append(r.Notes, fmt.Sprintf("the mean of the patches is classified, as PreNAS's scripts train it (%v token for the class token)", input.Pool))
	}
	if err := fits(s, weights); err != nil {
		return nil, nil, err
	}
	about.Preprocess = r.preprocess(s.Model, pretrained.Preprocess{Mean: o.Hints.Mean, Std: o.Hints.Std})
	model, err := export.Take(weights, s.Model, s.Whole(), about)
	return model, s, err
}

// ofSupernet is the space whose supernet the weights are.
func ofSupernet(weights map[string]tensorfile.Tensor, h pretrained.Hints) (*space.Space, error) {
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
	headDim := h.HeadDim
	if headDim == 0 {
		headDim = s.Model.HeadDim
		if table := weights["blocks.0.attn.rel_pos_embed_k.embeddings_table_v"]; len(table.Shape) == 2 {
			headDim = table.Shape[1]
		}
	}
	dim := qkv[1]
	if headDim < 1 || qkv[0]%(3*headDim) != 0 {
		return nil, fmt.Errorf("tensor \"blocks.0.attn.qkv.weight\" has %d rows, which %d features a head do not divide: give %v", qkv[0], headDim, input.HeadDim)
	}
	s.Supernet = space.Supernet{EmbedDim: dim, Depth: depth, NumHeads: qkv[0] / (3 * headDim), MLPRatio: float64(fc1[0]) / float64(dim)}
	if s.Model, err = supernet.InferModel(s, weights); err != nil {
		return nil, err
	}
	s.Model.GlobalPool = h.Pool != pretrained.PoolToken
	whole, err := shrinkable(s.Model, s.Whole())
	if err != nil || !s.Model.SwitchNorm {
		return whole, err
	}
	return whole, fmt.Errorf("its norms are those of each embedding dim by itself (SWITCH_LN): search and train with the original's space file and %v, which needs no import", input.Weights)
}

// shrinkable is the space whose supernet is a model: choices of a half, three quarters and
// all of each width, and two thirds, five sixths and all of the depth.
func shrinkable(m space.Model, a space.Arch) (*space.Space, error) {
	if heads, ratios := each(a.NumHeads), each(a.MLPRatio); len(heads) > 1 || len(ratios) > 1 {
		return nil, fmt.Errorf("its blocks differ in heads (%v) or in the MLP's ratio (%v), which supernets do not", heads, ratios)
	}
	dim, depth, heads, ratio := a.EmbedDim, a.Depth(), a.NumHeads[0], a.MLPRatio[0]
	s := &space.Space{Name: "imported", Model: m, ModelGiven: true}
	s.Supernet = space.Supernet{EmbedDim: dim, Depth: depth, NumHeads: heads, MLPRatio: ratio}
	s.EmbedDim = fractions(dim, 8, 1./2, 3./4)
	s.Depth, s.NumHeads = fractions(depth, 1, 2./3, 5./6), fractions(heads, 1, 1./2, 3./4)
	s.MLPRatio = []float64{ratio / 2, ratio * 3 / 4, ratio}
	return withIntervals(s)
}

// withIntervals gives a space three intervals of parameters.
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

// modelWeights are the weights of a supernet in the file of a model, if it is one: those of
// the model, as slices of the supernet's, and the look of its images.
func modelWeights(file *tensorfile.File, s *space.Space) (own map[string]tensorfile.Tensor, look rundir.ImageInfo, err error) {
	m, err := export.Of(file)
	if err != nil {
		return nil, look, err
	}
	own, err = m.Weights()
	if err != nil {
		return nil, look, err
	}
	a, whole := m.Info.SpaceArch(), s.Whole()
	if !s.ModelGiven { // the space file says nothing of the model
		s.Model = m.Info.SpaceModel()
	}
	if !a.Equal(whole) {
		return nil, look, fmt.Errorf("%w %s: it holds a model of architecture %s, and the space's supernet is %s", supernet.ErrWeights, s.Name, a, whole)
	}
	return own, lookOf(m.Info), nil
}
