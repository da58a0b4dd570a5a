package data

import (
	"fmt"
	"strconv"
	"strings"
)

// Dataset is an open source. HeldOut is the validation split that the source has beside a
// test split, else the part of train that Open cut off.
type Dataset struct {
	Train, HeldOut, Test Split
	Classes              []string
	Digest               string // SHA-256 over the data, in hexadecimal
	Channels             int
	Mean, Std            []float32 // per channel, for pixels in [0, 1]

	Contents *Contents // of the images; nil where they are not files, and their bytes are under Digest

	Notes   []string // how the source was understood, where that may surprise
	LeftOut LeftOut
}

func (d *Dataset) Note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// NoteOrder notes that names which are numbers do not stand in the order of these, as class 1 may
// then be called 10.
func (d *Dataset) NoteOrder() {
	folded := map[string]string{}
	for _, name := range d.Classes {
		lower := strings.ToLower(name)
		if other, has := folded[lower]; has {
			d.Note("classes %s and %s differ in capitals alone: if they are one, put their images together", other, name)
		}
		folded[lower] = name
	}
	last := -1
	for i, name := range d.Classes {
		n, err := strconv.Atoi(name)
		if err == nil && n < last {
			d.Note("classes are in the order of their names as text: %s comes before %s", d.Classes[i-1], name)
			return
		}
		if err == nil {
			last = n
		}
	}
}

// The splits that images can be of.
const (
	TrainSplit = iota
	ValSplit
	TestSplit
	SplitCount

	NoSplit = -1
)

// SplitNames are the splits as they are told.
var SplitNames = [SplitCount]string{"training", "validation", "test"}

// SetSplits gives a data set its splits. Where there is a validation but no test split, it
// is what is reported on, and choosing is done on a part of train.
func (d *Dataset) SetSplits(splits [SplitCount]Split) {
	d.Train, d.Test = splits[TrainSplit], splits[TestSplit]
	switch val := splits[ValSplit]; {
	case val.Len() == 0:
	case d.Test.Len() == 0:
		d.Test = val
	default:
		d.HeldOut = val
	}
}

// Statistics are the mean and standard deviation per channel by which images
// are normalised where the source has none of its own: ImageNet's, or for grey
// their means.
func Statistics(channels int) (mean, std []float32) {
	if channels == 1 {
		return []float32{0.449}, []float32{0.226}
	}
	return []float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}
}

// MaxClasses bounds what a label can be.
const MaxClasses = 1 << 20
