package data

import (
	"slices"
	"testing"
)

// numbers is a split of images that are their own number, with labels.
type numbers []int

func (c numbers) Len() int        { return len(c) }
func (c numbers) Label(i int) int { return c[i] }
func (c numbers) Image(i int) (Image, error) {
	return Image{Height: 1, Width: 1, Channels: 1, Pixels: []uint8{uint8(i)}}, nil
}

func TestStratifiedHoldsOutOfEachClass(t *testing.T) {
	s := make(numbers, 100)
	for i := range s {
		switch {
		case i < 20:
			s[i] = 1
		case i < 25:
			s[i] = 2
		case i < 26:
			s[i] = 3
		}
	}
	kept, held := HoldOut(s, 1, 0.2, true)
	count := func(s Split, label int) (n int) {
		for i := range s.Len() {
			if s.Label(i) == label {
				n++
			}
		}
		return n
	}
	if held.Len() != 20 || kept.Len() != 80 {
		t.Fatalf("%d held, %d kept", held.Len(), kept.Len())
	}
	for label, want := range []int{15, 4, 1, 0} {
		if got := count(held, label); got < want-1 || got > want+1 {
			t.Errorf("class %d: %d held out, want about %d", label, got, want)
		}
	}
	if count(kept, 3) != 1 {
		t.Error("the only image of a class is not trained on")
	}
	_, again := HoldOut(s, 1, 0.2, true)
	if !slices.Equal(held.(subset).index, again.(subset).index) {
		t.Error("twice the same is not the same")
	}
}

// A class's only image is never held out, however many there should be.
func TestStratifiedLeavesEachClassAnImage(t *testing.T) {
	for _, c := range []struct {
		s    numbers
		part float64
		held int
	}{{numbers{0, 1, 2, 3, 4}, 0.4, 0}, {numbers{7}, 0.5, 0}, {numbers{0, 1, 2, 2, 2}, 0.6, 2}, {numbers{0, 0, 1, 1}, 0.9, 2}, {numbers{}, 0.5, 0}} {
		kept, held := HoldOut(c.s, 1, c.part, true)
		if held.Len() != c.held || kept.Len() != len(c.s)-c.held {
			t.Errorf("%v, %v: %d held, %d kept", c.s, c.part, held.Len(), kept.Len())
		}
	}
	if _, held := HoldOut(numbers{0, 1, 2, 3, 4}, 1, 0.4, false); held.Len() != 2 {
		t.Errorf("%d held where classes are not looked at", held.Len())
	}
}

func TestImbalanceIsOfClassesWithImages(t *testing.T) {
	for want, s := range map[float64]numbers{0: {}, 1: {4, 9}, 2.5: {1, 1, 1, 1, 1, 7, 7}} {
		if got := Imbalance(&Dataset{Train: s}); got != want {
			t.Errorf("%v: %v, want %v", s, got, want)
		}
	}
}
