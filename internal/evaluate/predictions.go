package evaluate

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/sealed"
)

// PredictionsFile is the name of Predictions in a run directory, where report and board find it.
const PredictionsFile = "predictions.jsonl"

// ErrPredictions: the file is not one of predictions, or it contradicts itself.
var ErrPredictions = errors.New("malformed predictions file")

const (
	predictionsFormat = 1
	predictionsTop    = 5 // classes of each image
)

// PredictionsHeader is the first line of a predictions file.
type PredictionsHeader struct {
	Format    int              `json:"format"`
	Data      Images           `json:"data"`
	Split     string           `json:"split"`
	Crops     int              `json:"crops"`
	Step      int              `json:"step"`              // updates behind the weights
	Weights   string           `json:"weights,omitempty"` // their digest, as in Results
	Precision engine.Precision `json:"precision,omitempty"`
	Classes   []string         `json:"classes,omitempty"` // names by label
	Archs     []string         `json:"architectures"`
}

// Predicted is a line of a predictions file: an image.
type Predicted struct {
	Image int      `json:"image"` // its place in the split
	Name  string   `json:"name"`  // where it is, as far as its source knows
	Label int      `json:"label"`
	Top   []Ranked `json:"top"` // by architecture, in the header's order
}

// Ranked are the most probable classes of an image, at most five, the most probable first; of
// equal ones the lower class comes first. Probabilities are the softmax of the logits.
type Ranked struct {
	Classes       []int     `json:"classes"`
	Probabilities []float64 `json:"probabilities"`
}

// Predictions gathers what architectures say of each image.
type Predictions struct {
	archs  int
	images map[int]*Predicted
}

// NewPredictions returns empty predictions for a number of architectures.
func NewPredictions(archs int) *Predictions {
	return &Predictions{archs: archs, images: map[int]*Predicted{}}
}

// Add keeps what an architecture predicts of the image at a place of the split. logits must be finite.
func (p *Predictions) Add(arch, image, label int, logits []float32) {
	one := p.images[image]
	if one == nil {
		one = &Predicted{Image: image, Label: label, Top: make([]Ranked, p.archs)}
		p.images[image] = one
	}
	one.Top[arch] = rank(logits)
}

// rank finds the most probable classes by logits.
func rank(logits []float32) (r Ranked) {
	highest := slices.Max(logits)
	sum := 0.0
	for class, v := range logits {
		sum += math.Exp(float64(v) - float64(highest))
		at, _ := slices.BinarySearchFunc(r.Classes, class, func(a, b int) int {
			return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
		})
		if at < predictionsTop {
			r.Classes = slices.Insert(r.Classes, at, class)
			r.Classes = r.Classes[:min(len(r.Classes), predictionsTop)]
		}
	}
	for _, class := range r.Classes {
		r.Probabilities = append(r.Probabilities, math.Round(1e6*math.Exp(float64(logits[class])-float64(highest))/sum)/1e6)
	}
	return r
}

// Write writes the file, whole or not at all: JSON, a line each: the header, the images in the
// order of the split, and the digest of the lines before it. Name says where an image is.
func (p *Predictions) Write(f fsys.FS, path string, of Results, name func(image int) string) error {
	h := PredictionsHeader{Format: predictionsFormat, Data: of.Data, Split: of.Split, Crops: of.Crops, Step: of.Step, Weights: of.Weights, Precision: of.Precision, Classes: of.Classes}
	for _, a := range of.Archs {
		h.Archs = append(h.Archs, a.Arch)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(h)
	for i := 0; err == nil && len(p.images) > 0 && i <= p.last(); i++ {
		if one := p.images[i]; one != nil { // nil: the image was left out
			one.Name = name(i)
			err = e.Encode(one)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(sealed.Lines(text.Bytes()))
		return err
	})
}

// last is the highest place of an image in the split; -1 of none.
func (p *Predictions) last() int {
	last := -1
	for i := range p.images {
		last = max(last, i)
	}
	return last
}

// ReadPredictions reads a predictions file and gives each its images in order.
func ReadPredictions(f fsys.FS, path string, each func(h PredictionsHeader, p Predicted)) (h PredictionsHeader, err error) {
	text, err := fsys.ReadFile(f, path)
	if err != nil {
		return h, err
	}
	lines, _, err := sealed.CheckLines(text)
	if err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	scanner := bufio.NewScanner(bytes.NewReader(lines))
	scanner.Buffer(nil, 16<<20)
	for number := 1; scanner.Scan(); number++ {
		if number == 1 {
			if err := json.Unmarshal(scanner.Bytes(), &h); err != nil {
				return h, fmt.Errorf("%s: %w: line 1: %w", path, ErrPredictions, err)
			}
			if h.Format != predictionsFormat || len(h.Archs) == 0 {
				return h, fmt.Errorf("%s: %w: its format is %d with %s; this version reads %d", path, ErrPredictions, h.Format, printable.Count(len(h.Archs), "architecture"), predictionsFormat)
			}
			continue
		}
		var p Predicted
		err := json.Unmarshal(scanner.Bytes(), &p)
		if err == nil {
			err = p.check(h)
		}
		if err != nil {
			return h, fmt.Errorf("%s: %w: line %d: %w", path, ErrPredictions, number, err)
		}
		each(h, p)
	}
	if err := scanner.Err(); err != nil {
		return h, fmt.Errorf("%s: %w: %w", path, ErrPredictions, err)
	}
	if h.Format == 0 {
		return h, fmt.Errorf("%s: %w: it is empty", path, ErrPredictions)
	}
	return h, nil
}

func (p Predicted) check(h PredictionsHeader) error {
	if len(p.Top) != len(h.Archs) {
		return fmt.Errorf("%s, the header has %d", printable.Count(len(p.Top), "architecture"), len(h.Archs))
	}
	for _, r := range p.Top {
		if len(r.Classes) == 0 || len(r.Classes) != len(r.Probabilities) {
			return fmt.Errorf("%s with %d probabilities", printable.Count(len(r.Classes), "class"), len(r.Probabilities))
		}
		for _, v := range r.Probabilities {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("a probability is %v", v)
			}
		}
	}
	return nil
}

// CalibrationBins is the number of intervals, of equal width, that probabilities are divided into.
const CalibrationBins = 15

// Calibration compares the probability that a model gives to its answers with how often they are
// right, for each interval of the probability.
type Calibration struct {
	Images  [CalibrationBins]int
	Correct [CalibrationBins]int
	Sum     [CalibrationBins]float64 // of probabilities
}

// Add counts the answer to an image.
func (c *Calibration) Add(label int, r Ranked) {
	bin := min(int(r.Probabilities[0]*CalibrationBins), CalibrationBins-1)
	c.Images[bin]++
	c.Sum[bin] += r.Probabilities[0]
	if r.Classes[0] == label {
		c.Correct[bin]++
	}
}

// Error is the expected calibration error: the mean, over the intervals and weighted by their images,
// of the distance between probability and accuracy (Guo, Pleiss, Sun and Weinberger, On calibration
// of modern neural networks, ICML 2017). It is 0 of no images.
func (c Calibration) Error() float64 {
	all, sum := 0, 0.0
	for i, n := range c.Images {
		all += n
		sum += math.Abs(c.Sum[i] - float64(c.Correct[i]))
	}
	return sum / float64(max(all, 1))
}
