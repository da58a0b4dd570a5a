package proxy

import (
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"
)

// Proxies of the gradient g of the weights w, the loss being that of the batch: the plain sum of the
// logits, or the cross entropy with labels. One pass is a forward and a backward pass of all images.

// gradNorm is the sum over tensors of |g|₂ (Abdelfattah et al., Zero-Cost
// Proxies for Lightweight NAS, ICLR 2021). One pass.
func gradNorm(p *passes) (float64, error) {
	g, err := p.at(atWeights)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, tensor := range g.sum {
		sum := 0.0
		for _, v := range tensor {
			sum += float64(v) * float64(v)
		}
		total += math.Sqrt(sum)
	}
	return total, nil
}

// overWeights sums f of each weight and its gradient.
func (g *gradients) overWeights(f func(w, g float64) float64) (sum float64) {
	for i, tensor := range g.sum {
		for j, v := range tensor {
			sum += f(float64(g.weights[i][j]), float64(v))
		}
	}
	return sum
}

// snip is the sum of |w·g| (Lee et al., SNIP, ICLR 2019, as a score of
// architectures in Abdelfattah et al.). One pass.
func snip(p *passes) (float64, error) {
	g, err := p.at(atWeights)
	if err != nil {
		return 0, err
	}
	return g.overWeights(func(w, g float64) float64 { return math.Abs(w * g) }), nil
}

// plain is the sum of w·g (Abdelfattah et al.). One pass.
func plain(p *passes) (float64, error) {
	g, err := p.at(atWeights)
	if err != nil {
		return 0, err
	}
	return g.overWeights(func(w, g float64) float64 { return w * g }), nil
}

// grasp is the sum of -w·(Hg), H the Hessian (Wang et al., Picking Winning
// Tickets Before Training by Preserving Gradient Flow, ICLR 2020, as a score of
// architectures in Abdelfattah et al.). wᵀH is the derivative of the gradient
// along the weights, here the difference of the gradients at slightly larger and
// smaller weights: three passes.
func grasp(p *passes) (float64, error) {
	var at [3]*gradients
	for i, where := range []point{atWeights, atGrown, atShrunk} {
		var err error
		if at[i], err = p.at(where); err != nil {
			return 0, err
		}
	}
	sum := 0.0
	for i, tensor := range at[0].sum {
		for j, v := range tensor {
			sum += float64(v) * (float64(at[1].sum[i][j]) - float64(at[2].sum[i][j]))
		}
	}
	return -sum / (2 * growth), nil
}

// zico is, over the weight matrices and kernels, the sum of the logarithm of
// Σ mean(|g|) / deviation(|g|), both over batches (Li et al., ZiCo, ICLR 2023).
// A batch is a chunk of the images. A weight whose gradient never changes is left out, as
// in the paper's code. One pass.
func zico(p *passes) (float64, error) {
	g, err := p.at(atWeights)
	if err != nil {
		return 0, err
	}
	total, n := 0.0, float64(g.chunks)
	for i, absolute := range g.absolute {
		if name := p.net.Params()[i].Name; !strings.HasSuffix(name, ".weight") || len(p.net.Params()[i].Shape) < 2 {
			continue
		}
		sum := 0.0
		for j, a := range absolute {
			mean := a / n
			if variance := g.square[i][j]/n - mean*mean; variance > 1e-12*mean*mean {
				sum += mean / math.Sqrt(variance)
			}
		}
		if sum > 0 {
			total += math.Log(sum)
		}
	}
	return total, nil
}

// fisher is half the mean over images of Σ (Σ a·∂loss/∂a)², the inner sum over the
// tokens of a feature a, or over its pixels, the outer over the features that the matrices of the
// blocks put out, or the convolutions that a norm follows (Turner et al., BlockSwap, ICLR 2020, after Theis et al., Faster
// gaze prediction with dense networks and Fisher pruning, 2018; there the inner
// sum is over the pixels of a channel). One pass.
func fisher(p *passes) (float64, error) {
	g, err := p.at(atWeights)
	if err != nil {
		return 0, err
	}
	return g.fisher, nil
}

// dss is the sum over blocks of the diversity of attention, ‖g‖·‖w‖ in nuclear
// norms for qkv and proj each, and of the saliency of the MLP, Σ|w·g| (Zhou et al.,
// Training-free Transformer Architecture Search, CVPR 2022). Weights are absolute and
// the input is one image of ones, as in the paper's code. One pass of one chunk.
//
// The paper has it of transformers alone. Of a convolutional network it is ours: the 1x1 convolutions of a block mix
// features as attention's projections do, and have the diversity; the depthwise kernels have the saliency.
func dss(p *passes) (float64, error) {
	g, err := p.at(atLinear)
	if err != nil {
		return 0, err
	}
	total, read := 0.0, p.net.SliceShapes(p.arch)
	for i, param := range p.net.Params() {
		if g.sum[i] == nil {
			continue
		}
		of := func(suffixes ...string) bool {
			return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(param.Name, suffix) })
		}
		switch {
		case of("attn.qkv.weight", "attn.proj.weight", ".conv_pw.weight", ".conv_pwl.weight"):
			slice := func(values []float32) *mat.Dense { return corner(values, param.Shape[1], read[i][0], read[i][1]) }
			total += nuclear(slice(g.sum[i])) * nuclear(slice(g.weights[i]))
		case of("fc1.weight", "fc2.weight", ".conv_dw.weight"): // gradients are zero outside of what is read
			for j, v := range g.sum[i] {
				total += math.Abs(float64(v) * float64(g.weights[i][j]))
			}
		}
	}
	return total, nil
}

// corner is the first rows and columns of a matrix of so many columns.
func corner(values []float32, width, rows, columns int) *mat.Dense {
	m := mat.NewDense(rows, columns, nil)
	for r := range rows {
		for c := range columns {
			m.Set(r, c, float64(values[r*width+c]))
		}
	}
	return m
}

// singular values, descending.
func singular(m *mat.Dense) []float64 {
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDNone) {
		return []float64{math.NaN()}
	}
	return svd.Values(nil)
}

// nuclear norm: the sum of the singular values.
func nuclear(m *mat.Dense) (sum float64) {
	for _, v := range singular(m) {
		sum += v
	}
	return sum
}
