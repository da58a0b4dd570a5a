package space

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What is counted roughly is at least what is counted exactly, and not far from it.
func TestRoughSize(t *testing.T) {
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		params, macs := s.roughSize()
		exact, exactMACs := float64(s.Model.Params(s.Largest())), float64(s.Model.MACs(s.Largest()))
		if params < exact || params > 60*exact || macs < exactMACs || macs > 300*exactMACs {
			t.Errorf("%s: %.3g parameters and %.3g MACs, exactly %.3g and %.3g", name, params, macs, exact, exactMACs)
		}
	}
}

// Spaces beyond all sense are refused, and no count of what passes is negative.
func TestAbsurdSpaces(t *testing.T) {
	const form = `
SUPERNET:     {EMBED_DIM: %[1]d, DEPTH: %[2]d, NUM_HEADS: %[3]d, MLP_RATIO: %[4]d}
SEARCH_SPACE: {EMBED_DIM: [%[1]d], DEPTH: [%[2]d], NUM_HEADS: [%[3]d], MLP_RATIO: [%[4]d]}
MODEL:        {IMAGE_SIZE: %[5]d, PATCH_SIZE: %[6]d, HEAD_DIM: %[7]d, RELATIVE_POSITION: true, MAX_RELATIVE_POSITION: 8192, CHANNELS: 1024, NUM_CLASSES: 16777216}
`
	for _, c := range [][7]int{
		{65536, 1024, 1024, 64, 224, 16, 64}, {65536, 1024, 1, 64, 8192, 1, 65536}, {64, 1, 1, 1, 8192, 1, 64}, {65536, 1, 1, 1, 8192, 1, 65536},
		{65536, 12, 1024, 4, 8192, 1, 64}, {256, 12, 4, 4, 8192, 8192, 64}, {1024, 1024, 16, 4, 224, 16, 64},
	} {
		s, err := Parse("absurd", "absurd.yaml", fmt.Appendf(nil, form, c[0], c[1], c[2], c[3], c[4], c[5], c[6]))
		if err != nil {
			if !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), "absurd.yaml") {
				t.Errorf("%v: %v", c, err)
			}
			continue
		}
		if a := s.Largest(); s.Model.Params(a) <= 0 || s.Model.MACs(a) <= 0 {
			t.Errorf("%v: %d parameters, %d MACs", c, s.Model.Params(a), s.Model.MACs(a))
		}
	}
	if _, err := Parse("absurd", "absurd.yaml", fmt.Appendf(nil, form, 65536, 1024, 1024, 64, 224, 16, 64)); err == nil {
		t.Error("65536 x 1024 x 64 passes")
	}
}
