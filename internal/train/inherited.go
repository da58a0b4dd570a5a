package train

import (
	"context"
	"iter"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Inherited measures any architecture of a supernet with the supernet's weights, on the held-out
// images of a source, without compiling anything for it. Of a convolutional network the statistics
// of batch norms are estimated first, on training images, for each architecture anew.
type Inherited struct {
	engine      *engine.Engine
	net         *supernet.Net
	held        []*tensors.Tensor // weights by Params index
	source      Source
	batches     int // of calibration, of calibration images each
	calibration int
	images      *keptBatches                 // held out
	seen        *keptBatches                 // to calibrate on
	masked      *evaluate.Masked             // nil for convolutional networks
	conv        map[int]*evaluate.MaskedConv // by resolution, when it is asked for
}

// NewInherited puts the weights, by name, on the device. batch is the size of batches that
// statistics are estimated on.
func NewInherited(e *engine.Engine, net *supernet.Net, weights map[string]tensorfile.Tensor, source Source, batch int) (*Inherited, error) {
	if err := net.Check(weights); err != nil {
		return nil, err
	}
	images, _ := source.Counts()
	m := &Inherited{
		engine: e, net: net, source: source, calibration: batch, conv: map[int]*evaluate.MaskedConv{},
		images: &keptBatches{of: func(ctx context.Context) (iter.Seq2[evaluate.Batch, error], error) {
			return source.HeldOut(ctx, evalImages, load.Share{}), nil
		}},
	}
	if net.Space().Model.IsConv() {
		m.batches = min(CalibrationBatches, images/batch)
		m.seen = &keptBatches{of: func(ctx context.Context) (iter.Seq2[evaluate.Batch, error], error) {
			return source.Calibration(ctx, m.batches, batch)
		}}
	}
	var err error
	if m.held, err = net.Upload(e, weights); err != nil {
		return nil, err
	}
	if !net.Space().Model.IsConv() {
		if m.masked, err = evaluate.NewMasked(e, net, 1, evalImages); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

// Close frees the programs and the weights on the device.
func (m *Inherited) Close() {
	if m.masked != nil {
		m.masked.Close()
	}
	for _, c := range m.conv {
		c.Close()
	}
	for _, t := range m.held {
		_ = t.FinalizeAll() // nothing is asked of it any more
	}
}

// Images are how many a measurement of one architecture takes: those that it is measured on, and
// those that statistics are estimated on.
func (m *Inherited) Images() (measured, calibration int) {
	_, measured = m.source.Counts()
	return measured, m.batches * m.calibration
}

// Measure returns what an architecture reaches. Logits that are not finite are an error that
// wraps evaluate.ErrNonFinite.
func (m *Inherited) Measure(ctx context.Context, arch space.Arch) (evaluate.Score, error) {
	if m.masked != nil {
		scores, err := m.masked.Run(ctx, m.held, []space.Arch{arch}, m.images.all(ctx))
		if err != nil {
			return evaluate.Score{}, err
		}
		return scores[0], nil
	}
	programs := m.conv[arch.Resolution]
	if programs == nil {
		var err error
		if programs, err = evaluate.NewMaskedConv(m.engine, m.net, arch.Resolution, m.calibration, evalImages); err != nil {
			return evaluate.Score{}, err
		}
		m.conv[arch.Resolution] = programs
	}
	return programs.Run(ctx, m.held, arch, m.seen.all(ctx), m.images.all(ctx))
}

// keptBatches are read once and kept in memory, as far as they fit into mostKept; those beyond are
// read again each time.
type keptBatches struct {
	of   func(context.Context) (iter.Seq2[evaluate.Batch, error], error)
	list []evaluate.Batch
	full bool // list is all of them
	most bool // there are more than may be kept
}

// mostKept is the most numbers of images that are kept, 1 GiB of them.
const mostKept = 1 << 28

func (k *keptBatches) all(ctx context.Context) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		if k.full {
			for _, b := range k.list {
				if !yield(b, nil) {
					return
				}
			}
			return
		}
		batches, err := k.of(ctx)
		if err != nil {
			yield(evaluate.Batch{}, err)
			return
		}
		kept := 0
		k.list = nil
		for b, err := range batches {
			if kept += len(b.Images); kept > mostKept {
				k.most, k.list = true, nil
			}
			if err == nil && !k.most {
				k.list = append(k.list, evaluate.Batch{Images: slices.Clone(b.Images), Labels: slices.Clone(b.Labels)})
			}
			if !yield(b, err) || err != nil {
				k.list = nil
				return
			}
		}
		k.full = !k.most
	}
}
