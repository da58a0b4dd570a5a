package data

import (
	"context"
	"sync/atomic"

	"prenas/internal/crash"
)

// ahead is how many batches are prepared before their use, beside those that it
// takes to give every worker an image.
const ahead = 2

// promise is a batch that workers are filling.
type promise struct {
	batch *LoadedBatch
	order []int
	left  atomic.Int64 // images to go
	done  chan struct{}
	errs  []error // by image
}

// Stream makes batches ahead of their use, from (epoch, step) on and through
// the epochs that follow, in order, whatever the number of workers; the workers
// share the images of a batch, and few batches are in memory at once. next
// returns them one by one; stop ends the workers and must be called.
func (l *Loader) Stream(ctx context.Context, epoch, step int) (next func() (*LoadedBatch, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	type job struct {
		p     *promise
		image int
	}
	jobs := make(chan job)
	promises := make(chan *promise, ahead+l.o.Workers/l.o.Batch)
	for range l.o.Workers {
		crash.Go(func() {
			for j := range jobs {
				j.p.errs[j.image] = l.image(j.p.batch, j.p.order, j.image)
				if j.p.left.Add(-1) == 0 {
					close(j.p.done)
				}
			}
		})
	}
	crash.Go(func() {
		defer close(promises)
		defer close(jobs)
		for order := l.order(epoch); ; step++ {
			if step >= l.Steps() && l.o.OneEpoch {
				return
			}
			if step >= l.Steps() {
				epoch, step = epoch+1, 0
				order = l.order(epoch)
			}
			p := &promise{batch: l.empty(order, epoch, step), order: order, done: make(chan struct{})}
			p.errs = make([]error, p.batch.Count)
			p.left.Store(int64(p.batch.Count))
			select {
			case promises <- p:
			case <-ctx.Done():
				return
			}
			for k := range p.batch.Count {
				select {
				case jobs <- job{p, k}:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	return func() (*LoadedBatch, error) {
		select {
		case p, open := <-promises:
			if !open {
				return nil, ctx.Err()
			}
			select {
			case <-p.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			for _, err := range p.errs { // the first, whoever was quicker
				if err != nil {
					return nil, err
				}
			}
			for k := range p.batch.Count {
				if c, i := contentOf(l.split, p.order[l.place(p.batch, k)%len(p.order)]); c != nil {
					c.use(i)
				}
			}
			return p.batch, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, cancel
}
