package inspect

import (
	"context"
	"errors"
	"image"
	"math"
	"math/bits"

	"github.com/corona10/goimagehash"

	"prenas/internal/ahead"
	"prenas/internal/augment"
	"prenas/internal/data"
)

// Twins are images to be measured on that look like one that is trained on: the same photograph
// cropped, scaled, brightened or compressed otherwise, or one of the same moment. Figures on them
// are too good.
type Twins struct {
	Train      int    `json:"train"`       // training images that were compared
	Test       int    `json:"test"`        // with so many of the validation and test splits
	AllTrain   int    `json:"of_train"`    // of so many
	AllTest    int    `json:"of_test"`     // likewise
	LeftOut    int    `json:"left_out"`    // of those compared, damaged or of nearly one colour
	Twins      int    `json:"twins"`       // of Test
	OtherClass int    `json:"other_class"` // of them, those whose twin has another class
	First      []Twin `json:"first,omitempty"`
}

// Twin is an image and the most similar one that is trained on.
type Twin struct {
	Test       string  `json:"test"`
	Train      string  `json:"train"`
	Class      int     `json:"class"` // label of the first
	TrainClass int     `json:"train_class"`
	Alike      float64 `json:"alike"` // correlation of the two in small, up to 1
	TestIndex  int     `json:"-"`     // in the splits for choosing and for the end, one after the other
	TrainIndex int     `json:"-"`
}

// mostTwins are shown.
const mostTwins = 10

// Two images are taken for twins whose perceptual hashes (64 bits, of the signs of the low
// frequencies of a cosine transform) differ in few bits, and whose small grey forms, of twinSide x
// twinSide pixels, correlate highly. The hash finds candidates fast; the small form tells many
// apart that only have the same outlines. Measured: of CIFAR-10's 10,000 test images (JPEG copies) 91
// have a twin by this, 1 of them of another class, where people found some 330 (Barz and Denzler, Do
// We Train on Test Data?, 2020): what is found is hardly ever wrong, and not all is found. Things on
// an empty ground are the exception: of Fashion-MNIST's it is 4,036 of 10,000, since trousers are
// like trousers.
const (
	twinBits  = 10
	twinSide  = 16
	twinAlike = 0.97
)

// look is what is kept of an image to compare it.
type look struct {
	hash uint64
	grey [twinSide * twinSide]float32 // mean 0, length 1
	ok   bool
	err  error
}

// lookAt looks at an image; one of nearly one colour has nothing to compare.
func lookAt(s data.Split, i int) (l look) {
	var damaged *data.DamagedImage
	l.err = data.Whole(s, i, func(img data.Image) error {
		const side = 64 // that of the hash
		small := augment.Resize(augment.Convert(img, 3), image.Rect(0, 0, img.Width, img.Height), side, side, augment.Bilinear)
		rgba := image.NewRGBA(image.Rect(0, 0, side, side))
		flat := true
		for p := range side * side {
			copy(rgba.Pix[4*p:], small.Pixels[3*p:][:3])
			rgba.Pix[4*p+3] = 255
			for c := range 3 {
				first, now := int(small.Pixels[c]), int(small.Pixels[3*p+c])
				flat = flat && max(first-now, now-first) <= oneColour
			}
			// The sum of the channels is as good a grey as any.
			l.grey[p/side*twinSide/side*twinSide+p%side*twinSide/side] += float32(small.Pixels[3*p]) + float32(small.Pixels[3*p+1]) + float32(small.Pixels[3*p+2])
		}
		if flat {
			return nil
		}
		hash, err := goimagehash.PerceptionHash(rgba)
		if err != nil {
			return err
		}
		l.hash = hash.GetHash()
		l.ok = l.normalise()
		return nil
	})
	if errors.As(l.err, &damaged) {
		l.err = nil
	}
	return l
}

// normalise tells whether the small form has anything in it.
func (l *look) normalise() bool {
	mean, square := 0.0, 0.0
	for _, v := range l.grey {
		mean += float64(v) / float64(len(l.grey))
	}
	for _, v := range l.grey {
		square += (float64(v) - mean) * (float64(v) - mean)
	}
	if square == 0 {
		return false
	}
	for i, v := range l.grey {
		l.grey[i] = float32((float64(v) - mean) / math.Sqrt(square))
	}
	return true
}

func (l *look) alike(other *look) float64 {
	var sum float32
	for i, v := range l.grey {
		sum += v * other.grey[i]
	}
	return float64(sum)
}

// MostCompared is how many images of a data set are compared at most if nobody says, where one has so
// many pixels: what takes about a minute, at least 1,000.
func MostCompared(pixels int) int {
	return max(1000, min(100_000, 2_000_000_000/max(pixels, 1)))
}

// FindTwins looks for images of the validation and test splits among the training images. It
// compares at most so many images, spread evenly over both.
func FindTwins(ctx context.Context, set *data.Dataset, most int, progress func(done, total int)) (Twins, error) {
	test := data.Chain(set.HeldOut, set.Test)
	t := Twins{AllTrain: set.Train.Len(), AllTest: test.Len()}
	t.Test = min(t.AllTest, max(most/3, most-t.AllTrain))
	t.Train = min(t.AllTrain, most-t.Test)
	if t.Train == 0 || t.Test == 0 {
		t.Train, t.Test = 0, 0
		return t, nil
	}
	looks := make([]look, 0, t.Train+t.Test)
	of := func(i int) (data.Split, int) {
		if i < t.Train {
			return set.Train, i * t.AllTrain / t.Train
		}
		return test, (i - t.Train) * t.AllTest / t.Test
	}
	for i, l := range ahead.Range(ctx, t.Train+t.Test, 0, func(i int) look { return lookAt(of(i)) }) {
		if l.err != nil {
			return t, l.err
		}
		if !l.ok {
			t.LeftOut++
		}
		looks = append(looks, l)
		if progress != nil {
			progress(i+1, t.Train+t.Test)
		}
	}
	if err := ctx.Err(); err != nil {
		return t, err
	}
	train := looks[:t.Train]
	type nearest struct {
		at    int
		alike float64
	}
	for i, near := range ahead.Range(ctx, t.Test, 0, func(i int) nearest {
		best, own := nearest{-1, twinAlike}, &looks[t.Train+i]
		if !own.ok {
			return best
		}
		for k := range train {
			if train[k].ok && bits.OnesCount64(train[k].hash^own.hash) <= twinBits {
				if alike := own.alike(&train[k]); alike > best.alike {
					best = nearest{k, alike}
				}
			}
		}
		return best
	}) {
		if near.at < 0 {
			continue
		}
		_, testAt := of(t.Train + i)
		_, trainAt := of(near.at)
		twin := Twin{Test: data.NameOf(test, testAt), Train: data.NameOf(set.Train, trainAt), Class: test.Label(testAt), TrainClass: set.Train.Label(trainAt), Alike: min(near.alike, 1), TestIndex: testAt, TrainIndex: trainAt}
		t.Twins++
		if twin.Class != twin.TrainClass {
			t.OtherClass++
		}
		if len(t.First) < mostTwins {
			t.First = append(t.First, twin)
		}
	}
	return t, ctx.Err()
}
