package proxy

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"gonum.org/v1/gonum/mat"

	"prenas/internal/engine"
	"prenas/internal/supernet"
)

// Proxies of activations: one forward pass of all images at once, and what each says.

// lookAtCodes puts out, for each pair of images, how many hidden units are both
// positive or both not, [N, N].
func lookAtCodes(f *forward) {
	f.put("codes", func() *graph.Node {
		var equal *graph.Node
		for _, x := range f.sites[supernet.SiteHidden] {
			n := x.Shape().Dimensions[0]
			on := graph.ConvertDType(graph.GreaterThan(x, graph.ZerosLike(x)), dtypes.Float32)
			sign := graph.Reshape(graph.AddScalar(graph.MulScalar(on, 2), -1), n, -1)
			// Signs agree in (units + product) / 2 places.
			product := graph.DotGeneral(sign, []int{1}, nil, sign, []int{1}, nil)
			agree := graph.MulScalar(graph.AddScalar(product, float64(sign.Shape().Dimensions[1])), 0.5)
			if equal == nil {
				equal = agree
			} else {
				equal = graph.Add(equal, agree)
			}
		}
		return equal
	})
}

// naswot is log|det K|, K[i, j] the hidden units at which images i and j have the
// same sign before the activation function (Mellor et al., Neural Architecture
// Search without Training, ICML 2021; there of ReLU).
func naswot(p *passes) (float64, error) {
	codes, err := p.look("codes")
	if err != nil {
		return 0, err
	}
	value, _ := mat.LogDet(codes.matrix())
	return value, nil
}

// byPlace is an activation as [N, places, features]: a transformer's tokens or an image's pixels.
func byPlace(x *graph.Node) *graph.Node {
	d := x.Shape().Dimensions
	return graph.Reshape(x, d[0], -1, d[len(d)-1])
}

// perturbation of zen's images.
const perturbation = 0.01

// lookAtPerturbed puts out how far the last block's output moves when the images
// do, a mean over images, and the mean variance that each norm before it
// divides by.
func lookAtPerturbed(f *forward) {
	last := func(sites map[supernet.Site][]*graph.Node) *graph.Node {
		blocks := sites[supernet.SiteBlock]
		return blocks[len(blocks)-1]
	}
	f.put("moved", func() *graph.Node {
		perturbed := f.again(graph.Add(f.images, graph.MulScalar(f.noise, perturbation)))
		change := graph.Square(graph.Sub(last(f.sites), last(perturbed)))
		change = graph.Reshape(change, change.Shape().Dimensions[0], -1)
		return graph.ReduceAllMean(graph.Sqrt(graph.ReduceSum(change, 1)))
	})
	f.put("variances", func() *graph.Node {
		norms := f.sites[supernet.SiteNorm]
		norms = norms[:len(norms)-1] // the last norm is after the last block
		var all []*graph.Node
		for _, x := range norms {
			axes := []int{-1} // a layer norm's
			if f.net.Space().Model.IsConv() {
				axes = []int{0, 1, 2}
			}
			mean := graph.ReduceAndKeep(x, graph.ReduceMean, axes...)
			variance := graph.ReduceAllMean(graph.Square(graph.Sub(x, mean)))
			all = append(all, graph.Reshape(variance, 1))
		}
		return graph.Concatenate(all, 0)
	})
}

// zen is log E‖f(x) - f(x + 0.01·ε)‖ + Σ log σ, f being what goes into pooling (of a
// transformer before the final norm), ε standard normal and σ² the mean of the
// variances that a norm divides by (Lin et al., Zen-NAS, ICCV 2021). The paper has
// batch norms and weights and images drawn standard normal; here the norms are
// those of the network, and weights and images those that are scored. Two
// forward passes.
func zen(p *passes) (float64, error) {
	moved, err := p.look("moved")
	if err != nil {
		return 0, err
	}
	variances, err := p.look("variances")
	if err != nil {
		return 0, err
	}
	score := math.Log(float64(moved.values[0]))
	for _, v := range variances.values {
		score += math.Log(float64(v)) / 2
	}
	return score, nil
}

// lookAtTokens puts out token_entropy.
func lookAtTokens(f *forward) {
	at := []supernet.Site{supernet.SiteQKV, supernet.SiteAttention, supernet.SiteMLP}
	if f.net.Space().Model.IsConv() {
		at = []supernet.Site{supernet.SiteNorm}
	}
	f.put("token entropy", func() *graph.Node {
		var total *graph.Node
		for _, at := range at {
			for _, x := range f.sites[at] {
				x := byPlace(x)
				length := graph.Sqrt(graph.ReduceAndKeep(graph.Square(x), graph.ReduceSum, 2))
				unit := graph.Div(x, graph.MaxScalar(length, 1e-12))
				tokens, axis := x.Shape().Dimensions[1], 2
				if tokens > x.Shape().Dimensions[2] {
					axis = 1 // ‖U·Uᵀ‖ = ‖Uᵀ·U‖, and this one is smaller
				}
				k := graph.DotGeneral(unit, []int{axis}, []int{0}, unit, []int{axis}, []int{0})
				purity := graph.MulScalar(graph.ReduceSum(graph.Square(k), 1, 2), 1/(float64(tokens)*float64(tokens)))
				entropy := graph.Neg(graph.ReduceAllMean(graph.Log(purity)))
				if total == nil {
					total = entropy
				} else {
					total = graph.Add(total, entropy)
				}
			}
		}
		return total
	})
}

// tokenEntropy is the sum, over the outputs of qkv, of attention and of the MLP of each
// block (of a convolutional network: over those of its convolutions, whose pixels are the tokens), of the entropy of an image's tokens, a mean over images. The entropy is
// Rényi's of order 2 of the tokens' directions, -log Σ(K[i, j])², where
// K = U·Uᵀ/T for the T tokens scaled to unit length: 0 when all
// tokens point the same way, log T when all are orthogonal.
//
// That entropies of the tokens at these three places rank AutoFormer's
// architectures better than other proxies is reported without a formula that we
// could find; this one is ours.
func tokenEntropy(p *passes) (float64, error) {
	v, err := p.look("token entropy")
	if err != nil {
		return 0, err
	}
	return float64(v.values[0]), nil
}

// blockOutput is the name of a block's output in the forward program; block 0 is the embedding, or the stem.
func blockOutput(what string, block int) string { return fmt.Sprintf("%s %d", what, block) }

// lookAtCovariance puts out the covariance of the features of each block's output
// over all tokens, or pixels, of all images.
func lookAtCovariance(f *forward) {
	for i, x := range f.sites[supernet.SiteBlock] {
		f.put(blockOutput("covariance", i), func() *graph.Node {
			x := graph.Reshape(x, -1, x.Shape().Dim(-1))
			x = graph.Sub(x, graph.ReduceAndKeep(x, graph.ReduceMean, 0))
			return graph.MulScalar(graph.DotGeneral(x, []int{0}, nil, x, []int{0}, nil), 1/float64(x.Shape().Dimensions[0]))
		})
	}
}

// lookAtJacobians puts out, for each block, E[gᵀr] over tokens, or pixels, and images, [features in, features out],
// where r are random signs at its output and g is what they become when they
// are propagated back to its input. Where a block has a stride, the input's pixels that an output pixel stands for are
// features of one (as the paper's code has it, by torch's pixel_unshuffle).
func lookAtJacobians(f *forward) {
	blocks := f.sites[supernet.SiteBlock]
	for i, out := range blocks[1:] {
		f.put(blockOutput("jacobian", i+1), func() *graph.Node {
			signs := graph.Reshape(graph.Slice(f.signs, graph.AxisRangeFromStart(out.Shape().Size())), out.Shape().Dimensions...)
			g := engine.Gradient(graph.ReduceAllSum(graph.Mul(out, signs)), blocks[i])[0]
			if d := out.Shape().Dimensions; len(d) == 4 {
				g = unshuffled(g, d[1])
			}
			flat := func(x *graph.Node) *graph.Node { return graph.Reshape(x, -1, x.Shape().Dim(-1)) }
			product := graph.DotGeneral(flat(g), []int{0}, nil, flat(signs), []int{0}, nil)
			return graph.MulScalar(product, 1/float64(flat(signs).Shape().Dimensions[0]))
		})
	}
}

// unshuffled makes of x [N, side, side, features] the pixels of side to: those of a square of stride · stride are the features of one.
// What is missing at the lower and right border is zero.
func unshuffled(x *graph.Node, to int) *graph.Node {
	d := x.Shape().Dimensions
	stride := (d[1] + to - 1) / to
	for axis := 1; axis <= 2; axis++ {
		if missing := to*stride - d[axis]; missing > 0 {
			shape := x.Shape().Clone()
			shape.Dimensions[axis] = missing
			x = graph.Concatenate([]*graph.Node{x, graph.Zeros(x.Graph(), shape)}, axis)
		}
	}
	x = graph.TransposeAllAxes(graph.Reshape(x, d[0], to, stride, to, stride, d[3]), 0, 1, 3, 2, 4, 5)
	return graph.Reshape(x, d[0], to, to, stride*stride*d[3])
}

// AZ-NAS's four (Lee and Ham, AZ-NAS: Assembling Zero-Cost Proxies for Network
// Architecture Search, CVPR 2024), a block being one of the transformer, or an inverted residual, and the first features the
// embedding, or the stem's:
//
//	expressivity   Σ over blocks of the entropy of the covariance's normalised
//	               eigenvalues
//	progressivity  the least growth of that entropy from one block to the next
//	trainability   the mean over blocks of -σ - 1/σ + 2, σ the largest singular
//	               value of the block's estimated Jacobian
//	complexity     multiply-accumulates
//
// One forward pass, and one backward pass of each block.

// entropies of the blocks' outputs.
func (p *passes) entropies() ([]float64, error) {
	if p.spectra != nil {
		return p.spectra, nil
	}
	var all []float64
	for block := range p.blocks() + 1 {
		covariance, err := p.look(blockOutput("covariance", block))
		if err != nil {
			return nil, err
		}
		m := covariance.matrix()
		var eigen mat.EigenSym
		n, _ := m.Dims()
		if !eigen.Factorize(mat.NewSymDense(n, m.RawMatrix().Data), false) {
			return nil, fmt.Errorf("covariance of block %d: %w", block, ErrNotFinite)
		}
		values, sum, entropy := eigen.Values(nil), 0.0, 0.0
		for _, v := range values {
			sum += max(v, 0)
		}
		for _, v := range values {
			if share := max(v, 0) / sum; share > 0 {
				entropy -= share * math.Log(share)
			}
		}
		all = append(all, entropy)
	}
	p.spectra = all
	return all, nil
}

func expressivity(p *passes) (float64, error) {
	entropies, err := p.entropies()
	sum := 0.0
	for _, v := range entropies {
		sum += v
	}
	return sum, err
}

func progressivity(p *passes) (float64, error) {
	entropies, err := p.entropies()
	least := math.Inf(1)
	for i := 1; i < len(entropies); i++ {
		least = min(least, entropies[i]-entropies[i-1])
	}
	return least, err
}

func trainability(p *passes) (float64, error) {
	sum := 0.0
	for block := 1; block <= p.blocks(); block++ {
		jacobian, err := p.look(blockOutput("jacobian", block))
		if err != nil {
			return 0, err
		}
		sigma := singular(jacobian.matrix())[0]
		sum += -sigma - 1/(sigma+1e-6) + 2
	}
	return sum / float64(p.blocks()), nil
}

const azCount = 4 // parts: those below, and the multiply-accumulates

func azParts(p *passes) (parts Parts, err error) {
	for _, of := range []func(*passes) (float64, error){expressivity, progressivity, trainability} {
		v, err := of(p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, v)
	}
	return append(parts, float64(p.net.Space().Model.MACs(p.arch))), nil
}

// azRank is AZ-NAS's aggregation: Σ over its four proxies of log(rank/m), the best of
// m architectures having rank m; equal ones have the mean of their ranks. A score is
// worth something only beside those of the others.
func azRank(all []Parts) []float64 {
	scores := make([]float64, len(all))
	for i := range all {
		for k, v := range all[i] {
			rank := 0.5
			for _, other := range all {
				switch {
				case other[k] < v:
					rank++
				case other[k] == v:
					rank += 0.5
				}
			}
			scores[i] += math.Log(rank / float64(len(all)))
		}
	}
	return scores
}
