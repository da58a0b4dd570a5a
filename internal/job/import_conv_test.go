package job

import (
	"reflect"
	"testing"

	"prenas/pkg/space"
)

// The space that is written beside a convolutional network is read as that network's, with choices
// that shrink it, whether its blocks are all alike or not.
func TestSpaceOfAConvolutionalSupernet(t *testing.T) {
	m := space.DefaultConvModel()
	m.ImageSize, m.NumClasses = 64, 7
	arch, err := space.ParseArch("i64-d4x5-k7x20-x6x20")
	if err != nil {
		t.Fatal(err)
	}
	s, err := shrinkableConv(m, arch)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	back, err := space.Parse("x", "x", []byte(spaceText(s)))
	if err != nil {
		t.Fatal(err)
	}
	if !back.Whole().Equal(arch) || !reflect.DeepEqual(back.Model, m) || back.Smallest().String() != "i64-d2x5-k3x10-x3x10" {
		t.Errorf("%s\nis read as whole %s, smallest %s, %+v", spaceText(s), back.Whole(), back.Smallest(), back.Model)
	}
	large, err := space.ParseArch("i64-d2_3_4_2_3-k3x2_5x3_3x6_5x3-x4_3x4_6_2.5_2.3x2_6x5")
	if err != nil {
		t.Fatal(err)
	}
	if s, err = shrinkableConv(m, large); err != nil {
		t.Fatal(err)
	}
	if back, err = space.Parse("x", "x", []byte(spaceText(s))); err != nil {
		t.Fatal(err)
	}
	if got, least := back.Whole(), back.Smallest(); !got.Equal(large) || !back.Largest().Equal(large) || back.Check(large) != nil || least.Units[1][0].Expand > 1.5 || len(least.Units[2]) != 2 {
		t.Errorf("%s\nis read as whole %s, largest %s, smallest %s", spaceText(s), got, back.Largest(), least)
	}
	// What is in the lists, but above a block's own, is not in the space.
	large.Units[0] = append(large.Units[0], large.Units[0][0])
	if err := back.Check(large); err == nil {
		t.Error("a unit has a block more than the supernet's")
	}
}
