package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"prenas/internal/space"
	"prenas/internal/supernet"
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
	MACs         int64        `json:"macs"` // multiply-accumulates of one image
	Licence      string       `json:"licence"`
}

const (
	infoFormat = 1
	kindViT    = "vit"
	// maxTokens bounds attention, which no tensor's size in the file does.
	maxTokens = 1<<14 + 1
)

// Architecture is all that a graph of the model needs.
type Architecture struct {
	EmbedDim            int       `json:"embed_dim"`
	Depth               int       `json:"depth"`
	NumHeads            []int     `json:"num_heads"`  // per block
	MLPRatio            []float64 `json:"mlp_ratio"`  // per block
	MLPHidden           []int     `json:"mlp_hidden"` // per block: embed_dim · mlp_ratio, truncated
	HeadDim             int       `json:"head_dim"`
	ImageSize           int       `json:"image_size"`
	PatchSize           int       `json:"patch_size"`
	Channels            int       `json:"channels"`
	NumClasses          int       `json:"num_classes"`
	RelativePosition    bool      `json:"relative_position"`
	MaxRelativePosition int       `json:"max_relative_position"`
	GlobalPool          bool      `json:"global_pool"`
	AbsPos              bool      `json:"abs_pos"`
	QKVBias             bool      `json:"qkv_bias"`
	NormEps             float64   `json:"norm_eps"`
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
	Steps  int    `json:"steps"` // updates behind the weights
	Seed   uint64 `json:"seed"`
	Recipe string `json:"recipe"` // digest
}

// Accuracy was measured on images that had no part in the training.
type Accuracy struct {
	Split  string  `json:"split"`
	Images int     `json:"images"`
	Top1   float64 `json:"top1"` // fraction of the images
	Top5   float64 `json:"top5"`
}

// describe returns the Info with what follows from model and architecture filled in.
func (i Info) describe(m space.Model, a space.Arch) Info {
	i.Format, i.Kind, i.Arch = infoFormat, kindViT, a.String()
	i.Architecture = Architecture{
		EmbedDim: a.EmbedDim, Depth: a.Depth(), NumHeads: a.NumHeads, MLPRatio: a.MLPRatio, HeadDim: m.HeadDim,
		ImageSize: m.ImageSize, PatchSize: m.PatchSize, Channels: m.Channels, NumClasses: m.NumClasses,
		RelativePosition: m.RelativePosition, MaxRelativePosition: m.MaxRelativePosition,
		GlobalPool: m.GlobalPool, AbsPos: m.AbsPos, QKVBias: m.QKVBias, NormEps: supernet.LayerNormEps,
	}
	for _, ratio := range a.MLPRatio {
		i.Architecture.MLPHidden = append(i.Architecture.MLPHidden, space.Hidden(a.EmbedDim, ratio))
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

// SpaceModel is the part of the architecture that all of its space had in common.
func (i Info) SpaceModel() space.Model {
	a := i.Architecture
	return space.Model{
		ImageSize: a.ImageSize, PatchSize: a.PatchSize, Channels: a.Channels, NumClasses: a.NumClasses, HeadDim: a.HeadDim,
		RelativePosition: a.RelativePosition, MaxRelativePosition: a.MaxRelativePosition,
		GlobalPool: a.GlobalPool, AbsPos: a.AbsPos, QKVBias: a.QKVBias,
	}
}

// SpaceArch is the architecture in its space.
func (i Info) SpaceArch() space.Arch {
	return space.Arch{EmbedDim: i.Architecture.EmbedDim, NumHeads: i.Architecture.NumHeads, MLPRatio: i.Architecture.MLPRatio}
}

// ParseInfo reads the JSON of an Info and refuses what no graph can be built from.
func ParseInfo(text []byte) (Info, error) {
	var i Info
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&i); err != nil {
		return Info{}, fmt.Errorf("%w: its description: %v", ErrModel, err)
	}
	if err := i.check(); err != nil {
		return Info{}, fmt.Errorf("%w: its description: %w", ErrModel, err)
	}
	return i, nil
}

func (i Info) check() error {
	if i.Format != infoFormat || i.Kind != kindViT {
		return fmt.Errorf("format %d of kind %q; this version reads format %d of kind %q", i.Format, i.Kind, infoFormat, kindViT)
	}
	arch, err := space.ParseArch(i.Arch)
	if err != nil {
		return err
	}
	if !arch.Equal(i.SpaceArch()) || i.Architecture.Depth != arch.Depth() {
		return fmt.Errorf("arch is %s, but architecture lists another", i.Arch)
	}
	m := i.SpaceModel()
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Tokens() > maxTokens {
		return fmt.Errorf("%d tokens an image are more than %d", m.Tokens(), maxTokens)
	}
	if derived := i.describe(m, arch).Architecture; !slices.Equal(i.Architecture.MLPHidden, derived.MLPHidden) {
		return fmt.Errorf("mlp_hidden is %v, %s has %v", i.Architecture.MLPHidden, i.Arch, derived.MLPHidden)
	}
	if i.Architecture.NormEps != supernet.LayerNormEps {
		return fmt.Errorf("norm_eps is %v; this version computes %v", i.Architecture.NormEps, supernet.LayerNormEps)
	}
	if len(i.Classes) > m.NumClasses {
		return fmt.Errorf("%d names for %d classes", len(i.Classes), m.NumClasses)
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
		return fmt.Errorf("preprocess has %d means and %d deviations for %d channels", len(p.Mean), len(p.Std), m.Channels)
	case slices.ContainsFunc(p.Mean, notFinite) || slices.ContainsFunc(p.Std, func(v float32) bool { return notFinite(v) || v <= 0 }):
		return fmt.Errorf("preprocess.mean and std must be finite, std above 0")
	}
	return nil
}

// Bicubic is the interpolation of resizing: a = -0.5, antialiased, as PIL has it.
const Bicubic = "bicubic"

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
