package classify

import (
	"context"
	"iter"

	"prenas/internal/ahead"
	"prenas/internal/data"
)

// Outcome is what became of one item of a stream.
type Outcome[T any] struct {
	Item   T
	Logits []float32 // nil where Err is not
	Err    error     // why the item has no image, or ErrNonFinite
}

// Stream loads and prepares images on several goroutines ahead of the model (workers; 0:
// one per core), and yields what became of each, in the order of items. An image that cannot be
// loaded is an Outcome, as is one whose logits are not finite; an error of the stream itself ends
// it, as does ctx, which does not wait for items.
func Stream[T any](ctx context.Context, m *Model, items iter.Seq[T], workers int, load func(T, func(data.Image) error) error) iter.Seq2[Outcome[T], error] {
	return func(yield func(Outcome[T], error) bool) {
		var waiting []Outcome[T]
		var inputs [][]float32
		flush := func() bool {
			rows, err := m.logits(inputs)
			if err != nil {
				yield(Outcome[T]{}, err)
				return false
			}
			for _, o := range waiting {
				if o.Err == nil {
					if o.Err = finite(rows[0]); o.Err == nil {
						o.Logits = rows[0]
					}
					rows = rows[1:]
				}
				if !yield(o, nil) {
					return false
				}
			}
			waiting, inputs = waiting[:0], inputs[:0]
			return true
		}
		for item, p := range ahead.Map(ctx, items, workers, ahead.Workers(workers)+m.batch, func(item T) (p prepared) {
			p.err = load(item, func(img data.Image) (err error) {
				p.input, err = m.Prepare(img)
				return err
			})
			return p
		}) {
			waiting = append(waiting, Outcome[T]{Item: item, Err: p.err})
			if p.err == nil {
				inputs = append(inputs, p.input)
			}
			if len(waiting) == m.batch && !flush() {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Outcome[T]{}, err)
			return
		}
		flush()
	}
}

// prepared is what the model takes of an image, or why there is none.
type prepared struct {
	input []float32
	err   error
}
