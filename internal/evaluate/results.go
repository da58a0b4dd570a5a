package evaluate

import (
	"errors"
	"fmt"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/sealed"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// ResultsFile is the name of Results in a run directory.
const ResultsFile = "results.json"

// Results is results.json: what the architectures of a run reached on a split.
type Results struct {
	Space string `json:"space"`
	Data  Images `json:"data,omitzero"` // none in files of earlier versions
	Split string `json:"split"`
	// Classes are the names of labels; none in files of earlier versions.
	Classes []string `json:"classes,omitempty"`
	Images  int      `json:"images"`            // that were measured
	Bad     int      `json:"skipped,omitempty"` // damaged ones that were left out
	// The shorter side of each image was resized to Resize pixels, and Crops of ImageSize x
	// ImageSize pixels were cut out. Logits are the mean over the crops. An architecture of a lower
	// resolution sees the same crops in fewer pixels. Zero in files of earlier versions.
	Crops     int `json:"crops"`
	ImageSize int `json:"image_size,omitempty"`
	Resize    int `json:"resize,omitempty"`
	Step      int `json:"step"`            // updates behind the weights
	Steps     int `json:"steps,omitempty"` // of the whole run, where it had not ended
	// Weights is the digest of the weights that were measured, with the statistics of batch norms
	// (tensorfile.Digest). None in files of earlier versions.
	Weights string `json:"weights,omitempty"`
	// Precision of products: float32 or bf16. None: that of an ONNX file, or float32 in files of
	// versions that had no choice.
	Precision engine.Precision `json:"precision,omitempty"`
	// Recalibrated is the number of batches that the statistics of batch norms were
	// estimated on after training; 0: they are those of training.
	Recalibrated int `json:"recalibrated,omitempty"`
	// Asked are the costs that the search was asked to stay within. Bin of an architecture is a
	// bound of the first of them. None in files of earlier versions.
	Asked []search.Asked `json:"asked,omitempty"`
	// Pictures are thumbnails of mistakes. None in files of earlier versions.
	Pictures *Pictures `json:"mistakes_picture,omitempty"`
	Archs    []Result  `json:"architectures"`
}

// Images names the images behind figures.
type Images struct {
	Source string `json:"source"`          // SRC, its path from the root
	Named  string `json:"named,omitempty"` // SRC as it was given
	Digest string `json:"digest"`
}

// Result is what one architecture reached. All but the last field are the same in every repetition.
type Result struct {
	Bin    string  `json:"bin"` // key of the candidate's interval
	Arch   string  `json:"arch"`
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"` // multiply-accumulates of one image
	Top1   float64 `json:"top1"` // fraction of the images
	// Top1Interval is the 95 % Interval of Top1.
	Top1Interval [2]float64 `json:"top1_interval"`

	Top5 float64 `json:"top5"`
	Loss float64 `json:"loss"`
	// Balanced is the mean recall of all classes that have images. Unlike top-1 it does not depend
	// on how many images each class has.
	Balanced float64 `json:"balanced_accuracy"`
	// Results by class, the cells of the confusion matrix that are not zero, by label and
	// prediction, and the most confident mistakes. None in files of earlier versions.
	PerClass  []ClassResult `json:"per_class,omitempty"`
	Confusion []Confused    `json:"confusion,omitempty"`
	Mistakes  []Mistake     `json:"mistakes,omitempty"`
	Rate      float64       `json:"images_per_second"`
}

// NewResult is the row of one architecture. Name, if not nil, says where an image of the
// split is.
func NewResult(m space.Model, bin string, arch space.Arch, s Score, seen Seen, name func(image int) string) Result {
	r := Result{
		Bin: bin, Arch: arch.String(), Params: m.Params(arch), MACs: m.MACs(arch),
		Top1: float64(s.Top1) / float64(s.Images), Top5: float64(s.Top5) / float64(s.Images), Loss: s.Loss,
	}
	r.Top1Interval[0], r.Top1Interval[1] = Interval(r.Top1, s.Images)
	seen.put(&r, name)
	if s.Seconds > 0 {
		r.Rate = float64(s.Images) / s.Seconds
	}
	return r
}

// Write writes results.json, whole or not at all.
func (r Results) Write(f fsys.FS, path string) error {
	return sealed.Write(f, path, r)
}

// ReadResults reads a file that Write wrote.
func ReadResults(f fsys.FS, path string) (Results, error) {
	text, err := fsys.ReadText(f, path)
	if err != nil {
		return Results{}, err
	}
	r, err := ParseResults(path, text)
	if err != nil {
		return Results{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// ParseResults is ReadResults of a file's text; its errors do not name the file.
func ParseResults(path string, text []byte) (Results, error) {
	var r Results
	if err := sealed.Parse(path, text, &r); err != nil {
		return Results{}, err
	}
	for i := range r.Archs { // files of earlier versions have no intervals
		a := &r.Archs[i]
		a.Top1Interval[0], a.Top1Interval[1] = Interval(a.Top1, r.Images)
	}
	return r, r.check()
}

// Of says, for people, what the figures were measured on.
func (r Results) Of() string {
	of := fmt.Sprintf("%s of the split %s", printable.Count(r.Images, "image"), r.Split)
	if r.Data.Source != "" {
		of += fmt.Sprintf(" of %s, digest %.12s", r.Data.Source, r.Data.Digest)
	}
	if r.Bad > 0 {
		of += fmt.Sprintf(", %d damaged left out", r.Bad)
	}
	if r.ImageSize > 0 {
		of += fmt.Sprintf("; %s of %s after resizing to %d", crops(r.Crops), printable.Count(r.ImageSize, "pixel"), r.Resize)
	} else if r.Crops > 1 {
		of += "; " + crops(r.Crops)
	}
	if r.Precision != "" {
		of += fmt.Sprintf("; products in %s", r.Precision)
	}
	of += fmt.Sprintf("; weights after %s", printable.Count(r.Step, "update"))
	if r.Steps > 0 {
		of += fmt.Sprintf(" of %d: the run has not ended", r.Steps)
	}
	return of
}

func crops(n int) string {
	if n < 2 {
		return "the middle"
	}
	return printable.Count(n, "crop")
}

// SameAs tells whether the figures can be compared: whether they are of the same images and split,
// number of crops and precision. Results without a digest of the images may be of the same ones.
func (r Results) SameAs(o Results) bool {
	return (r.Data.Digest == o.Data.Digest || r.Data.Digest == "" || o.Data.Digest == "") &&
		r.Split == o.Split && max(r.Crops, 1) == max(o.Crops, 1) && r.Precision == o.Precision
}

// ClassName of a label, or its number.
func (r Results) ClassName(label int) string {
	if label >= 0 && label < len(r.Classes) {
		return r.Classes[label]
	}
	return fmt.Sprintf("class %d", label)
}

// Best is the architecture with the highest top-1; the first of equals.
func (r Results) Best() Result {
	best := r.Archs[0]
	for _, a := range r.Archs {
		if a.Top1 > best.Top1 {
			best = a
		}
	}
	return best
}

// check refuses values that no evaluation can have.
func (r Results) check() error {
	if len(r.Archs) == 0 {
		return errors.New("it has no architectures")
	}
	if r.Images < 1 || r.Step < 0 || r.Crops < 0 {
		return fmt.Errorf("it is of %s, %s and %s", printable.Count(r.Images, "image"), printable.Count(r.Crops, "crop"), printable.Count(r.Step, "update"))
	}
	for _, a := range r.Archs {
		if _, err := space.ParseArch(a.Arch); err != nil {
			return err
		}
		for _, c := range a.Confusion {
			if c[0] < 0 || c[1] < 0 || c[2] < 1 {
				return fmt.Errorf("%s: a cell %v of the confusion matrix: label, prediction and images are not negative", a.Arch, c)
			}
		}
		for _, c := range a.PerClass {
			if c.Class < 0 || c.Correct < 0 || c.Correct > c.Images || c.Correct > c.Predicted {
				return fmt.Errorf("%s: class %d: %d of %s correct, %d predicted", a.Arch, c.Class, c.Correct, printable.Count(c.Images, "image"), c.Predicted)
			}
		}
		for _, m := range a.Mistakes {
			if m.Label < 0 || m.Predicted < 0 || !(m.Probability >= 0 && m.Probability <= 1) {
				return fmt.Errorf("%s: a mistake of label %d, prediction %d, probability %v", a.Arch, m.Label, m.Predicted, m.Probability)
			}
		}
		for _, fraction := range []float64{a.Top1, a.Top5} {
			if !(fraction >= 0 && fraction <= 1) {
				return fmt.Errorf("%s: top-1 %v, top-5 %v: they are fractions of the images", a.Arch, a.Top1, a.Top5)
			}
		}
		if a.Params < 1 || a.MACs < 1 || a.Loss < 0 || a.Rate < 0 {
			return fmt.Errorf("%s: %s, %d MACs, loss %v, %v images a second", a.Arch, printable.Count(a.Params, "parameter"), a.MACs, a.Loss, a.Rate)
		}
	}
	return nil
}
