// Package toy has spaces that tests can compile and train in seconds, and architectures of them.
package toy

import (
	"prenas/pkg/space"
	"testing"
)

// Space is small enough to compile and train in a test.
func Space() *space.Space {
	return &space.Space{
		Name: "toy", Supernet: space.Supernet{EmbedDim: 24, Depth: 2, NumHeads: 2, MLPRatio: 2},
		EmbedDim: []int{16, 24}, Depth: []int{1, 2}, NumHeads: []int{1, 2}, MLPRatio: []float64{1, 2},
		Model: space.Model{ImageSize: 8, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 8,
			RelativePosition: true, MaxRelativePosition: 2, GlobalPool: true, AbsPos: true, QKVBias: true},
		Interval: space.Interval{Min: 0, Max: 1, Step: 0.1},
	}
}

// Candidates are three architectures of Space, from the smallest to the largest.
func Candidates() space.Candidates {
	return space.Candidates{
		{Key: "0.1", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 16, NumHeads: []int{1}, MLPRatio: []float64{1}}}}},
		{Key: "0.2", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 24, NumHeads: []int{2, 1}, MLPRatio: []float64{1, 2}}}}},
		{Key: "0.3", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 24, NumHeads: []int{2, 2}, MLPRatio: []float64{2, 2}}}}},
	}
}

// Archs are those of Candidates and a fourth.
func Archs() []space.Arch {
	var archs []space.Arch
	for _, bin := range Candidates() {
		archs = append(archs, bin.Candidates[0].Arch)
	}
	// A second one with the embed_dim and depth of the last.
	return append(archs, space.Arch{EmbedDim: 24, NumHeads: []int{1, 1}, MLPRatio: []float64{1, 1}})
}

// ConvSpace is that of internal/supernet/testdata/conv/make.py.
func ConvSpace(t *testing.T) *space.Space {
	t.Helper()
	s, err := space.Parse("test", "test", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [2, 3]}
MODEL: {IMAGE_SIZE: 16, CHANNELS: 2, NUM_CLASSES: 5, STEM: 8, WIDTH: [8, 16], STRIDE: [2, 2], SQUEEZE_EXCITE: [false, true], H_SWISH: [false, true], FEATURES: 24, MIX: 16, MIX_BIAS: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ConvArchs are trained in turn by make.py.
func ConvArchs(t *testing.T) []space.Arch {
	t.Helper()
	var archs []space.Arch
	for _, text := range []string{"i16-d2_1-k3_5_3-x2_3_2", "i16-d1_2-k5x2_3-x3_2x2"} {
		a, err := space.ParseArch(text)
		if err != nil {
			t.Fatal(err)
		}
		archs = append(archs, a)
	}
	return archs
}
