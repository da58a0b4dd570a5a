package proxy

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"gonum.org/v1/gonum/mat"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Proxies of an architecture are made from two programs, each compiled when the
// first proxy asks for it:
//
//	gradient program   weights, a chunk of images ─► the gradient of each weight
//	forward program    weights, all images, draws ─► what proxies look at (look)
//
// What there is to do with the results takes eigenvalues, determinants or
// float64 sums and is done in Go.

// start is a Start, ready for the programs.
type start struct {
	weights [][]float32 // by parameter
	images  []float32
	targets []float32 // [samples, classes]; nil: the loss is the sum of the logits
	samples int
	batches int
	seed    uint64
}

func newStart(n *supernet.Net, from Start) (s start, err error) {
	if err := n.Check(from.Weights); err != nil {
		return s, err
	}
	if len(from.Batch.Masks) > 0 {
		return s, fmt.Errorf("%w: proxies of single architectures take no drop-path masks", ErrInputs)
	}
	if s.images, _, err = from.Batch.prepare(n.Space(), n.Space().Largest()); err != nil {
		return s, err
	}
	if s.targets, err = from.Batch.targets(n.Space().Model.NumClasses); err != nil {
		return s, err
	}
	s.samples, s.batches, s.seed = from.Batch.Images.Shape[0], max(1, from.Batch.Batches), from.Seed
	for _, p := range n.Params() {
		values, err := from.Weights[p.Name].Float32s()
		if err != nil {
			return s, fmt.Errorf("weight %s: %w", p.Name, err)
		}
		s.weights = append(s.weights, values)
	}
	return s, nil
}

// programs of one architecture.
type programs struct {
	*Scorer
	arch     space.Arch
	weights  supernet.Binding                 // that take part
	gradient map[gradientKind]*engine.Program // see gradientProgram
	forward  *engine.Program
	outputs  []output // of the forward program
	signs    int      // random signs that it takes
}

// output of the forward program.
type output struct {
	name string
	dims []int
}

// blocks of the architecture, whose outputs proxies look at.
func (p *programs) blocks() int {
	if m := p.net.Space().Model; m.IsConv() {
		return len(m.ConvBlocks(p.arch))
	}
	return p.arch.Depth()
}

// blockSize is how many values the widest block puts out for an image.
func (p *programs) blockSize() (most int) {
	m := p.net.Space().Model
	if !m.IsConv() {
		return m.Tokens() * p.arch.EmbedDim
	}
	for _, b := range m.ConvBlocks(p.arch) {
		most = max(most, b.OutSide()*b.OutSide()*b.Out)
	}
	return most
}

// linear tells whether what is there is what a matrix of the blocks puts out, or a convolution that a norm follows.
func (p *programs) linear(at supernet.Site) bool {
	if p.net.Space().Model.IsConv() {
		return at == supernet.SiteNorm
	}
	return at == supernet.SiteQKV || at == supernet.SiteAttention || at == supernet.SiteHidden || at == supernet.SiteMLP
}

func newPrograms(s *Scorer, a space.Arch) *programs {
	return &programs{Scorer: s, arch: a, weights: s.net.Bind(a), gradient: map[gradientKind]*engine.Program{}}
}

func (p *programs) close() {
	for _, program := range p.gradient {
		program.Close()
	}
	if p.forward != nil {
		p.forward.Close()
	}
}

// wants tells whether a proxy of that name is asked for.
func (p *programs) wants(name string) bool { return slices.Contains(p.names, name) }

func (p *programs) imageShape(samples int) shapes.Shape {
	m := p.net.Space().Model
	return shapes.Make(dtypes.Float32, samples, m.Channels, m.ImageSize, m.ImageSize)
}

// passes are those of one architecture from one start; what one proxy computed
// serves the others.
type passes struct {
	*programs
	ctx  context.Context
	from *start

	gradients map[point]*gradients
	seen      map[string]seen // what the forward program put out
	spectra   []float64       // see entropies
}

// point says where gradients are taken.
type point int

const (
	atWeights point = iota
	atGrown         // at all weights times 1 + growth
	atShrunk        // at all weights times 1 - growth
	// atLinear is the point of SynFlow (see Linear).
	atLinear
)

// growth is small for a derivative along the weights, and large for float32.
const growth = 1.0 / 64

// gradients of the loss: see ScoringBatch.Labels. At the point of SynFlow it is always the sum of the logits.
type gradients struct {
	weights [][]float32 // of the point; by parameter, nil for those that take no part
	sum     [][]float32 // over all images, divided by the number of batches
	// absolute and square are the sums over chunks of |g| and g², g being a
	// chunk's gradient.
	absolute, square [][]float64
	chunks           int
	fisher           float64 // see fisher
}

func (p *passes) at(where point) (*gradients, error) {
	if g := p.gradients[where]; g != nil {
		return g, nil
	}
	images, size := p.from.images, chunkOf(p.from.samples)
	perChunk := len(images) / p.from.samples * size
	targets, classes := p.from.targets, p.net.Space().Model.NumClasses
	divisor := float32(p.from.batches)
	if where == atLinear {
		images, divisor = slices.Repeat([]float32{1}, perChunk), float32(size) // size times the same image
		targets = nil
	}
	program, err := p.gradientProgram(where, targets != nil)
	if err != nil {
		return nil, err
	}
	g := &gradients{
		weights: make([][]float32, len(p.from.weights)), sum: make([][]float32, len(p.from.weights)),
		absolute: make([][]float64, len(p.from.weights)), square: make([][]float64, len(p.from.weights)),
	}
	var args []*tensors.Tensor
	for _, i := range p.weights.Indices() {
		w := weightsAt(p.from.weights[i], where)
		g.weights[i], g.sum[i] = w, make([]float32, len(w))
		if p.wants("zico") {
			g.absolute[i], g.square[i] = make([]float64, len(w)), make([]float64, len(w))
		}
		args = append(args, tensors.FromFlatDataAndDimensions(w, p.net.Params()[i].Shape...))
	}
	defer free(args)
	for at := 0; at < len(images); at += perChunk {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		chunk := tensors.FromFlatDataAndDimensions(images[at:at+perChunk], p.imageShape(size).Dimensions...)
		inputs := append(args[:len(args):len(args)], chunk)
		if targets != nil {
			first := at / perChunk * size
			inputs = append(inputs, tensors.FromFlatDataAndDimensions(targets[first*classes:(first+size)*classes], size, classes))
		}
		out, err := run(program, inputs)
		if err != nil {
			return nil, err
		}
		for k, i := range p.weights.Indices() {
			g.add(i, out[k], divisor)
		}
		if n := p.weights.Len(); len(out) > n {
			g.fisher += float64(out[n][0])
		}
		g.chunks++
	}
	g.fisher /= float64(p.from.samples)
	if p.gradients == nil {
		p.gradients = map[point]*gradients{}
	}
	p.gradients[where] = g
	return g, nil
}

func (g *gradients) add(i int, chunk []float32, divisor float32) {
	for j, v := range chunk {
		g.sum[i][j] += v / divisor
	}
	for j := range g.absolute[i] {
		v := float64(chunk[j])
		g.absolute[i][j] += math.Abs(v)
		g.square[i][j] += v * v
	}
}

// weightsAt are weights at a point.
func weightsAt(w []float32, where point) []float32 {
	if where == atWeights {
		return w
	}
	out := make([]float32, len(w))
	for i, v := range w {
		switch where {
		case atGrown:
			out[i] = v * (1 + growth)
		case atShrunk:
			out[i] = v * (1 - growth)
		case atLinear:
			out[i] = float32(math.Abs(float64(v)))
		}
	}
	return out
}

// gradientKind is what gradient programs of an architecture differ in.
type gradientKind struct {
	unnormal bool // batch norms do not normalise
	labelled bool // the loss is the cross entropy with targets, which are the last input
}

// gradientProgram of a point, which is compiled once. A convolutional network has another one where its norms do not normalise.
func (p *programs) gradientProgram(where point, labelled bool) (*engine.Program, error) {
	kind := gradientKind{unnormal: where == atLinear && p.net.Space().Model.IsConv(), labelled: labelled}
	program := p.gradient[kind]
	if program != nil {
		return program, nil
	}
	program, err := p.compileGradient(kind)
	if err == nil {
		p.gradient[kind] = program
	}
	return program, err
}

func (p *programs) compileGradient(kind gradientKind) (*engine.Program, error) {
	size := chunkOf(p.starts[0].samples)
	inputs := append(p.weights.Shapes(), p.imageShape(size))
	if kind.labelled {
		inputs = append(inputs, shapes.Make(dtypes.Float32, size, p.net.Space().Model.NumClasses))
	}
	return p.engine.Compile("gradients of "+p.arch.String(), inputs, func(in []*graph.Node) []*graph.Node {
		weights, images := in[:p.weights.Len()], in[p.weights.Len()]
		var targets *graph.Node
		if kind.labelled {
			targets = in[p.weights.Len()+1]
		}
		byIndex, _ := p.weights.Nodes(in)
		f := supernet.Forward{Arch: p.arch}
		if kind.unnormal {
			f.Stats = unnormalised(images.Graph(), p.net.Space().Model, p.arch)
		}
		var linear []*graph.Node
		if p.wants("fisher") {
			f.Tap = func(at supernet.Site, x *graph.Node) {
				if p.linear(at) {
					linear = append(linear, x)
				}
			}
		}
		loss := labelledLoss(p.net.Logits(byIndex, images, f), targets)
		all := engine.Gradient(loss, append(weights[:len(weights):len(weights)], linear...)...)
		out := all[:len(weights):len(weights)]
		var fisher *graph.Node
		for i, x := range linear {
			perFeature := graph.ReduceSum(byPlace(graph.Mul(x, all[len(weights)+i])), 1) // [N, features]
			part := graph.MulScalar(graph.ReduceAllSum(graph.Square(perFeature)), 0.5)
			if fisher == nil {
				fisher = part
			} else {
				fisher = graph.Add(fisher, part)
			}
		}
		if fisher != nil {
			out = append(out, fisher)
		}
		return out
	})
}

// forward is the forward program while it is built.
type forward struct {
	*programs
	images *graph.Node
	noise  *graph.Node // standard normal, one for each pixel
	signs  *graph.Node // 1 or -1, as many as the widest block puts out values
	sites  map[supernet.Site][]*graph.Node
	out    map[string]*graph.Node
	again  func(images *graph.Node) map[supernet.Site][]*graph.Node // sites of other images
}

// put adds an output, once.
func (f *forward) put(name string, make func() *graph.Node) {
	if f.out[name] == nil {
		f.out[name] = make()
	}
}

// seen is what the forward program put out under a name.
type seen struct {
	values []float32
	dims   []int
}

// matrix is an output of two axes.
func (s seen) matrix() *mat.Dense { return corner(s.values, s.dims[1], s.dims[0], s.dims[1]) }

// look is what the forward program put out under a name.
func (p *passes) look(name string) (seen, error) {
	if p.seen == nil {
		if err := p.runForward(); err != nil {
			return seen{}, err
		}
	}
	return p.seen[name], nil
}

func (p *passes) runForward() error {
	if p.programs.forward == nil {
		if err := p.compileForward(); err != nil {
			return err
		}
	}
	noise, signs := make([]float32, len(p.from.images)), make([]float32, p.signs)
	r := rng.New(p.from.seed, "proxy noise")
	for i := range noise {
		noise[i] = float32(r.NormFloat64())
	}
	r = rng.New(p.from.seed, "proxy signs")
	for i := range signs {
		signs[i] = float32(2*r.IntN(2) - 1)
	}
	var args []*tensors.Tensor
	for _, i := range p.weights.Indices() {
		args = append(args, tensors.FromFlatDataAndDimensions(p.from.weights[i], p.net.Params()[i].Shape...))
	}
	shape := p.imageShape(p.from.samples).Dimensions
	args = append(args, tensors.FromFlatDataAndDimensions(p.from.images, shape...),
		tensors.FromFlatDataAndDimensions(noise, shape...), tensors.FromFlatDataAndDimensions(signs, len(signs)))
	defer free(args)
	out, err := run(p.programs.forward, args)
	if err != nil {
		return err
	}
	p.seen = map[string]seen{}
	for i, o := range p.outputs {
		p.seen[o.name] = seen{out[i], o.dims}
	}
	return nil
}

func (p *programs) compileForward() (err error) {
	samples := p.starts[0].samples
	p.signs = samples * p.blockSize()
	inputs := append(p.weights.Shapes(), p.imageShape(samples), p.imageShape(samples), shapes.Make(dtypes.Float32, p.signs))
	p.forward, err = p.engine.Compile("forward pass of "+p.arch.String(), inputs, func(in []*graph.Node) []*graph.Node {
		weights, rest := p.weights.Nodes(in)
		f := &forward{programs: p, images: rest[0], noise: rest[1], signs: rest[2], out: map[string]*graph.Node{}}
		f.again = func(images *graph.Node) map[supernet.Site][]*graph.Node {
			sites := map[supernet.Site][]*graph.Node{}
			p.net.Logits(weights, images, supernet.Forward{Arch: p.arch, Tap: func(at supernet.Site, x *graph.Node) {
				sites[at] = append(sites[at], x)
			}})
			return sites
		}
		f.sites = f.again(f.images)
		for _, proxy := range p.chosen {
			if proxy.look != nil {
				proxy.look(f)
			}
		}
		var out []*graph.Node
		p.outputs = nil
		for _, name := range slices.Sorted(maps.Keys(f.out)) {
			p.outputs, out = append(p.outputs, output{name, f.out[name].Shape().Dimensions}), append(out, f.out[name])
		}
		return out
	})
	return err
}

// run a program and take its outputs to the host.
func run(program *engine.Program, args []*tensors.Tensor) (out [][]float32, err error) {
	results, err := program.Run(args)
	if err != nil {
		return nil, err
	}
	defer free(results)
	for _, r := range results {
		t, err := engine.Download(r)
		if err != nil {
			return nil, err
		}
		values, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		out = append(out, values)
	}
	return out, nil
}

// free memory that would wait for the garbage collector.
func free(list []*tensors.Tensor) {
	for _, t := range list {
		t.FinalizeAll() //nolint:errcheck // what cannot be freed now is collected later
	}
}
