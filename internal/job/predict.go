package job

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"prenas/internal/classify"
	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/plaintext"
	"prenas/internal/printable"
)

// PredictOptions of Predict.
type PredictOptions struct {
	Model     string   // file
	Images    []string // files, folders, or "-" for Stdin
	Stdin     io.Reader
	Top       int // classes of each image
	Batch     int
	Workers   int
	Backend   string
	Precision engine.Precision // of products; empty: float32
	Log       func(string)
	Each      func(Prediction) // told of every image, in order
}

// Prediction is what a model predicts of one image, or why there is no prediction.
type Prediction struct {
	File    string           `json:"file"`
	Classes []classify.Class `json:"classes,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// String is like "cat.jpg  cat 97.1 %  dog 2.2 %".
func (p Prediction) String() string {
	parts := []string{printable.Name(p.File)}
	for _, c := range p.Classes {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", printable.Name(c.Name), 100*c.Probability))
	}
	return strings.Join(parts, "  ")
}

// Predicted sums up a Predict.
type Predicted struct {
	Arch   string  `json:"arch"`
	Images int     `json:"images"`            // classified
	Failed int     `json:"failed"`            // images that could not be read, or whose logits are not finite
	Rate   float64 `json:"images_per_second"` // of reading and computing; compiling is not counted
}

// Predict classifies images. It goes on after images that cannot be read.
func Predict(ctx context.Context, o PredictOptions) (Predicted, error) {
	m, err := classify.Open(ctx, o.Model, classify.Options{Backend: o.Backend, Stop: ctx.Done(), Batch: o.Batch, Precision: o.Precision, Log: o.Log})
	if err != nil {
		return Predicted{}, err
	}
	sum, err := o.all(ctx, m)
	if closed := m.Close(); err == nil {
		err = closed
	}
	return sum, err
}

func (o PredictOptions) all(ctx context.Context, m *classify.Model) (Predicted, error) {
	sum := Predicted{Arch: m.Info().Arch}
	began := time.Now()
	load := func(f imageFile, use func(data.Image) error) error {
		if f.err != nil {
			return f.err
		}
		return data.UseImage(f.path, use)
	}
	for outcome, err := range classify.Stream(ctx, m, o.files(), o.Workers, load) {
		if err != nil {
			return sum, err
		}
		p := Prediction{File: outcome.Item.path}
		if outcome.Err != nil {
			p.Error = outcome.Err.Error()
			if errors.Is(outcome.Err, classify.ErrNonFinite) {
				p.Error = p.File + ": " + p.Error
			}
			sum.Failed++
		} else {
			p.Classes = m.Rank(outcome.Logits, o.Top)
			sum.Images++
		}
		o.Each(p)
	}
	_, compiling := m.Spent()
	sum.Rate = float64(sum.Images) / (time.Since(began) - compiling).Seconds()
	return sum, nil
}

// imageFile is a file to classify, or the error that stands in its place.
type imageFile struct {
	path string
	err  error
}

// files yields the image files that the arguments name.
func (o PredictOptions) files() iter.Seq[imageFile] {
	return func(yield func(imageFile) bool) {
		for _, arg := range o.Images {
			if arg == "-" {
				lines := bufio.NewScanner(plaintext.Reader(o.Stdin))
				for lines.Scan() {
					if line := lines.Text(); line != "" && !yield(imageFile{path: line}) {
						return
					}
				}
				if err := lines.Err(); err != nil && !yield(imageFile{arg, fmt.Errorf("paths on standard input: %w", err)}) {
					return
				}
				continue
			}
			info, err := os.Stat(arg)
			if err != nil || !info.IsDir() {
				if !yield(imageFile{arg, err}) {
					return
				}
				continue
			}
			list, err := data.ListImages(arg)
			if err != nil && !yield(imageFile{arg, err}) {
				return
			}
			for _, path := range list {
				if !yield(imageFile{path: path}) {
					return
				}
			}
		}
	}
}
