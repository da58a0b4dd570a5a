package supernet

import (
	"fmt"
	"math"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// InferModel reads off the weights of a supernet what its model is, for space
// files in the original's form, which say nothing of it (the original took it
// as flags). What weights do not show, global pooling and, without absolute
// positions, the size of images, stays as in s.Model.
func InferModel(s *space.Space, weights map[string]tensorfile.Tensor) (space.Model, error) {
	m := s.Model
	shape := func(name string, rank int) ([]int, error) {
		t, ok := weights[name]
		if !ok || len(t.Shape) != rank {
			return nil, fmt.Errorf("%w: tensor %q of rank %d is missing", ErrWeights, name, rank)
		}
		return t.Shape, nil
	}
	patch, err := shape("patch_embed_super.proj.weight", 4)
	if err != nil {
		return m, err
	}
	head, err := shape("head.weight", 2)
	if err != nil {
		return m, err
	}
	qkv, err := shape(blockName(0, "attn.qkv.weight"), 2)
	if err != nil {
		return m, err
	}
	m.Channels, m.PatchSize, m.NumClasses = patch[1], patch[2], head[0]
	m.HeadDim = qkv[0] / (3 * s.Supernet.NumHeads)
	_, m.QKVBias = weights[blockName(0, "attn.qkv.bias")]
	table, relative := weights[blockName(0, relativeTables[0])]
	if m.RelativePosition = relative; relative && len(table.Shape) == 2 {
		m.MaxRelativePosition = (table.Shape[0] - 2) / 2
	}
	_, m.SwitchNorm = weights[switchedName("norm.weight", 0)]
	_, m.ScaleAttn = weights[blockName(0, "attn.qk_scaling.scalings")]
	_, m.ScaleMLP = weights[blockName(0, "mlp_scaling.scalings")]
	_, m.ScaleEmbed = weights["embed_scaling.scalings"]
	positions, absolute := weights["pos_embed"]
	if m.AbsPos = absolute; absolute && len(positions.Shape) == 3 {
		side := int(math.Round(math.Sqrt(float64(positions.Shape[1] - m.Prefix()))))
		m.ImageSize = side * m.PatchSize
	}
	return m, nil
}
