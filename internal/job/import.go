package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
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

// Forms of weights that Import can be told. Auto finds the form by the names of the tensors, but
// AutoFormer's supernets have the same names as PreNAS's.
const (
	FormAuto       = "auto"
	FormPreNAS     = "prenas"
	FormAutoFormer = "autoformer"
	FormTimm       = "timm"
)

// Errors of Import.
var (
	// ErrForm: there is no form of weights of that name.
	ErrForm = errors.New("unknown form of weights")
	// ErrImport: the tensors of a file are not those of a known model.
	ErrImport = pretrained.ErrFile
	// ErrAsk: the file does not say something that a flag then must.
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
	Entry   string   `json:"entry"`   // of the file, that held the weights
	Others  []string `json:"others"`  // other entries of the file that hold a model
	Skipped []string `json:"skipped"` // tensors that the outputs do not depend on
	Notes   []string `json:"notes"`
	Tensors int      `json:"tensors"`
	Weights string   `json:"weights"`
	Space   string   `json:"space"` // file of the space to search in
	Largest string   `json:"largest"`
	Params  int64    `json:"params"` // of the largest
	Classes int      `json:"classes"`
}

// Import reads the weights of another training code and writes them as a model with its card.
// Beside it goes a space file, whose supernet is the model and whose choices are smaller ones.
//
// Its errors wrap ErrForm, ErrImport or ErrAsk.
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
	r.Weights, r.Space = o.Out, SpacePath(o.Out)
	if o.Order.Data != "" {
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
	if err := writeText(set, SpacePath(to), []byte(spaceText(s))); err != nil {
		return err
	}
	card := export.Card{Info: model.Info, File: filepath.Base(to), Form: "safetensors, float32, timm's names and layouts", Command: command}
	if err := export.WriteSiblings(set, to, card); err != nil {
		return err
	}
	return set.Commit()
}

// read reads the model of a file, and makes the space whose choices shrink it.
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

// originOf is the name and the digest of a file.
func originOf(file string) (*export.Imported, error) {
	sum, err := fsys.Sum(file)
	return &export.Imported{File: filepath.Base(file), SHA256: sum}, err
}

// own reads a model that export or import wrote, whose file describes it fully. It returns nil where
// the file is another one.
func (r *Imported) own(file *tensorfile.File, o ImportOptions) (*export.Model, *space.Space, error) {
	model, err := export.Of(file)
	if err != nil {
		return nil, nil, nil // not ours: foreign says what is wrong if it is no model at all
	}
	if model.Info.Imported, err = originOf(o.File); err != nil {
		return nil, nil, err
	}
	r.Form, model.Info.Imported.Form = FormPreNAS, FormPreNAS
	model.Info.Arch = model.Info.SpaceArch().String() // as the largest of its space is called
	model.Info.Licence = cmp.Or(o.Licence, model.Info.Licence)
	s, err := shrinkableSpace(model.Info.SpaceModel(), model.Info.SpaceArch())
	if err != nil {
		return nil, nil, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	return model, s, nil
}

// shrinkableSpace is the space whose supernet is a model, of either family.
func shrinkableSpace(m space.Model, a space.Arch) (*space.Space, error) {
	if m.IsConv() {
		return shrinkableConv(m, a)
	}
	return shrinkable(m, a)
}

// foreign reads a model of another training code.
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
			s, err = shrinkableSpace(from.Model, from.Arch)
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

// preprocess is how images are prepared. Where the file does not say how they are normalised it is
// ImageNet's way, which is noted.
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

// supernet makes a model of a supernet of PreNAS or AutoFormer, all of it, and its space.
func (r *Imported) supernet(o ImportOptions, from *pretrained.Model, about export.Info) (*export.Model, *space.Space, error) {
	weights, err := supernetWeights(from.Tensors, o.Form)
	if err != nil {
		return nil, nil, err
	}
	r.Form = r.supernetForm(o.Form)
	about.Imported.Form = r.Form
	own, whole, err := ofSupernet(weights, o.Hints)
	if err != nil {
		return nil, nil, err
	}
	if o.Hints.Pool == "" {
		r.Notes = append(r.Notes, fmt.Sprintf("the mean of the patches is classified, as PreNAS's scripts train it (%v token for the class token)", input.Pool))
	}
	if err := fits(own, weights); err != nil {
		return nil, nil, err
	}
	if own.Model.SwitchNorm {
		if weights, err = supernet.New(own).Fold(weights, whole); err != nil {
			return nil, nil, err
		}
		r.Notes = append(r.Notes, fmt.Sprintf("its norms are those of each embedding dim by itself (%v): the model is that of %d, and the norms of the others are left out. To train the supernet on, search with the original's space file and %v, which needs no import", own.EmbedDim, whole.EmbedDim, input.Weights))
	}
	m := own.Model.Plain()
	s, err := shrinkable(m, whole)
	if err != nil {
		return nil, nil, err
	}
	about.Preprocess = r.preprocess(m, pretrained.Preprocess{Mean: o.Hints.Mean, Std: o.Hints.Std})
	model, err := export.Take(weights, m, whole, about)
	return model, s, err
}

// supernetForm is the form of a supernet's weights, AutoFormer's or else PreNAS's, since the file
// does not tell them apart. It notes what that means for the weights.
func (r *Imported) supernetForm(asked string) string {
	switch asked {
	case FormAutoFormer:
		r.Notes = append(r.Notes, "biases of qkv are exact at the supernet's number of heads; AutoFormer gives architectures of fewer heads other biases")
		return FormAutoFormer
	case FormAuto:
		r.Notes = append(r.Notes, fmt.Sprintf("AutoFormer's files have the same names as PreNAS's, but other rows in attn.qkv.bias: give %v autoformer if it is one", input.Form))
	}
	return FormPreNAS
}

// supernetWeights are the tensors of a supernet in float32. AutoFormer's biases of qkv [3·heads·dim]
// get the order of PreNAS's.
func supernetWeights(all map[string]tensorfile.Tensor, form string) (map[string]tensorfile.Tensor, error) {
	weights := map[string]tensorfile.Tensor{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t := all[name]
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if form == FormAutoFormer && strings.HasSuffix(name, ".attn.qkv.bias") && len(t.Shape) == 1 && t.Shape[0] > 0 && t.Shape[0]%3 == 0 {
			values = export.InterleaveQKV(values, 1)
		}
		weights[name] = tensorfile.FromFloat32(t.Shape, values)
	}
	return weights, nil
}

// modelWeights reads the weights of a space's supernet from the file of a model whose architecture
// is the whole supernet. look is how the model's images are normalised.
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
	if !s.ModelGiven { // the space file does not describe the model
		s.Model = m.Info.SpaceModel()
	}
	if !a.Equal(whole) {
		return nil, look, fmt.Errorf("%w %s: it holds a model of architecture %s, and the space's supernet is %s", supernet.ErrWeights, s.Name, a, whole)
	}
	return own, lookOf(m.Info), nil
}
