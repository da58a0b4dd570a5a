package latency

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"prenas/internal/engine"
	"prenas/internal/printable"
	"prenas/pkg/space"
)

// ErrLatency is a measurement that cannot be made or used.
var ErrLatency = errors.New("latency")

// maxLayers bounds the models that parts are measured on: more layers tell a
// part's time apart from noise, and take longer to compile.
const maxLayers = 8

// Dim is what the parts cost at one embedding dim, in milliseconds. Heads and
// MLP are what a choice takes beyond the smallest, in ascending order of
// choices; small ones may come out below 0.
type Dim struct {
	EmbedDim int       `json:"embed_dim"`
	Trunk    float64   `json:"trunk_ms"`
	Block    float64   `json:"block_ms"` // of the smallest heads and ratio
	Heads    []float64 `json:"heads_ms"`
	MLP      []float64 `json:"mlp_ms"`
}

// Profile is the latency of a space's parts on one machine.
type Profile struct {
	Machine  string    `json:"machine"`
	Batch    int       `json:"batch"`
	Layers   int       `json:"layers"` // of the deeper measured models
	NumHeads []int     `json:"num_heads"`
	MLPRatio []float64 `json:"mlp_ratio"`
	Dims     []Dim     `json:"dims"`
}

// Measure measures the parts of a space, which takes seconds per embedding dim.
// progress, if not nil, is told of the dims done.
func Measure(ctx context.Context, e *engine.Engine, s *space.Space, batch int, progress func(done, total int)) (*Profile, error) {
	if batch < 1 {
		return nil, fmt.Errorf("%w: a batch of %s; it must be at least 1", ErrLatency, printable.Count(batch, "image"))
	}
	p := &Profile{
		Machine: machine(e), Batch: batch, Layers: max(2, min(slices.Max(s.Depth), maxLayers)),
		NumHeads: slices.Sorted(slices.Values(s.NumHeads)), MLPRatio: slices.Sorted(slices.Values(s.MLPRatio)),
	}
	for i, dim := range s.EmbedDim {
		times, err := measure(ctx, e, s.Model, p.models(dim), batch)
		if err != nil {
			return nil, err
		}
		p.Dims = append(p.Dims, p.parts(dim, times))
		if progress != nil {
			progress(i+1, len(s.EmbedDim))
		}
	}
	return p, nil
}

// models are the architectures that tell the parts of a dim apart: one layer,
// then Layers of the smallest choices, of each other heads, of each other ratio.
func (p *Profile) models(dim int) []space.Arch {
	uniform := func(layers, heads int, ratio float64) space.Arch {
		return space.Arch{EmbedDim: dim, NumHeads: slices.Repeat([]int{heads}, layers), MLPRatio: slices.Repeat([]float64{ratio}, layers)}
	}
	heads, ratio := p.NumHeads[0], p.MLPRatio[0]
	models := []space.Arch{uniform(1, heads, ratio), uniform(p.Layers, heads, ratio)}
	for _, h := range p.NumHeads[1:] {
		models = append(models, uniform(p.Layers, h, ratio))
	}
	for _, r := range p.MLPRatio[1:] {
		models = append(models, uniform(p.Layers, heads, r))
	}
	return models
}

// parts solves for a dim's parts from the times of its models.
func (p *Profile) parts(dim int, times []float64) Dim {
	layers := float64(p.Layers)
	one, deep, others := times[0], times[1], times[2:]
	block := (deep - one) / (layers - 1)
	d := Dim{EmbedDim: dim, Trunk: one - block, Block: block, Heads: []float64{0}, MLP: []float64{0}}
	for i, t := range others {
		part := &d.Heads
		if i >= len(p.NumHeads)-1 {
			part = &d.MLP
		}
		*part = append(*part, (t-deep)/layers)
	}
	return d
}

// Trunk is the latency outside of the blocks, in milliseconds.
func (p *Profile) Trunk(dim int) float64 { return p.dim(dim).Trunk }

// Block is the latency of a block of the smallest choices, in milliseconds.
func (p *Profile) Block(dim int) float64 { return p.dim(dim).Block }

// Heads is what a block takes for a number of heads beyond the smallest.
func (p *Profile) Heads(dim, heads int) float64 {
	return p.dim(dim).Heads[slices.Index(p.NumHeads, heads)]
}

// MLP is what a block takes for an MLP ratio beyond the smallest.
func (p *Profile) MLP(dim int, ratio float64) float64 {
	return p.dim(dim).MLP[slices.Index(p.MLPRatio, ratio)]
}

func (p *Profile) dim(dim int) Dim {
	return p.Dims[slices.IndexFunc(p.Dims, func(d Dim) bool { return d.EmbedDim == dim })]
}

// Predict is the latency of an architecture of the space, in milliseconds.
func (p *Profile) Predict(a space.Arch) float64 {
	ms := p.Trunk(a.EmbedDim)
	for l := range a.NumHeads {
		ms += p.Block(a.EmbedDim) + p.Heads(a.EmbedDim, a.NumHeads[l]) + p.MLP(a.EmbedDim, a.MLPRatio[l])
	}
	return ms
}

// serves tells whether the profile has all choices of a space.
func (p *Profile) serves(s *space.Space) bool {
	for _, dim := range s.EmbedDim {
		at := slices.IndexFunc(p.Dims, func(d Dim) bool { return d.EmbedDim == dim })
		if at < 0 || len(p.Dims[at].Heads) != len(p.NumHeads) || len(p.Dims[at].MLP) != len(p.MLPRatio) {
			return false
		}
	}
	return slices.Equal(p.NumHeads, slices.Sorted(slices.Values(s.NumHeads))) &&
		slices.Equal(p.MLPRatio, slices.Sorted(slices.Values(s.MLPRatio)))
}

// String says what was measured where, for manifests.
func (p *Profile) String() string {
	return fmt.Sprintf("milliseconds of a batch of %d on %s", p.Batch, p.Machine)
}
