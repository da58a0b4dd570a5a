package supernet

import (
	"fmt"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/tensorfile"
)

// With SWITCH_LN in a space's MODEL block every norm has weights of its own for each
// embedding dim, attn_layer_norm.lns.0.weight for the first of the list: slices of one
// norm's weights must fit activations of all widths at once. Only the norms of an
// architecture's embedding dim take part in its updates.

// switchedName is the name of a norm's weight (norm.weight) for choice number k.
func switchedName(name string, k int) string {
	dot := strings.LastIndexByte(name, '.')
	return fmt.Sprintf("%s.lns.%d%s", name[:dot], k, name[dot:])
}

// switched puts in place of a norm's weight one for each embedding dim.
func (n *Net) switched(p Param) []Param {
	var all []Param
	for k, dim := range n.space.EmbedDim {
		one := p
		one.Name, one.Shape, one.dim = switchedName(p.Name, k), []int{dim}, dim
		all = append(all, one)
	}
	return all
}

// NormDims are the embedding dims that a supernet's norms are switched between, by the last norm's weights.
func NormDims(weights map[string]tensorfile.Tensor) (dims []int) {
	for {
		t, has := weights[switchedName("norm.weight", len(dims))]
		if !has || len(t.Shape) != 1 {
			return dims
		}
		dims = append(dims, t.Shape[0])
	}
}

// normVector is the first size values of a norm's weight.
func (v *vit) normVector(name string, size int) *graph.Node {
	if v.space.Model.SwitchNorm {
		for k, dim := range v.space.EmbedDim {
			if dim == size {
				return v.weight(switchedName(name, k))
			}
		}
		panic(fmt.Errorf("supernet: %s: %d is none of the embedding dims that have norms", v.Arch, size))
	}
	return v.vector(name, size)
}

// normVector is a norm's weight [A, embed_dim]; beyond the architecture's it is anything.
func (v *masked) normVector(name string) *graph.Node {
	if !v.space.Model.SwitchNorm {
		return v.weight(name)
	}
	dims := v.space.EmbedDim
	pick := v.oneHot(sizeColumn(v.f.Sizes, 0), dims)
	var sum *graph.Node
	for k := range dims {
		one := v.widen(v.weight(switchedName(name, k)), v.space.Supernet.EmbedDim)
		one = graph.Mul(one, graph.Slice(pick, graph.AxisRange(), graph.AxisRange(k, k+1)))
		if sum == nil {
			sum = one
		} else {
			sum = graph.Add(sum, one)
		}
	}
	return sum
}
