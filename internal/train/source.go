package train

import (
	"context"
	"iter"

	"prenas/internal/data/load"
	"prenas/internal/evaluate"
)

// Source is where a run's images come from.
//
// Train is a pure function of its arguments and of the source's own seed: any number
// of workers, and a start in the middle of an epoch, give the same batches.
type Source interface {
	// Counts tells how many images there are to train on and how many are held out.
	Counts() (train, heldOut int)
	// ClassCounts are the images to train on of each class.
	ClassCounts() []int
	// Train yields a share of the batches of an epoch, full ones of size images only,
	// augmented, beginning with number from of the share.
	Train(ctx context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error]
	// HeldOut yields a share of the batches of all held-out images, not augmented, in a fixed
	// order.
	HeldOut(ctx context.Context, size int, share load.Share) iter.Seq2[evaluate.Batch, error]
	// Calibration yields count full batches of size images to train on, not augmented,
	// always the same, no image twice. It returns an error where there are not as many.
	Calibration(ctx context.Context, count, size int) (iter.Seq2[evaluate.Batch, error], error)
	// Digest names the images, their labels and their split.
	Digest() string
}
