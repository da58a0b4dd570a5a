package evaluate

import (
	"cmp"
	"math"
	"slices"
)

// Seen collects the predictions of one architecture, image by image: which classes it takes for which,
// and its most confident mistakes. The zero value has none.
type Seen struct {
	confusion map[[2]int]int // images by label and by what they were taken for
	mistakes  []Mistake      // the surest, the surest first
}

// mostMistakes are kept of each architecture.
const mostMistakes = 20

// Mistake is an image that was taken for another class.
type Mistake struct {
	Image     int    `json:"image"`          // its place in the split
	Name      string `json:"name,omitempty"` // where it is, as far as its source knows
	Label     int    `json:"label"`
	Predicted int    `json:"predicted"`
	// Probability is what the model gave to its prediction, from 0 to 1.
	Probability float64 `json:"probability"`
	// Picture is the upper left corner, in pixels, of its thumbnail in the MistakesFile; nil: it has
	// none there.
	Picture *[2]int `json:"picture,omitempty"`
}

// sureFrom is the probability from which a model is said to be sure.
const sureFrom = 0.8

// Sure tells whether the model was sure of its wrong prediction. Where classes are many or training was short,
// even the surest mistakes may have small probabilities.
func (m Mistake) Sure() bool { return m.Probability >= sureFrom }

// Add counts an image by its logits, which are finite. Of equal logits the lower class wins.
func (s *Seen) Add(image, label int, logits []float32) {
	if s.confusion == nil {
		s.confusion = map[[2]int]int{}
	}
	best := 0
	for class, v := range logits {
		if v > logits[best] {
			best = class
		}
	}
	s.confusion[[2]int{label, best}]++
	if best == label {
		return
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - logits[best]))
	}
	m := Mistake{Image: image, Label: label, Predicted: best, Probability: 1 / sum}
	at, _ := slices.BinarySearchFunc(s.mistakes, m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(b.Probability, a.Probability), cmp.Compare(a.Image, b.Image))
	})
	if at < mostMistakes {
		s.mistakes = slices.Insert(s.mistakes, at, m)
		s.mistakes = s.mistakes[:min(len(s.mistakes), mostMistakes)]
	}
}

// ClassResult is what an architecture reached on the images of one class.
type ClassResult struct {
	Class   int `json:"class"`
	Images  int `json:"images"`  // of the class
	Correct int `json:"correct"` // of these
	// Predicted are the images, of whatever class, that were taken for this one.
	Predicted int `json:"predicted"`
}

// Recall is the fraction of the class's images that were recognised.
func (c ClassResult) Recall() float64 { return fraction(c.Correct, c.Images) }

// Precision is the fraction of what was taken for the class that was of it; 0 where nothing
// was.
func (c ClassResult) Precision() float64 { return fraction(c.Correct, c.Predicted) }

func fraction(of, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(of) / float64(all)
}

// Confused is a cell of a confusion matrix that is not empty: label, predicted class, images.
type Confused [3]int

// put writes what was seen into a result. Name says where an image is.
func (s *Seen) put(r *Result, name func(image int) string) {
	classes := map[int]*ClassResult{}
	class := func(i int) *ClassResult {
		if classes[i] == nil {
			classes[i] = &ClassResult{Class: i}
		}
		return classes[i]
	}
	for cell, n := range s.confusion {
		r.Confusion = append(r.Confusion, Confused{cell[0], cell[1], n})
		class(cell[0]).Images += n
		class(cell[1]).Predicted += n
		if cell[0] == cell[1] {
			class(cell[0]).Correct += n
		}
	}
	slices.SortFunc(r.Confusion, func(a, b Confused) int { return slices.Compare(a[:], b[:]) })
	with := 0
	for _, c := range classes {
		r.PerClass = append(r.PerClass, *c)
		if c.Images > 0 {
			with++
		}
	}
	slices.SortFunc(r.PerClass, func(a, b ClassResult) int { return cmp.Compare(a.Class, b.Class) })
	for _, c := range r.PerClass { // in their order, so that the sum is always the same
		if c.Images > 0 {
			r.Balanced += c.Recall() / float64(with)
		}
	}
	for _, m := range s.mistakes {
		if name != nil {
			m.Name = name(m.Image)
		}
		r.Mistakes = append(r.Mistakes, m)
	}
}

// Worst are the classes with images that were recognised least, the worst first, at most so
// many.
func (r Result) Worst(most int) []ClassResult {
	list := slices.DeleteFunc(slices.Clone(r.PerClass), func(c ClassResult) bool { return c.Images == 0 })
	slices.SortStableFunc(list, func(a, b ClassResult) int { return cmp.Compare(a.Recall(), b.Recall()) })
	return list[:min(len(list), most)]
}

// MostConfused are the pairs of classes that were taken for each other most often, at most
// so many.
func (r Result) MostConfused(most int) []Confused {
	list := slices.DeleteFunc(slices.Clone(r.Confusion), func(c Confused) bool { return c[0] == c[1] })
	slices.SortStableFunc(list, func(a, b Confused) int { return cmp.Compare(b[2], a[2]) })
	return list[:min(len(list), most)]
}

// Images of a class that were measured.
func (r Result) Images(class int) int {
	for _, c := range r.PerClass {
		if c.Class == class {
			return c.Images
		}
	}
	return 0
}
