package job

import (
	"reflect"
	"testing"

	"prenas/pkg/space"
)

// A convolutional network whose units and blocks are the same is a supernet: the space that is
// written beside it is read as that network's, with choices that shrink it.
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
	other, err := space.ParseArch("i64-d4x5-k7x19_5-x6x20")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := shrinkableConv(m, other); s != nil || err != nil {
		t.Errorf("blocks of two kernels: %v, %v", s, err)
	}
}
