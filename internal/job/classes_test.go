package job

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
)

func TestClassesAreMatchedByName(t *testing.T) {
	numbers := classes{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}
	sorted := slices.Sorted(slices.Values(numbers)) // 0 1 10 11 2 ..., as folders are
	for name, c := range map[string]struct {
		images, model classes
		outputs       int
		counts        []int // nil: one of each
		want          []int
		assumed, says string
	}{
		"the same":               {images: classes{"a", "b"}, model: classes{"a", "b"}, want: []int{0, 1}},
		"another order":          {images: classes{"b", "a"}, model: classes{"a", "b"}, want: []int{1, 0}},
		"some of them":           {images: classes{"c", "a"}, model: classes{"a", "b", "c"}, want: []int{2, 0}},
		"folders of numbers":     {images: sorted, model: numbers, want: []int{0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9}},
		"a model of folders":     {images: numbers, model: sorted, want: []int{0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3}},
		"a number in its place":  {images: classes{"0", "1", "dog"}, model: classes{"0", "1", "2"}, says: "does not know dog (1 image); it knows 0, 1, 2"},
		"and the other way":      {images: classes{"0", "1", "2"}, model: classes{"0", "1", "dog"}, says: "does not know 2 (1 image)"},
		"unknown without images": {images: classes{"a", "new"}, model: classes{"a", "b"}, counts: []int{3, 0}, want: []int{0, unknown}},
		"unknown":                {images: classes{"a", "new", "newer"}, model: classes{"a", "b"}, counts: []int{3, 5, 1}, says: "new (5 images), newer (1 image)"},
		"all unknown":            {images: classes{"x", "y"}, model: classes{"a", "b"}, says: "does not know x (1 image), y"},
		"images without names":   {images: classes{"0", "1"}, model: classes{"a", "b", "c"}, want: []int{0, 1}, assumed: "label 0 is taken to be the model's class a"},
		"too many of them":       {images: numbers, model: classes{"a", "b", "c"}, says: "does not know 0 (1 image)"},
		"a model without names":  {images: classes{"a", "b"}, model: classes{"0", "1"}, want: []int{0, 1}, assumed: "output 0 is taken to be a"},
		"fewer than it has":      {images: classes{"a", "b"}, model: classes{"0", "1", "2"}, says: "nothing says which is which"},
		"no list at all":         {images: classes{"a", "b"}, outputs: 2, want: []int{0, 1}, assumed: "output 0 is taken to be a"},
		"no list, more outputs":  {images: classes{"a", "b"}, outputs: 1000, says: "no names for the model's 1000 outputs"},
		"no names on any side":   {images: classes{"0", "1"}, outputs: 1000, want: []int{0, 1}, assumed: "label 0 is taken to be the model's class 0"},
		"one name twice":         {images: classes{"crane", "dog", "crane"}, model: classes{"dog", "crane", "crane"}, want: []int{1, 0, 2}},
		"a name twice unknown":   {images: classes{"crane", "crane"}, model: classes{"crane", "dog"}, says: "does not know crane"},
		"two forms of é":         {images: classes{"cafe\u0301"}, model: classes{"caf\u00e9"}, want: []int{0}},
		"control characters":     {images: classes{"a\x1b[31m"}, model: classes{"b"}, says: `a\x1b[31m (1 image)`},
	} {
		if c.counts == nil {
			c.counts = slices.Repeat([]int{1}, len(c.images))
		}
		got, err := match(c.images, c.model, max(c.outputs, len(c.model)), c.counts)
		if c.says != "" {
			if !errors.Is(err, ErrClasses) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
			}
			continue
		}
		if err != nil || !slices.Equal(got.output, c.want) || !strings.Contains(got.assumed, c.assumed) || c.assumed == "" && got.assumed != "" {
			t.Errorf("%s: %v (%q), %v; want %v (%q)", name, got.output, got.assumed, err, c.want, c.assumed)
		}
	}
}

// How many classes of the model the images have is counted among the model's, not the images'.
func TestClassesOfTheModelAreCounted(t *testing.T) {
	images := classes{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"} // of which two have images
	var said []string
	_, err := labelledFor(labelled{1, 10, 1}, images, classes{"1", "10", "2"}, 3, func(text string) { said = append(said, text) })
	if want := []string{"the images are of 2 of the model's 3 classes"}; err != nil || !slices.Equal(said, want) {
		t.Errorf("%q, %v; want %q", said, err, want)
	}
}

// labelled is a split of labels alone.
type labelled []int

func (l labelled) Len() int                          { return len(l) }
func (l labelled) Label(i int) int                   { return l[i] }
func (l labelled) Image(int) (i data.Image, _ error) { return i, nil }
