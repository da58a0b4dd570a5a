package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/evaluate"
	"prenas/internal/rng"
)

// toyImages shows one of three bars in noise; label and noise are drawn from the number
// of the image.
type toyImages struct{ train, heldOut int }

const toySize = 8

func (s toyImages) Counts() (int, int) { return s.train, s.heldOut }
func (s toyImages) Digest() string     { return fmt.Sprintf("toy %d %d", s.train, s.heldOut) }

func toyBatch(numbers []int, epoch int) evaluate.Batch {
	b := evaluate.Batch{}
	for _, n := range numbers {
		r := rng.New(9, "toy", uint64(n), uint64(epoch))
		label := n % 3
		b.Labels = append(b.Labels, int32(label))
		for y := range toySize {
			for range toySize {
				v := float32(r.NormFloat64())
				if y/3 == label {
					v += 2
				}
				b.Images = append(b.Images, v)
			}
		}
	}
	return b
}

func (s toyImages) Train(_ context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	order := rng.New(9, "order", uint64(epoch)).Perm(s.train)
	return func(yield func(evaluate.Batch, error) bool) {
		for k := from; k < share.Batches(len(order)/size); k++ {
			var own []int
			for i := range share.Images(size) {
				own = append(own, order[share.Batch(k)*size+share.Place(i, size)])
			}
			if !yield(toyBatch(own, epoch), nil) {
				return
			}
		}
	}
}

func (s toyImages) HeldOut(_ context.Context, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		for k := range share.Batches((s.heldOut + size - 1) / size) {
			at := share.Batch(k) * size
			var numbers []int
			for n := at; n < min(at+size, s.heldOut); n++ {
				numbers = append(numbers, 1_000_000+n)
			}
			if !yield(toyBatch(numbers, 0), nil) {
				return
			}
		}
	}
}

// unevenImages have classes of 40, 9 and 3 training images.
func unevenImages() *data.Dataset {
	return &data.Dataset{
		Train: uneven{40, 9, 3}, HeldOut: uneven{2, 2, 2}, Test: uneven{0, 0, 0},
		Classes: []string{"a", "b", "c"}, Digest: "uneven", Channels: 1, Mean: []float32{0.5}, Std: []float32{0.5},
	}
}

// uneven has so many images of each class: one of three bars in noise.
type uneven [3]int

func (u uneven) Len() int { return u[0] + u[1] + u[2] }

func (u uneven) Label(i int) int {
	for label, n := range u {
		if i < n {
			return label
		}
		i -= n
	}
	panic("no such image")
}

func (u uneven) Image(i int) (data.Image, error) {
	img := data.Image{Width: toySize, Height: toySize, Channels: 1, Pixels: make([]byte, toySize*toySize)}
	r := rng.New(9, "uneven", uint64(i))
	for k := range img.Pixels {
		img.Pixels[k] = byte(r.IntN(100))
		if k/toySize/3 == u.Label(i) {
			img.Pixels[k] += 100
		}
	}
	return img, nil
}

// ClassCounts are uneven, so that weights of classes differ.
func (s toyImages) ClassCounts() []int { return []int{s.train / 2, s.train / 3, s.train / 6} }

func (s toyImages) Calibration(ctx context.Context, count, size int) (iter.Seq2[evaluate.Batch, error], error) {
	if count*size > s.train {
		return nil, errors.New("too many")
	}
	return func(yield func(evaluate.Batch, error) bool) {
		for b, err := range s.Train(ctx, 0, 0, size, load.Share{}) {
			if count--; count < 0 || !yield(b, err) {
				return
			}
		}
	}, nil
}
