package data

import (
	"context"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"runtime"

	"golang.org/x/image/draw"

	"prenas/internal/rng"
)

// Batch is what a step or an evaluation takes.
type Batch struct {
	Images      []float32 // [N, C, H, W], normalised
	Labels      []int32   // [N]
	Count       int       // valid ones of N; the rest pads the last batch
	Epoch, Step int
}

// LoaderOptions say how images become batches.
type LoaderOptions struct {
	Batch          int
	Channels, Size int       // of the model's input: Size x Size
	Mean, Std      []float32 // per channel, of pixels in [0, 1]
	Seed           uint64
	Workers        int // goroutines that prepare images; 0: one per core

	// Train draws a new order each epoch, drops the last partial batch, and
	// augments; else images come in order and the last batch is padded.
	Train             bool
	CropPadding       int     // pixels around the image before a random crop of Size
	Flip              float64 // probability of a horizontal flip
	RandomResizedCrop bool    // crop of 8 to 100 % of the area, aspect 3/4 to 4/3
	EvalResize        int     // shorter side before the centre crop; 0: Size
}

// Loader makes batches of a split. Batch(epoch, step) is a pure function of the
// options and its arguments.
type Loader struct {
	split Split
	o     LoaderOptions
}

// NewLoader checks the options against the split.
func NewLoader(split Split, o LoaderOptions) (*Loader, error) {
	switch {
	case o.Batch < 1 || o.Size < 1:
		return nil, fmt.Errorf("data: batch %d of images of %d pixels: both must be at least 1", o.Batch, o.Size)
	case o.Channels != 1 && o.Channels != 3:
		return nil, fmt.Errorf("data: images have 1 or 3 channels, the model takes %d", o.Channels)
	case len(o.Mean) != o.Channels || len(o.Std) != o.Channels:
		return nil, fmt.Errorf("data: mean and std of %d and %d channels for images of %d", len(o.Mean), len(o.Std), o.Channels)
	case split.Len() == 0:
		return nil, fmt.Errorf("%w in the split", ErrEmpty)
	case o.Train && split.Len() < o.Batch:
		return nil, fmt.Errorf("data: %d training images are fewer than one batch of %d; choose a smaller batch", split.Len(), o.Batch)
	}
	if o.Workers < 1 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return &Loader{split: split, o: o}, nil
}

// Steps of an epoch.
func (l *Loader) Steps() int {
	if l.o.Train {
		return l.split.Len() / l.o.Batch
	}
	return (l.split.Len() + l.o.Batch - 1) / l.o.Batch
}

// order of an epoch: the index of the image at each place.
func (l *Loader) order(epoch int) []int {
	if l.o.Train {
		return rng.New(l.o.Seed, "order", uint64(epoch)).Perm(l.split.Len())
	}
	order := make([]int, l.split.Len())
	for i := range order {
		order[i] = i
	}
	return order
}

// Batch makes one batch; step counts from 0 within the epoch.
func (l *Loader) Batch(epoch, step int) (*Batch, error) { return l.batch(l.order(epoch), epoch, step) }

func (l *Loader) batch(order []int, epoch, step int) (*Batch, error) {
	n, size := l.o.Batch, l.o.Channels*l.o.Size*l.o.Size
	b := &Batch{Images: make([]float32, n*size), Labels: make([]int32, n), Epoch: epoch, Step: step}
	b.Count = min(n, len(order)-step*n)
	for k := range b.Count {
		i := order[step*n+k]
		img, err := l.split.Image(i)
		if err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
		if img, err = l.channels(img); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
		if l.o.Train {
			img = l.augment(img, rng.New(l.o.Seed, "augment", uint64(epoch), uint64(i)))
		} else {
			img = centreCrop(img, l.o.Size, l.o.EvalResize)
		}
		l.normalise(img, b.Images[k*size:][:size])
		b.Labels[k] = int32(l.split.Label(i))
	}
	return b, nil
}

// channels turns grey into colour and colour into grey (ITU-R 601 luma), as
// the model takes it.
func (l *Loader) channels(img Image) (Image, error) {
	if img.Channels == l.o.Channels {
		return img, nil
	}
	out := Image{Height: img.Height, Width: img.Width, Channels: l.o.Channels}
	pixels := img.Height * img.Width
	switch {
	case img.Channels == 1:
		out.Pixels = make([]uint8, 0, pixels*3)
		for _, p := range img.Pixels {
			out.Pixels = append(out.Pixels, p, p, p)
		}
	case img.Channels == 3:
		out.Pixels = make([]uint8, pixels)
		for i := range out.Pixels {
			r, g, b := int(img.Pixels[3*i]), int(img.Pixels[3*i+1]), int(img.Pixels[3*i+2])
			out.Pixels[i] = uint8((299*r + 587*g + 114*b + 500) / 1000)
		}
	default:
		return img, fmt.Errorf("%w: %d channels", ErrFormat, img.Channels)
	}
	return out, nil
}

func (l *Loader) augment(img Image, r *rand.Rand) Image {
	size := l.o.Size
	if l.o.RandomResizedCrop {
		img = resizedCrop(img, size, r)
	} else {
		if img.Height != size || img.Width != size {
			img = centreCrop(img, size, 0)
		}
		if p := l.o.CropPadding; p > 0 {
			img = shift(img, r.IntN(2*p+1)-p, r.IntN(2*p+1)-p)
		}
	}
	if l.o.Flip > 0 && r.Float64() < l.o.Flip {
		img = flip(img)
	}
	return img
}

// shift is a crop at (dy, dx) of the image padded with zeros.
func shift(img Image, dy, dx int) Image {
	out := Image{make([]uint8, len(img.Pixels)), img.Height, img.Width, img.Channels}
	row := img.Width * img.Channels
	from, to := max(0, dx)*img.Channels, max(0, -dx)*img.Channels
	for y := range img.Height {
		if sy := y + dy; sy >= 0 && sy < img.Height && from < row && to < row {
			copy(out.Pixels[y*row+to:(y+1)*row], img.Pixels[sy*row+from:(sy+1)*row])
		}
	}
	return out
}

func flip(img Image) Image {
	out := Image{make([]uint8, len(img.Pixels)), img.Height, img.Width, img.Channels}
	c, row := img.Channels, img.Width*img.Channels
	for y := range img.Height {
		for x := range img.Width {
			copy(out.Pixels[y*row+x*c:][:c], img.Pixels[y*row+(img.Width-1-x)*c:][:c])
		}
	}
	return out
}

// centreCrop resizes the shorter side to resize (0: size) and cuts the middle.
func centreCrop(img Image, size, resize int) Image {
	if resize == 0 {
		resize = size
	}
	if img.Height == size && img.Width == size && resize == size {
		return img
	}
	side := min(img.Height, img.Width) * size / resize
	side = max(1, min(side, img.Height, img.Width))
	y, x := (img.Height-side)/2, (img.Width-side)/2
	return scale(img, image.Rect(x, y, x+side, y+side), size)
}

// resizedCrop draws a crop as torchvision's RandomResizedCrop: ten tries at an
// area of 8 to 100 % and an aspect of 3/4 to 4/3, else the middle.
func resizedCrop(img Image, size int, r *rand.Rand) Image {
	for range 10 {
		w, h := drawCrop(img.Width, img.Height, r)
		if w >= 1 && h >= 1 && w <= img.Width && h <= img.Height {
			x, y := r.IntN(img.Width-w+1), r.IntN(img.Height-h+1)
			return scale(img, image.Rect(x, y, x+w, y+h), size)
		}
	}
	return centreCrop(img, size, 0)
}

// scale resizes a part of the image to size x size.
func scale(img Image, part image.Rectangle, size int) Image {
	out := Image{make([]uint8, size*size*img.Channels), size, size, img.Channels}
	bounds, to := image.Rect(0, 0, img.Width, img.Height), image.Rect(0, 0, size, size)
	if img.Channels == 1 {
		from := &image.Gray{Pix: img.Pixels, Stride: img.Width, Rect: bounds}
		draw.CatmullRom.Scale(&image.Gray{Pix: out.Pixels, Stride: size, Rect: to}, to, from, part, draw.Src, nil)
		return out
	}
	from, into := image.NewNRGBA(bounds), image.NewNRGBA(to)
	for i := range img.Height * img.Width {
		copy(from.Pix[4*i:], img.Pixels[3*i:3*i+3])
		from.Pix[4*i+3] = 0xff
	}
	draw.CatmullRom.Scale(into, to, from, part, draw.Src, nil)
	for i := range size * size {
		copy(out.Pixels[3*i:3*i+3], into.Pix[4*i:])
	}
	return out
}

// normalise writes the image as [C, H, W], (pixel/255 - mean) / std.
func (l *Loader) normalise(img Image, out []float32) {
	plane := l.o.Size * l.o.Size
	for c := range l.o.Channels {
		var table [256]float32
		for v := range table {
			table[v] = (float32(v)/255 - l.o.Mean[c]) / l.o.Std[c]
		}
		to := out[c*plane:][:plane]
		for i := range to {
			to[i] = table[img.Pixels[i*img.Channels+c]]
		}
	}
}

// Stream makes batches ahead of their use, from (epoch, step) on and through
// the epochs that follow, in order, whatever the number of workers. next
// returns them one by one; stop ends the workers and must be called.
func (l *Loader) Stream(ctx context.Context, epoch, step int) (next func() (*Batch, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		batch *Batch
		err   error
	}
	// A queue of promises keeps the order; its length bounds the memory.
	promises := make(chan chan result, 2*l.o.Workers)
	slots := make(chan struct{}, l.o.Workers)
	go func() {
		defer close(promises)
		for order := l.order(epoch); ; step++ {
			if step >= l.Steps() {
				epoch, step = epoch+1, 0
				order = l.order(epoch)
			}
			promise := make(chan result, 1)
			select {
			case promises <- promise:
			case <-ctx.Done():
				return
			}
			slots <- struct{}{}
			go func(order []int, epoch, step int) {
				b, err := l.batch(order, epoch, step)
				promise <- result{b, err}
				<-slots
			}(order, epoch, step)
		}
	}()
	return func() (*Batch, error) {
		select {
		case promise, open := <-promises:
			if !open {
				return nil, ctx.Err()
			}
			r := <-promise
			return r.batch, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, cancel
}

// drawCrop draws the size of a crop: its area uniform, its aspect log-uniform.
func drawCrop(width, height int, r *rand.Rand) (w, h int) {
	area := float64(width*height) * (0.08 + 0.92*r.Float64())
	low, high := math.Log(3.0/4), math.Log(4.0/3)
	aspect := math.Exp(low + (high-low)*r.Float64())
	return int(math.Round(math.Sqrt(area * aspect))), int(math.Round(math.Sqrt(area / aspect)))
}
