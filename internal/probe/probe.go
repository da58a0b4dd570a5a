// Package probe fits a linear classifier on features that a frozen network computed.
//
// It is the linear probe of the literature (as in Radford et al., Learning Transferable Visual
// Models From Natural Language Supervision, 2021): multinomial logistic regression by L-BFGS over
// all images at once, with an L2 penalty that images which were held out choose.
package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"gonum.org/v1/gonum/optimize"

	"prenas/internal/engine"
)

// ErrFeatures: features that no classifier can be fitted on.
var ErrFeatures = errors.New("features")

// Features of images.
type Features struct {
	Dim    int
	Values []float32 // [images, Dim], row-major
	Labels []int32   // [images]
}

// Add adds an image.
func (f *Features) Add(values []float32, label int) {
	f.Values, f.Labels = append(f.Values, values...), append(f.Labels, int32(label))
}

// Classifier is what Fit found: logits are Weight·x + Bias.
type Classifier struct {
	Weight  []float32 // [classes, Dim], row-major
	Bias    []float32 // [classes]
	Penalty float64   // λ of λ/2·|W|², beside the mean cross entropy, of standardised features
	HeldOut float64   // part of the images held out that it knows; NaN where there are none
}

// penalties that are tried, the largest first: the fit of one begins where that of the one before
// ended.
var penalties = []float64{1, 0.1, 0.01, 1e-3, 1e-4}

// withoutHeldOut is the penalty where no images choose one.
const withoutHeldOut = 0.01

// iterations of L-BFGS for each penalty, at most.
const iterations = 100

// Fit fits a classifier of so many classes. Features are standardised by the mean and the deviation
// that they have in train; the classifier takes them as they are. One that is the same for all
// images takes no part.
func Fit(ctx context.Context, e *engine.Engine, train, held Features, classes int) (Classifier, error) {
	c := Classifier{HeldOut: math.NaN()}
	n, dim := len(train.Labels), train.Dim
	if n == 0 || dim < 1 || classes < 1 || len(train.Values) != n*dim || len(held.Values) != len(held.Labels)*dim {
		return c, fmt.Errorf("%w: %d values of %d images with %d features, %d classes", ErrFeatures, len(train.Values), n, dim, classes)
	}
	mean, scale, err := standard(train)
	if err != nil {
		return c, err
	}
	p, err := newProblem(e, train, classes, mean, scale)
	if err != nil {
		return c, err
	}
	defer p.close()
	at := make([]float64, classes*(dim+1))
	tried := penalties
	if len(held.Labels) == 0 {
		tried = []float64{withoutHeldOut}
	}
	best := math.Inf(-1)
	for _, penalty := range tried {
		if at, err = p.minimise(ctx, at, penalty); err != nil {
			return c, err
		}
		own := unstandardised(at, classes, dim, mean, scale)
		own.Penalty, own.HeldOut = penalty, own.accuracy(held)
		if reached := own.HeldOut; len(held.Labels) == 0 || reached > best {
			c, best = own, reached
		}
	}
	return c, nil
}

// standard is the mean of each feature, and one over its deviation; 0 for features that do not
// vary.
func standard(f Features) (mean, scale []float64, err error) {
	n := float64(len(f.Labels))
	mean, scale = make([]float64, f.Dim), make([]float64, f.Dim)
	for i, v := range f.Values {
		mean[i%f.Dim] += float64(v) / n
	}
	for i, v := range f.Values {
		d := float64(v) - mean[i%f.Dim]
		scale[i%f.Dim] += d * d / n
	}
	for i, variance := range scale {
		if math.IsNaN(variance) || math.IsInf(variance, 0) {
			return nil, nil, fmt.Errorf("%w: feature %d is not finite", ErrFeatures, i)
		}
		scale[i] = 0
		if deviation := math.Sqrt(variance); deviation > 1e-6*math.Max(1, math.Abs(mean[i])) {
			scale[i] = 1 / deviation
		}
	}
	return mean, scale, nil
}

// unstandardised is the classifier of features as they are; x has the weights [dim, classes] of
// standardised ones, then the biases.
func unstandardised(x []float64, classes, dim int, mean, scale []float64) Classifier {
	c := Classifier{Weight: make([]float32, classes*dim), Bias: make([]float32, classes)}
	for k := range classes {
		bias := x[dim*classes+k]
		for i := range dim {
			w := x[i*classes+k] * scale[i]
			c.Weight[k*dim+i] = float32(w)
			bias -= w * mean[i]
		}
		c.Bias[k] = float32(bias)
	}
	return c
}

// accuracy is the part of images that the classifier knows; NaN of none.
func (c Classifier) accuracy(f Features) float64 {
	right := 0
	for i, label := range f.Labels {
		x, best, at := f.Values[i*f.Dim:][:f.Dim], math.Inf(-1), 0
		for k, bias := range c.Bias {
			logit := float64(bias)
			for j, w := range c.Weight[k*f.Dim:][:f.Dim] {
				logit += float64(w) * float64(x[j])
			}
			if logit > best {
				best, at = logit, k
			}
		}
		if at == int(label) {
			right++
		}
	}
	return float64(right) / float64(len(f.Labels))
}

// problem is the mean cross entropy over all images and its gradient, on the device.
type problem struct {
	engine       *engine.Engine
	program      *engine.Program
	values       *tensors.Tensor // [images, dim], standardised
	labels       *tensors.Tensor
	dim, classes int
}

func newProblem(e *engine.Engine, f Features, classes int, mean, scale []float64) (*problem, error) {
	n, dim := len(f.Labels), f.Dim
	values := make([]float32, len(f.Values))
	for i, v := range f.Values {
		values[i] = float32((float64(v) - mean[i%dim]) * scale[i%dim])
	}
	p := &problem{engine: e, dim: dim, classes: classes}
	var err error
	if p.values, err = e.Put(values, n, dim); err != nil {
		return nil, err
	}
	p.labels = tensors.FromFlatDataAndDimensions(f.Labels, n)
	p.program, err = e.Compile("probe", []shapes.Shape{
		shapes.Make(dtypes.Float32, dim, classes), shapes.Make(dtypes.Float32, classes),
		shapes.Make(dtypes.Float32, n, dim), shapes.Make(dtypes.Int32, n),
	}, func(in []*graph.Node) []*graph.Node {
		w, b, x, labels := in[0], in[1], in[2], in[3]
		logits := graph.Add(graph.Dot(x, w), graph.BroadcastToDims(graph.Reshape(b, 1, classes), n, classes))
		targets := graph.OneHot(labels, classes, dtypes.Float32)
		own := graph.LogSoftmax(logits, -1)
		loss := graph.DivScalar(graph.Neg(graph.ReduceAllSum(graph.Mul(targets, own))), float64(n))
		d := graph.DivScalar(graph.Sub(graph.Exp(own), targets), float64(n)) // of the logits
		return []*graph.Node{loss, graph.Dot(graph.Transpose(x, 0, 1), d), graph.ReduceSum(d, 0)}
	})
	return p, err
}

func (p *problem) close() {
	p.program.Close()
	for _, t := range []*tensors.Tensor{p.values, p.labels} {
		_ = t.FinalizeAll() // what cannot be freed now is freed with the engine
	}
}

// at is the loss without a penalty at x, and its gradient.
func (p *problem) at(x []float64) (loss float64, grad []float64, err error) {
	single := make([]float32, len(x))
	for i, v := range x {
		single[i] = float32(v)
	}
	w, err := p.engine.Put(single[:p.dim*p.classes], p.dim, p.classes)
	if err != nil {
		return 0, nil, err
	}
	b, err := p.engine.Put(single[p.dim*p.classes:], p.classes)
	if err != nil {
		return 0, nil, err
	}
	out, err := p.program.Run([]*tensors.Tensor{w, b, p.values, p.labels})
	if err != nil {
		return 0, nil, err
	}
	var all []float64
	for _, t := range out {
		got, err := engine.Download(t)
		if err != nil {
			return 0, nil, err
		}
		values, err := got.Float32s()
		if err = errors.Join(err, t.FinalizeAll()); err != nil {
			return 0, nil, err
		}
		for _, v := range values {
			all = append(all, float64(v))
		}
	}
	return all[0], all[1:], errors.Join(w.FinalizeAll(), b.FinalizeAll())
}

// minimise goes from x to the least loss with a penalty on the weights, not on the biases.
func (p *problem) minimise(ctx context.Context, x []float64, penalty float64) ([]float64, error) {
	var failed error
	evaluate := func(x []float64) (float64, []float64) {
		loss, grad, err := p.at(x)
		if err != nil {
			failed = err
			return math.Inf(1), make([]float64, len(x))
		}
		for i, w := range x[:p.dim*p.classes] {
			loss += penalty / 2 * w * w
			grad[i] += penalty * w
		}
		return loss, grad
	}
	// L-BFGS asks for loss and gradient of the same place one after the other.
	var last, lastGrad []float64
	var lastLoss float64
	both := func(x []float64) (float64, []float64) {
		if !slices.Equal(x, last) {
			last = append(last[:0], x...)
			lastLoss, lastGrad = evaluate(x)
		}
		return lastLoss, lastGrad
	}
	result, err := optimize.Minimize(optimize.Problem{
		Func: func(x []float64) float64 { loss, _ := both(x); return loss },
		Grad: func(to, x []float64) { _, grad := both(x); copy(to, grad) },
		Status: func() (optimize.Status, error) {
			if err := errors.Join(failed, ctx.Err()); err != nil {
				return optimize.Failure, err
			}
			return optimize.NotTerminated, nil
		},
	}, x, &optimize.Settings{
		MajorIterations: iterations, GradientThreshold: 1e-5, Concurrent: 1,
		Converger: &optimize.FunctionConverge{Absolute: 1e-7, Relative: 1e-6, Iterations: 5},
	}, &optimize.LBFGS{})
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return nil, err
	}
	if result == nil || math.IsInf(result.F, 0) || math.IsNaN(result.F) {
		return nil, fmt.Errorf("%w: no classifier fits them: %w", ErrFeatures, err)
	}
	// A line search that finds nothing lower has come as far as float32 goes.
	return result.X, nil
}
