package load

import (
	"context"
	"iter"

	"prenas/internal/ahead"
	"prenas/internal/data"
)

// readAhead is how many batches are prepared before their use, beside those that it takes to
// give every worker an image.
const readAhead = 2

// placeInBatch is that of an image in a batch that is being filled.
type placeInBatch struct {
	batch *Batch
	image int
}

// Stream yields the batches of an epoch from step on, made ahead of their use, in order,
// whatever the number of workers; the workers share the images of a batch, and few batches
// are in memory at once. An error, as that of a ctx that ended, is the last it yields.
func (l *Loader) Stream(ctx context.Context, epoch, step int) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		order := l.order(epoch)
		places := func(yield func(placeInBatch) bool) {
			for step := step; step < l.Steps(); step++ {
				b := l.empty(order, epoch, step)
				for k := range b.Count {
					if !yield(placeInBatch{b, k}) {
						return
					}
				}
			}
		}
		fill := func(p placeInBatch) error { return l.image(p.batch, order, p.image) }
		queue := readAhead*l.o.Share.Images(l.o.Batch) + l.o.Workers
		for p, err := range ahead.Map(ctx, places, l.o.Workers, queue, fill) {
			if err != nil {
				yield(nil, err)
				return
			}
			if p.image < p.batch.Count-1 {
				continue
			}
			l.handOut(p.batch, order)
			if !yield(p.batch, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// handOut notes that the images of a batch were read, and not only read ahead.
func (l *Loader) handOut(b *Batch, order []int) {
	for k := range b.Count {
		data.MarkUsed(l.split, order[l.place(b, k)%len(order)])
	}
}
