package printable

import "testing"

func TestCountsHaveTheirNumber(t *testing.T) {
	for _, test := range []struct {
		n           int
		thing       string
		count, have string
	}{
		{0, "class", "0 classes", "0 classes are"}, {1, "class", "1 class", "1 class is"}, {2, "class", "2 classes", "2 classes are"},
		{1, "batch", "1 batch", "1 batch is"}, {3, "batch", "3 batches", "3 batches are"},
		{1, "training image", "1 training image", "1 training image is"}, {2, "training image", "2 training images", "2 training images are"},
		{2, "epoch", "2 epochs", "2 epochs are"},
	} {
		if got := Count(test.n, test.thing); got != test.count {
			t.Errorf("%q, want %q", got, test.count)
		}
		if got := Are(int64(test.n), test.thing); got != test.have {
			t.Errorf("%q, want %q", got, test.have)
		}
	}
}
