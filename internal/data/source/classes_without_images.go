package source

import (
	"prenas/internal/data"
	"prenas/internal/printable"
)

// tellClassesWithoutImages says what training images cannot teach: classes without any, or the only
// class that there is.
func (o Options) tellClassesWithoutImages(d *data.Dataset) {
	if o.Log == nil || d.Train.Len() == 0 {
		return
	}
	counts := data.LabelCounts(d.Train, len(d.Classes))
	without, first := 0, ""
	for class, count := range counts {
		if count == 0 {
			if without++; without == 1 {
				first = d.Classes[class]
			}
		}
	}
	switch {
	case len(d.Classes) == 1:
		o.log("data: all images are of one class, %s: there is nothing to tell apart", d.Classes[0])
	case without == 1:
		o.log("data: class %s has no training image", first)
	case without > 1:
		o.log("data: %d of %s have no training image; the first is %s", without, printable.Count(len(counts), "class"), first)
	}
}
