package space

import (
	"errors"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/fsys"
)

// mobileNetV3 is timm's mobilenetv3_large_100 as an architecture.
func mobileNetV3() (Model, Arch) {
	m := DefaultConvModel()
	m.Conv.MixBias = true
	a, _ := convArch(224, []int{2, 3, 4, 2, 3},
		[]int{3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5},
		[]float64{4, 3, 3, 3, 3, 6, 2.5, 2.3, 2.3, 6, 6, 6, 6, 6})
	return m, a
}

// timm counts 5,483,032 parameters in mobilenetv3_large_100.
func TestMobileNetV3CountsAsTimm(t *testing.T) {
	m, a := mobileNetV3()
	if got := m.Params(a); got != 5483032 {
		t.Errorf("%d parameters, want 5483032", got)
	}
}

// A slow twin that walks the resolved blocks counts the same.
func TestConvCountsAreThoseOfTheBlocks(t *testing.T) {
	for _, name := range []string{"conv", "conv-quickstart"} {
		s := mustLoad(t, name)
		rapid.Check(t, func(t *rapid.T) {
			a := s.Draw(rapidRand(t))
			m, c := s.Model, s.Model.Conv
			var params, macs int64
			conv := func(in, out, kernel, groups, side int, norm bool) {
				n := int64(in / groups * out * kernel * kernel)
				params, macs = params+n, macs+n*int64(side*side)
				if norm {
					params += 2 * int64(out)
				}
			}
			blocks := m.ConvBlocks(a)
			conv(m.Channels, c.Stem, 3, 1, blocks[0].Side, true)
			for _, b := range blocks {
				if b.Expands {
					conv(b.In, b.Hidden, 1, 1, b.Side, true)
				}
				conv(b.Hidden, b.Hidden, b.Kernel, b.Hidden, b.OutSide(), true)
				if b.Squeeze > 0 {
					conv(b.Hidden, b.Squeeze, 1, 1, 1, false)
					conv(b.Squeeze, b.Hidden, 1, 1, 1, false)
					params += int64(b.Squeeze + b.Hidden)
				}
				conv(b.Hidden, b.Out, 1, 1, b.OutSide(), true)
			}
			last := blocks[len(blocks)-1]
			conv(last.Out, c.Features, 1, 1, last.OutSide(), true)
			conv(c.Features, c.Mix, 1, 1, 1, false)
			conv(c.Mix, m.NumClasses, 1, 1, 1, false)
			params += int64(m.NumClasses)
			if got := m.Params(a); got != params {
				t.Errorf("%s: %d parameters, the blocks have %d", a, got, params)
			}
			if got := m.MACs(a); got != macs {
				t.Errorf("%s: %d MACs, the blocks have %d", a, got, macs)
			}
		})
	}
}

func TestConvArchText(t *testing.T) {
	s := mustLoad(t, "conv")
	rapid.Check(t, func(t *rapid.T) {
		a := s.Draw(rapidRand(t))
		back, err := ParseArch(a.String())
		if err != nil || !back.Equal(a) {
			t.Fatalf("%s: parsed %v, %v", a, back, err)
		}
		if err := s.Check(a); err != nil {
			t.Fatal(err)
		}
	})
	if got := s.Smallest().String(); got != "i128-d2x5-k3x10-x3x10" {
		t.Errorf("the smallest is %s", got)
	}
	for _, text := range []string{
		"i", "i224-d2-k3x2", "i224-d2-k3x2-x4", "i224-d2-k3-x4x2", "i224-d0-k-x", "i0-d1-k3-x4", "i224-d1-k4-x4", "i224-d1-k33-x4",
		"i224-d1-k3-x0", "i224-d1_1-k3x2-x4x2", "i224-d1-k3-x4.0", "i224-d1025-k3x1025-x4x1025",
	} {
		if a, err := ParseArch(text); !errors.Is(err, ErrArch) {
			t.Errorf("%q: parsed as %v, %v", text, a, err)
		}
	}
}

func TestConvSpaceSize(t *testing.T) {
	s := mustLoad(t, "conv")
	// Once-for-all's count: ((3·3)^2 + (3·3)^3 + (3·3)^4)^5 subnets, here at five resolutions.
	want := new(big.Int).Exp(big.NewInt(81+729+6561), big.NewInt(5), nil)
	if want.Mul(want, big.NewInt(5)); s.Size().Cmp(want) != 0 {
		t.Errorf("size %v, want %v", s.Size(), want)
	}
	// Units of one block and of two; the last block has one of the two kernels.
	differ := &Space{
		Model: Model{Conv: ConvModel{Units: make([]ConvUnit, 2)}}, Depth: []int{1, 2}, Kernel: []int{3, 5}, Expand: []float64{2, 3}, Resolution: []int{8},
		Blocks: [][]ConvLayer{{{5, 3}}, {{5, 3}, {3, 3}}},
	}
	if got := differ.Size(); got.Int64() != 4*(4+4*2) {
		t.Errorf("size %v, want 48", got)
	}
	small := &Space{Model: Model{Conv: ConvModel{Units: make([]ConvUnit, 2)}}, Depth: []int{1, 2}, Kernel: []int{3, 5}, Expand: []float64{3}, Resolution: []int{8}}
	// Layers 2, 3, 3, 4; splits of n layers on two kernels: n + 1.
	if got := small.CountIsomers(true); got.Int64() != 3+4+4+5 {
		t.Errorf("%v isomers, want 16", got)
	}
}

func TestConvCandidatesAreReadBack(t *testing.T) {
	s := mustLoad(t, "conv")
	var c Candidates
	for i, a := range []Arch{s.Smallest(), s.Largest()} {
		c = append(c, Bin{Key: BinKey(float64(i + 5)), Candidates: []Candidate{{Arch: a, Params: s.Model.Params(a), Score: 1.5}}})
	}
	path := filepath.Join(t.TempDir(), "c.json")
	if err := fsys.WriteAtomic(fsys.OS, path, c.Write); err != nil {
		t.Fatal(err)
	}
	back, err := ReadCandidates(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Check(s); err != nil {
		t.Fatal(err)
	}
	for i := range c {
		if !back[i].Candidates[0].Arch.Equal(c[i].Candidates[0].Arch) {
			t.Errorf("bin %d: %s", i, back[i].Candidates[0].Arch)
		}
	}
	if err := back.Check(mustLoad(t, "tiny")); !errors.Is(err, ErrArch) {
		t.Errorf("of another family: %v", err)
	}
}

func TestConvCandidatesRefused(t *testing.T) {
	for _, text := range []string{
		`{"resolution": 28, "num_params": 1, "score": 1}`,
		`{"resolution": 28, "depth": [2], "kernel_size": [3], "expand_ratio": [3, 3], "num_params": 1, "score": 1}`,
		`{"resolution": 28, "depth": [1], "kernel_size": [4], "expand_ratio": [3], "num_params": 1, "score": 1}`,
		`{"resolution": 28, "depth": [0], "kernel_size": [], "expand_ratio": [], "num_params": 1, "score": 1}`,
		`{"resolution": 28, "depth": [1], "kernel_size": [3], "expand_ratio": [3], "layer_num": 1, "num_params": 1, "score": 1}`,
		`{"layer_num": 1, "mlp_ratio": [1], "num_heads": [1], "embed_dim": [8], "depth": [1], "num_params": 1, "score": 1}`,
	} {
		if c, err := ParseCandidates([]byte(`{"1.0": [` + text + `]}`)); !errors.Is(err, ErrCandidates) {
			t.Errorf("%s: read as %v, %v", text, c, err)
		}
	}
}

func TestConvSpacesRefused(t *testing.T) {
	const head = "FAMILY: conv\nSUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 6}\n"
	const choices = "SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [3, 6]}\n"
	if _, err := Parse("x", "x", []byte(head+choices)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"FAMILY: cnn\n" + choices:                                                        "FAMILY",
		head + "SEARCH_SPACE: {DEPTH: [1], KERNEL: [4], EXPAND: [3]}":                    "even",
		head + "SEARCH_SPACE: {DEPTH: [3], KERNEL: [3], EXPAND: [3]}":                    "DEPTH",
		head + "SEARCH_SPACE: {DEPTH: [1], KERNEL: [3], EXPAND: [3], NUM_HEADS: [3]}":    "NUM_HEADS",
		head + choices + "MODEL: {WIDTH: [8, 16]}":                                       "STRIDE",
		head + choices + "MODEL: {WIDTH_MULT: 0}":                                        "WIDTH_MULT",
		head + choices + "MODEL: {PATCH_SIZE: 4}":                                        "PATCH_SIZE",
		head + "SEARCH_SPACE: {DEPTH: [1], KERNEL: [3], EXPAND: [3], RESOLUTION: [128]}": "RESOLUTION",
		head + choices + "MODEL: {FEATURES: 0}":                                          "FEATURES",
		strings.Replace(head, "}", ", ARCH: none}", 1) + choices:                         "ARCH",
		// Five units, of kernels up to 5 and expansions up to 6, but of depth 1.
		strings.Replace(head, "}", ", ARCH: i224-d1x5-k3x4_5-x6x5}", 1) + choices:            "depth 1",
		strings.Replace(head, "}", ", ARCH: i224-d1x4-k3x3_5-x6x4}", 1) + choices:            "4 units",
		strings.Replace(head, "}", ", ARCH: i224-d2x5-k3x9_5-x6x9_1}", 1) + choices:          "expansion 1",
		head + choices + "MODEL: {WIDTH: [], STRIDE: [], SQUEEZE_EXCITE: [], H_SWISH: []}\n": "WIDTH",
	} {
		if _, err := Parse("x", "x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want it to name %s", text, err, want)
		}
	}
}

func TestWidthMultiplier(t *testing.T) {
	s, err := Parse("x", "x", []byte("FAMILY: conv\nSUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 6}\n"+
		"SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [3, 6]}\nMODEL: {WIDTH_MULT: 1.2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var widths []int
	for _, u := range s.Model.Conv.Units {
		widths = append(widths, u.Width)
	}
	// Once-for-all's at width 1.2.
	if c := s.Model.Conv; !slices.Equal(widths, []int{32, 48, 96, 136, 192}) || c.Stem != 24 || c.Features != 1152 || c.Mix != 1536 {
		t.Errorf("stem %d, units %v, features %d, mix %d", c.Stem, widths, c.Features, c.Mix)
	}
}
