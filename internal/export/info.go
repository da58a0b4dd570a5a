package export

import (
	"fmt"
	"math"
	"slices"

	"prenas/internal/engine"
	"prenas/internal/printable"
	"prenas/internal/strictjson"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Info is what a model's file says of it, as JSON; docs/export.md has every key.
type Info struct {
	Format       int          `json:"format"`
	Kind         string       `json:"kind"`
	Arch         string       `json:"arch"`
	Architecture Architecture `json:"architecture"`
	Preprocess   Preprocess   `json:"preprocess"`
	Classes      []string     `json:"classes"` // by label; labels beyond the list have no name
	Data         Data         `json:"data"`
	Training     Training     `json:"training"`
	Accuracy     *Accuracy    `json:"accuracy,omitempty"` // nil: not measured with these weights
	Parameters   int64        `json:"parameters"`
	MACs         int64        `json:"macs"`            // multiply-accumulates of one image
	Costs        []Cost       `json:"costs,omitempty"` // what else it was asked to stay within
	Licence      string       `json:"licence"`
	// Imported says where weights of another training code come from; nil: trained here.
	Imported *Imported `json:"imported,omitempty"`
}

// Imported names the file that a model was imported from.
type Imported struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Form   string `json:"form"`            // whose names the tensors had
	Entry  string `json:"entry,omitempty"` // of the file that held them
}

const infoFormat = 1

// Cost is what a model takes of something that its search was asked to stay within.
type Cost struct {
	Name  string  `json:"name"` // latency or memory
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	On    string  `json:"on,omitempty"` // what it was measured on
}

// Architecture is all that a graph of the model needs: what models of every kind have,
// and the keys of its own kind.
type Architecture struct {
	ImageSize  int     `json:"image_size"`
	Channels   int     `json:"channels"`
	NumClasses int     `json:"num_classes"`
	NormEps    float64 `json:"norm_eps"`
	*ViT
	*Conv
}

// Preprocess says how an image becomes an input: the shorter side is resized to
// Resize, the middle Size x Size is cut out, and each channel of pixels in [0, 1] is
// normalised, (x - Mean) / Std.
type Preprocess struct {
	Size          int       `json:"size"`
	Resize        int       `json:"resize"`
	Interpolation string    `json:"interpolation"`
	Mean          []float32 `json:"mean"`
	Std           []float32 `json:"std"`
}

// Data names the images of the training.
type Data struct {
	Source string `json:"source"`
	Digest string `json:"digest"`
}

// Training says where the weights come from.
type Training struct {
	Steps  int    `json:"steps"`        // updates behind the weights
	Of     int    `json:"of,omitempty"` // of the whole run, where it had not ended
	Seed   uint64 `json:"seed"`
	Recipe string `json:"recipe"` // digest
}

// Accuracy was measured on images that had no part in the training.
type Accuracy struct {
	Source string  `json:"source,omitempty"` // of the images
	Digest string  `json:"digest,omitempty"`
	Split  string  `json:"split"`
	Images int     `json:"images"`
	Bad    int     `json:"skipped,omitempty"` // damaged ones that were left out
	Crops  int     `json:"crops,omitempty"`   // of an image; 0: not said, one
	Top1   float64 `json:"top1"`              // fraction of the images
	// Top1Interval is its 95 % interval; not said in files of earlier versions.
	Top1Interval *[2]float64 `json:"top1_interval,omitempty"`

	Top5 float64 `json:"top5"`
	// Precision of products, where it was not float32.
	Precision engine.Precision `json:"precision,omitempty"`
}

// describe returns the Info with what follows from model and architecture filled in.
func (i Info) describe(m space.Model, a space.Arch) Info {
	i.Format, i.Arch = infoFormat, a.String()
	i.Architecture = Architecture{ImageSize: m.Side(a), Channels: m.Channels, NumClasses: m.NumClasses}
	if m.IsConv() {
		i.Kind, i.Architecture.NormEps, i.Architecture.Conv = kindConv, supernet.BatchNormEps, newConv(m, a)
	} else {
		i.Kind, i.Architecture.NormEps, i.Architecture.ViT = kindViT, m.Eps(), newViT(m, a)
	}
	i.Parameters, i.MACs = m.Params(a), m.MACs(a)
	if i.Classes == nil {
		i.Classes = []string{}
	}
	return i
}

// ClassName of a label; a label without a name has its number.
func (i Info) ClassName(label int) string {
	if label < len(i.Classes) {
		return i.Classes[label]
	}
	return fmt.Sprintf("class %d", label)
}

// SpaceModel is the part of the architecture that all of its space had in common, but
// for the size of images, which is the architecture's own.
func (i Info) SpaceModel() space.Model {
	m := i.Architecture.family().model()
	m.ImageSize, m.Channels, m.NumClasses = i.Architecture.ImageSize, i.Architecture.Channels, i.Architecture.NumClasses
	return m
}

// SpaceArch is the architecture as a network of its own: Arch also says which blocks of the
// supernet it kept.
func (i Info) SpaceArch() space.Arch {
	a := i.Architecture.family().arch()
	if a.IsConv() {
		a.Resolution = i.Architecture.ImageSize
	}
	return a
}

// CutArch is the architecture in the supernet that it was cut out of: SpaceArch, and the blocks
// that it kept there.
func (i Info) CutArch() space.Arch {
	a := i.SpaceArch()
	if cut, err := space.ParseArch(i.Arch); err == nil {
		a.Layers = cut.Layers
	}
	return a
}

// ParseInfo reads the JSON of an Info and refuses what no graph can be built from.
func ParseInfo(text []byte) (Info, error) {
	var i Info
	if err := strictjson.UnmarshalKnown(text, &i); err != nil {
		return Info{}, fmt.Errorf("%w: its description: %w", ErrModel, err)
	}
	if err := i.check(); err != nil {
		return Info{}, fmt.Errorf("%w: its description: %w", ErrModel, err)
	}
	return i, nil
}

func (i Info) check() error {
	if i.Format != infoFormat || i.Kind != kindViT && i.Kind != kindConv {
		return fmt.Errorf("format %d of kind %q; this version reads format %d of kinds %q and %q", i.Format, i.Kind, infoFormat, kindViT, kindConv)
	}
	if has := i.Architecture; (has.ViT != nil) != (i.Kind == kindViT) || (has.Conv != nil) != (i.Kind == kindConv) {
		return fmt.Errorf("its kind is %q, but its architecture has the keys of another", i.Kind)
	}
	arch, err := space.ParseArch(i.Arch)
	if err != nil {
		return err
	}
	m := i.SpaceModel()
	arch = arch.Alone()
	if !arch.Equal(i.SpaceArch()) {
		return fmt.Errorf("arch is %s, but architecture lists another", i.Arch)
	}
	if err := m.Validate(); err != nil {
		return err
	}
	if err := i.Architecture.family().check(m, arch); err != nil {
		return err
	}
	if eps := i.describe(m, arch).Architecture.NormEps; i.Architecture.NormEps != eps {
		return fmt.Errorf("norm_eps is %v; this version computes %v", i.Architecture.NormEps, eps)
	}
	if len(i.Classes) > m.NumClasses {
		return fmt.Errorf("%d names for %s", len(i.Classes), printable.Count(m.NumClasses, "class"))
	}
	return i.Preprocess.check(m)
}

func (p Preprocess) check(m space.Model) error {
	switch {
	case p.Size != m.ImageSize:
		return fmt.Errorf("preprocess.size is %d, the architecture takes %d", p.Size, m.ImageSize)
	case p.Resize < p.Size || p.Resize > 1<<13:
		return fmt.Errorf("preprocess.resize is %d; it must be at least size, %d", p.Resize, p.Size)
	case p.Interpolation != Bicubic:
		return fmt.Errorf("preprocess.interpolation is %q; this version has %q", p.Interpolation, Bicubic)
	case len(p.Mean) != m.Channels || len(p.Std) != m.Channels:
		return fmt.Errorf("preprocess has %d means and %d deviations for %s", len(p.Mean), len(p.Std), printable.Count(m.Channels, "channel"))
	case slices.ContainsFunc(p.Mean, notFinite) || slices.ContainsFunc(p.Std, func(v float32) bool { return notFinite(v) || v <= 0 }):
		return fmt.Errorf("preprocess.mean and std must be finite, std above 0")
	}
	return nil
}

// Bicubic is the interpolation of resizing: a = -0.5, antialiased, as PIL has it.
const Bicubic = "bicubic"

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
