package evaluate

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/ahead"
	"prenas/internal/engine"
	"prenas/internal/printable"
	"prenas/internal/ranks"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// ErrNoImages: the split has no image, so there is nothing to measure.
var ErrNoImages = errors.New("there are no images to evaluate on")

// ErrNonFinite: logits are not finite, since the weights have diverged.
var ErrNonFinite = errors.New("logits are not finite")

// Batch is consecutive images of the split, at most as many as the evaluator's batch size: float32
// [N, C, H, W], normalised, row-major, and a label for each. With several crops of an image they are
// [N, crops, C, H, W]. A negative label marks an image that is not counted.
type Batch struct {
	Images []float32
	Labels []int32
}

// Score is what one architecture reached.
type Score struct {
	Images  int
	Top1    int     // images whose label has the highest logit
	Top5    int     // images whose label is among the five highest
	Loss    float64 // mean cross entropy, without smoothing
	Seconds float64 // spent in the program

	broken int // images with a logit, or a loss, that is not finite
}

// whole completes scores: losses become means over images, which is the number of images. Where the
// logits of an image are not finite its error wraps ErrNonFinite and names the architectures.
func whole(scores []Score, archs []space.Arch, images int) error {
	var broken []string
	for i := range scores {
		s := &scores[i]
		s.Loss /= float64(images)
		if s.broken > 0 || math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) {
			broken = append(broken, fmt.Sprintf("%s on %d of %s", archs[i], max(s.broken, 1), printable.Count(images, "image")))
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s: the weights have diverged", ErrNonFinite, strings.Join(broken, ", "))
}

// Weights are what architectures are evaluated with, on the device.
type Weights struct {
	Shared []*tensors.Tensor // by Params index
	// Stats are the running statistics of batch norms, by architecture and in the order of
	// supernet.Stats. Each architecture needs its own: see docs/conv.md. Vision transformers have
	// none.
	Stats [][]*tensors.Tensor
}

// stats of an architecture by its place.
func (w Weights) stats(arch int) []*tensors.Tensor {
	if arch >= len(w.Stats) {
		return nil
	}
	return w.Stats[arch]
}

// Evaluator holds the compiled programs of some architectures.
type Evaluator struct {
	programs
	batch, crops int
	// Ranks, if not nil, share the work: each brings a share of the batches, and all get the scores.
	Ranks *ranks.World
	// Observe, if not nil, gets the logits of each image that is counted, with the architecture,
	// the image's place in the stream, and its label. It must not keep the logits.
	Observe func(arch, image, label int, logits []float32)
}

// New compiles one program for each architecture, for batches of up to batch images of crops crops
// each. The logits of an image are the mean over its crops, as in the original. The devices share each
// batch, which is padded to a multiple of their number. precision must be a resolved one.
func New(e *engine.Engine, net *supernet.Net, archs []space.Arch, batch, crops int, precision engine.Precision) (*Evaluator, error) {
	batch = (batch + e.Devices() - 1) / e.Devices() * e.Devices()
	ev, m := &Evaluator{programs: programs{engine: e, net: net, archs: archs}, batch: batch, crops: crops}, net.Space().Model
	inputs := []shapes.Shape{
		shapes.Make(dtypes.Float32, batch*crops, m.Channels, m.ImageSize, m.ImageSize),
		shapes.Make(dtypes.Int32, batch),
	}
	return ev, ev.compile("evaluate", inputs, func(arch space.Arch, weights, stats, in []*graph.Node) []*graph.Node {
		logits := net.Logits(weights, in[0], supernet.Forward{Arch: arch, Stats: stats, Operands: precision.Operands()})
		if crops > 1 {
			logits = graph.ReduceMean(graph.Reshape(logits, batch, crops, m.NumClasses), 1)
		}
		return []*graph.Node{tally(logits, in[1]), logits}
	})
}

// Columns of a tally.
const (
	tallyTop1 = iota
	tallyTop5
	tallyLoss
	tallyBroken
	tallyColumns
)

// tally is float32 [tallyColumns] of logits [N, classes] and int32 labels [N]; a negative
// label marks an image that does not count.
//
// The rank of a label is the number of other classes with a higher logit; of equal logits the lower
// class counts as higher. An image with a logit or a loss that is not finite is broken: it is counted
// as broken, and neither as a hit nor in the loss.
func tally(logits, labels *graph.Node) *graph.Node {
	n, classes := logits.Shape().Dimensions[0], logits.Shape().Dimensions[1]
	label := graph.BroadcastToDims(graph.Reshape(labels, n, 1), n, classes)
	class := graph.Iota(logits.Graph(), label.Shape(), 1)
	isLabel := graph.Equal(class, label)
	atLabel := graph.ReduceSum(graph.Where(isLabel, logits, graph.ZerosLike(logits)), -1)
	own := graph.BroadcastToShape(graph.Reshape(atLabel, n, 1), logits.Shape())
	beaten := graph.LogicalOr(graph.LessThan(logits, own),
		graph.LogicalAnd(graph.Equal(logits, own), graph.GreaterOrEqual(class, label)))
	place := graph.Sub(graph.Scalar(logits.Graph(), dtypes.Float32, float64(classes)),
		graph.ReduceSum(graph.ConvertDType(beaten, dtypes.Float32), -1))
	counts := graph.ConvertDType(graph.GreaterOrEqual(labels, graph.ZerosLike(labels)), dtypes.Float32)
	logProb := graph.LogSoftmax(logits, -1)
	loss := graph.Neg(graph.ReduceSum(graph.Where(isLabel, logProb, graph.ZerosLike(logProb)), -1))
	odd := graph.ReduceSum(graph.ConvertDType(graph.LogicalNot(graph.IsFinite(logits)), dtypes.Float32), -1)
	sound := graph.LogicalAnd(graph.Equal(odd, graph.ZerosLike(odd)), graph.IsFinite(loss))
	broken := graph.ReduceAllSum(graph.Mul(counts, graph.ConvertDType(graph.LogicalNot(sound), dtypes.Float32)))
	counts = graph.Where(sound, counts, graph.ZerosLike(counts))
	loss = graph.Where(sound, loss, graph.ZerosLike(loss))
	within := func(k float64) *graph.Node {
		hit := graph.LessThan(place, graph.Scalar(logits.Graph(), dtypes.Float32, k))
		return graph.ReduceAllSum(graph.Mul(counts, graph.ConvertDType(hit, dtypes.Float32)))
	}
	return graph.Stack([]*graph.Node{within(1), within(5), graph.ReduceAllSum(graph.Mul(counts, loss)), broken}, 0)
}

// Run evaluates every architecture on all batches. Scores are in the order of the architectures given
// to New. weights stay valid. progress, if not nil, is told how many images are done. Where logits are
// not finite it returns an error that wraps ErrNonFinite together with the scores.
func (ev *Evaluator) Run(ctx context.Context, weights Weights, batches iter.Seq2[Batch, error], progress func(done int)) ([]Score, error) {
	scores := make([]Score, len(ev.archs))
	done, at := 0, 0
	next, stop := iter.Pull2(ahead.Next(ctx, batches, func(b Batch) (uploaded, error) {
		return b.upload(ev.engine, ev.net.Space().Model, ev.batch, ev.crops)
	}))
	defer stop()
	for more := true; more; {
		batch, err, has := next()
		if err == nil {
			err = ctx.Err()
		}
		var own measured
		if err == nil && has {
			own, err = ev.measure(scores, weights, batch)
		}
		if err != nil && !errors.Is(err, context.Canceled) { // a rank that is asked to stop still tells the others
			return nil, fmt.Errorf("evaluation after %s: %w", printable.Count(done, "image"), err)
		}
		own.Stopped = err != nil
		all, err := own.ofAll(ev.Ranks)
		if err != nil {
			return nil, fmt.Errorf("evaluation after %s: %w", printable.Count(done, "image"), err)
		}
		more = false
		for _, m := range all {
			ev.count(scores, m, at)
			at, done, more = at+len(m.Labels), done+m.count(), more || len(m.Labels) > 0
		}
		if more && progress != nil {
			progress(done)
		}
	}
	if done == 0 {
		return nil, ErrNoImages
	}
	return scores, whole(scores, ev.archs, done)
}

// measured is what all programs computed of a batch. It is zero for a rank that had no batch.
type measured struct {
	Labels  []int32
	Tallies []float32   // [architectures, tallyColumns]
	Logits  [][]float32 // of each architecture, [N, classes]; nil where nobody observes
	Stopped bool        // the rank was asked to stop, and measured nothing
}

func (m measured) count() int { return Batch{Labels: m.Labels}.count() }

// ofAll gathers what all ranks measured of their batches, in the order of the batches. Where a rank
// was asked to stop the error wraps context.Canceled.
func (m measured) ofAll(w *ranks.World) ([]measured, error) {
	all := []measured{m}
	if w.Size() > 1 {
		var text bytes.Buffer
		if err := gob.NewEncoder(&text).Encode(m); err != nil {
			return nil, err
		}
		each, err := w.Gather("an evaluation", text.Bytes())
		if err != nil {
			return nil, err
		}
		all = make([]measured, len(each))
		for rank, text := range each {
			if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&all[rank]); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range all {
		if m.Stopped {
			return nil, context.Canceled
		}
	}
	return all, nil
}

// count adds what was measured of a batch to the scores. at is the place of the batch's first image.
func (ev *Evaluator) count(scores []Score, m measured, at int) {
	if len(m.Labels) == 0 {
		return
	}
	for a := range scores {
		scores[a].add(m.count(), m.Tallies[a*tallyColumns:][:tallyColumns])
		if m.Logits != nil {
			classes := len(m.Logits[a]) / len(m.Labels)
			for k, label := range m.Labels {
				if label >= 0 {
					ev.Observe(a, at+k, int(label), m.Logits[a][k*classes:][:classes])
				}
			}
		}
	}
}

// measure runs all programs on one batch, and frees it.
func (ev *Evaluator) measure(scores []Score, weights Weights, b uploaded) (m measured, err error) {
	m.Labels, m.Tallies = b.Labels, make([]float32, len(ev.each)*tallyColumns)
	var failed error
	for a := range ev.each {
		began := time.Now()
		out, err := ev.run(a, weights.Shared, weights.stats(a), b.images, b.targets)
		if err != nil {
			failed = err
			break
		}
		err = out[0].ConstFlatData(func(flat any) { copy(m.Tallies[a*tallyColumns:], flat.([]float32)) })
		scores[a].Seconds += time.Since(began).Seconds()
		if err == nil && ev.Observe != nil {
			classes := out[1].Shape().Dimensions[1]
			err = out[1].ConstFlatData(func(flat any) {
				m.Logits = append(m.Logits, slices.Clone(flat.([]float32)[:len(b.Labels)*classes]))
			})
		}
		if failed = errors.Join(err, ev.free(a, out...)); failed != nil {
			break
		}
	}
	return m, errors.Join(failed, b.free())
}

// add counts the tally of a batch.
func (s *Score) add(images int, tally []float32) {
	s.Images += images
	s.Top1 += int(tally[tallyTop1])
	s.Top5 += int(tally[tallyTop5])
	s.Loss += float64(tally[tallyLoss])
	s.broken += int(tally[tallyBroken])
}

// AddImage counts one image by its logits, which must be finite. It computes on the host what tally
// computes on the device. Loss is a sum, which the caller divides by the number of images.
func (s *Score) AddImage(logits []float32, label int) {
	place, highest := 0, math.Inf(-1)
	for class, v := range logits {
		beaten := v < logits[label] || v == logits[label] && class >= label
		if !beaten {
			place++
		}
		highest = max(highest, float64(v))
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - highest)
	}
	s.Images++
	if place < 1 {
		s.Top1++
	}
	if place < 5 {
		s.Top5++
	}
	s.Loss += highest + math.Log(sum) - float64(logits[label])
}

// count is the number of images of the batch that are counted.
func (b Batch) count() int {
	n := 0
	for _, label := range b.Labels {
		if label >= 0 {
			n++
		}
	}
	return n
}

// uploaded is a batch on the device, filled up.
type uploaded struct {
	Labels          []int32 // of the images that it has
	images, targets *tensors.Tensor
}

func (u uploaded) free() error { return errors.Join(u.images.FinalizeAll(), u.targets.FinalizeAll()) }

// upload puts a batch on the device for a program that takes size images of crops crops each. Images
// with the label -1 fill it up.
func (b Batch) upload(e *engine.Engine, m space.Model, size, crops int) (u uploaded, err error) {
	pixels := crops * m.Channels * m.ImageSize * m.ImageSize
	if len(b.Labels) > size || len(b.Images) != len(b.Labels)*pixels {
		return u, fmt.Errorf("a batch has %d labels and %d numbers; at most %s of %d numbers are expected",
			len(b.Labels), len(b.Images), printable.Count(size, "image"), pixels)
	}
	values, targets := b.Images, make([]int32, size)
	if len(values) < size*pixels {
		values = append(make([]float32, 0, size*pixels), values...)[:size*pixels]
	}
	for i := copy(targets, b.Labels); i < size; i++ {
		targets[i] = -1
	}
	u = uploaded{Labels: b.Labels, targets: tensors.FromFlatDataAndDimensions(targets, size)}
	u.images, err = e.Put(values, size*crops, m.Channels, m.ImageSize, m.ImageSize)
	return u, err
}
