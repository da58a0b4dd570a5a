package search

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"prenas/pkg/space"
)

// randomConvSpace draws a small convolutional space, choices in any order.
func randomConvSpace(t *rapid.T) *space.Space {
	some := func(name string, of ...int) []int {
		n := rapid.IntRange(1, 2).Draw(t, name+" count")
		return rapid.Permutation(of).Draw(t, name)[:n]
	}
	s := &space.Space{
		Name: "random", Supernet: space.Supernet{Depth: 3, Kernel: 7, Expand: 6},
		Depth: some("depth", 1, 2), Kernel: some("kernel", 3, 5, 7),
		Expand: rapid.Permutation([]float64{1, 2, 4.5}).Draw(t, "expand")[:2], Resolution: []int{16},
		Model: space.Model{ImageSize: 16, Channels: 2, NumClasses: 3, Conv: space.ConvModel{
			Stem: 4, StemStride: 1, Features: 5, Mix: 6, MixBias: rapid.Bool().Draw(t, "bias"),
			Units: []space.ConvUnit{{Width: 6, Stride: 2}, {Width: 8, Stride: rapid.IntRange(1, 2).Draw(t, "stride"), SqueezeExcite: true, HSwish: true}},
		}},
	}
	if rapid.Bool().Draw(t, "resolutions") {
		s.Resolution = []int{8, 16}
	}
	if rapid.Bool().Draw(t, "blocks that differ") {
		s.Supernet = space.Supernet{}
		for u := range s.Model.Conv.Units {
			var unit []space.ConvLayer
			if u == 0 { // one that all choices fit
				unit = slices.Repeat([]space.ConvLayer{{Kernel: slices.Max(s.Kernel), Expand: slices.Max(s.Expand)}}, slices.Max(s.Depth))
				s.Supernet = space.Supernet{Depth: len(unit), Kernel: unit[0].Kernel, Expand: unit[0].Expand}
				s.Blocks = append(s.Blocks, unit)
				continue
			}
			for range rapid.IntRange(slices.Min(s.Depth), 3).Draw(t, "blocks") {
				b := space.ConvLayer{
					Kernel: max(slices.Min(s.Kernel), rapid.SampledFrom([]int{3, 5, 7}).Draw(t, "kernel of a block")),
					Expand: max(slices.Min(s.Expand), rapid.SampledFrom([]float64{1, 2, 3, 4.5}).Draw(t, "expansion of a block")),
				}
				unit = append(unit, b)
				s.Supernet.Kernel, s.Supernet.Expand = max(s.Supernet.Kernel, b.Kernel), max(s.Supernet.Expand, b.Expand)
			}
			s.Blocks, s.Supernet.Depth = append(s.Blocks, unit), max(s.Supernet.Depth, len(unit))
		}
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// convTensors are weights of the supernet's shapes, with normal values.
func convTensors(s *space.Space, seed uint64) Tensors {
	m, c, all := s.Model, s.Model.Conv, Tensors{}
	add := func(name string, shape ...int) { all[name] = normal(seed, name, shape) }
	norm := func(name string, size int) {
		add(name+".weight", size)
		add(name+".bias", size)
	}
	add("conv_stem.weight", c.Stem, m.Channels, 3, 3)
	norm("bn1", c.Stem)
	blocks := m.ConvBlocks(s.Whole())
	add("blocks.0.0.conv_dw.weight", c.Stem, 1, 3, 3)
	norm("blocks.0.0.bn1", c.Stem)
	add("blocks.0.0.conv_pw.weight", c.Stem, c.Stem, 1, 1)
	norm("blocks.0.0.bn2", c.Stem)
	for _, b := range blocks[1:] {
		name := fmt.Sprintf("blocks.%d.%d.", b.Unit+1, b.Layer)
		add(name+"conv_pw.weight", b.Hidden, b.In, 1, 1)
		norm(name+"bn1", b.Hidden)
		add(name+"conv_dw.weight", b.Hidden, 1, b.Kernel, b.Kernel)
		norm(name+"bn2", b.Hidden)
		if b.Squeeze > 0 {
			add(name+"se.conv_reduce.weight", b.Squeeze, b.Hidden, 1, 1)
			add(name+"se.conv_reduce.bias", b.Squeeze)
			add(name+"se.conv_expand.weight", b.Hidden, b.Squeeze, 1, 1)
			add(name+"se.conv_expand.bias", b.Hidden)
		}
		add(name+"conv_pwl.weight", b.Out, b.Hidden, 1, 1)
		norm(name+"bn3", b.Out)
	}
	head := fmt.Sprintf("blocks.%d.0.", len(c.Units)+1)
	add(head+"conv.weight", c.Features, c.Units[len(c.Units)-1].Width, 1, 1)
	norm(head+"bn1", c.Features)
	add("conv_head.weight", c.Mix, c.Features, 1, 1)
	if c.MixBias {
		add("conv_head.bias", c.Mix)
	}
	norm("classifier", m.NumClasses)
	all["classifier.weight"] = normal(seed, "classifier.weight", []int{m.NumClasses, c.Mix})
	return all
}

// convSlices marks, index by index, which values of the supernet's tensors an
// architecture uses: the slow twin of cuts and rings.
func convSlices(s *space.Space, a space.Arch, attnMLP bool) map[string][]bool {
	all, marks := convTensors(s, 0), map[string][]bool{}
	norms := func(name string) bool {
		return strings.Contains(name, ".bn") || strings.HasPrefix(name, "bn")
	}
	for name, t := range all {
		var u, l int
		if n, _ := fmt.Sscanf(name, "blocks.%d.%d.", &u, &l); n == 2 && u >= 1 && u <= len(a.Units) {
			continue
		}
		if !attnMLP {
			marks[name] = slices.Repeat([]bool{true}, len(t.Data))
		}
	}
	for _, b := range s.Model.ConvBlocks(a)[1:] {
		prefix := fmt.Sprintf("blocks.%d.%d.", b.Unit+1, b.Layer)
		for name, t := range all {
			rest, of := strings.CutPrefix(name, prefix)
			if !of || attnMLP && norms(name) {
				continue
			}
			mark := make([]bool, len(t.Data))
			for i := range mark {
				index := make([]int, 4) // of the value, by axis
				for axis, left := len(t.Shape)-1, i; axis >= 0; axis-- {
					index[axis], left = left%t.Shape[axis], left/t.Shape[axis]
				}
				switch out, in := index[0], index[1]; {
				case rest == "conv_dw.weight":
					margin := (t.Shape[2] - b.Kernel) / 2
					inside := func(i int) bool { return i >= margin && i < margin+b.Kernel }
					mark[i] = out < b.Hidden && inside(index[2]) && inside(index[3])
				case rest == "conv_pw.weight" || strings.HasPrefix(rest, "bn1") || strings.HasPrefix(rest, "bn2") || rest == "se.conv_expand.bias":
					mark[i] = out < b.Hidden
				case rest == "conv_pwl.weight":
					mark[i] = in < b.Hidden
				case rest == "se.conv_reduce.weight":
					mark[i] = out < b.Squeeze && in < b.Hidden
				case rest == "se.conv_expand.weight":
					mark[i] = out < b.Hidden && in < b.Squeeze
				case rest == "se.conv_reduce.bias":
					mark[i] = out < b.Squeeze
				default: // bn3
					mark[i] = true
				}
			}
			marks[name] = mark
		}
	}
	return marks
}

func TestConvTablesCountAsTheSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomConvSpace(t)
		g, params, macs, isomersSeen := newGrid(s), ParamsTable(s), MACsTable(s), 0
		everyPick(g, func(p pick) {
			a := g.arch(p)
			if err := s.Check(a); err != nil || !g.pick(a).same(p) {
				t.Fatalf("%s: %v, picked as %v", a, err, g.pick(a))
			}
			if params.total(p) != float64(s.Model.Params(a)) || macs.total(p) != float64(s.Model.MACs(a)) {
				t.Fatalf("%s: %v parameters and %v MACs, want %d and %d", a, params.total(p), macs.total(p), s.Model.Params(a), s.Model.MACs(a))
			}
		})
		deeperBest, err := NewBlockScores(s, nil, BlockMethod{base: deeper}, true)
		if err != nil {
			t.Fatal(err)
		}
		second, err := NewBlockScores(s, nil, BlockMethod{base: deeper}, false)
		if err != nil {
			t.Fatal(err)
		}
		all := rapid.Bool().Draw(t, "all splits")
		isomers{grid: g, first: deeperBest, second: second, all: all}.visit([]*Table{params}, func(p pick, totals []float64) {
			isomersSeen++
			if !(math.Abs(totals[0]-params.total(p)) <= 1e-6) {
				t.Fatalf("%s: visited with %v parameters, has %v", g.arch(p), totals[0], params.total(p))
			}
		})
		if want := s.CountIsomers(all); want.Int64() != int64(isomersSeen) {
			t.Fatalf("%d isomers visited, %v counted", isomersSeen, want)
		}
	})
}

// A kernel's block score is the ring of taps that it adds; an expansion's the
// rows and columns that it adds.
func TestConvBlockScores(t *testing.T) {
	s := smallConvSpace(t)
	weights, grads := convTensors(s, 1), convTensors(s, 2)
	sums, err := NewSums(s, weights, grads, false)
	if err != nil {
		t.Fatal(err)
	}
	method := BlockMethod{base: "taylor6"}
	kernels, err := NewBlockScores(s, sums, method, true)
	if err != nil {
		t.Fatal(err)
	}
	expands, err := NewBlockScores(s, sums, method, false)
	if err != nil {
		t.Fatal(err)
	}
	part := func(a space.Arch, names ...string) float64 {
		sum := 0.0
		for name, mark := range convSlices(s, a, false) {
			if !slices.Contains(names, name) {
				continue
			}
			for i, used := range mark {
				if used {
					sum += math.Abs(float64(weights[name].Data[i]) * float64(grads[name].Data[i]))
				}
			}
		}
		return sum
	}
	of := func(kernel int, expand float64) space.Arch {
		layers := []space.ConvLayer{{Kernel: kernel, Expand: expand}, {Kernel: kernel, Expand: expand}}
		return space.Arch{Resolution: 16, Units: [][]space.ConvLayer{layers, layers}}
	}
	for l := range 4 {
		prefix := fmt.Sprintf("blocks.%d.%d.", l/2+1, l%2)
		want := part(of(7, 4), prefix+"conv_dw.weight") - part(of(3, 4), prefix+"conv_dw.weight")
		if got := kernels.scores[0][1][l]; !(math.Abs(got-want) <= 1e-6*want) {
			t.Errorf("layer %d: kernel 7 adds %v, want %v", l, got, want)
		}
		names := []string{prefix + "conv_pw.weight", prefix + "conv_pwl.weight"}
		want = part(of(7, 4), names...) - part(of(7, 2), names...)
		if got := expands.scores[0][1][l]; !(math.Abs(got-want) <= 1e-6*want) {
			t.Errorf("layer %d: expansion 4 adds %v, want %v", l, got, want)
		}
	}
}

func smallConvSpace(t *testing.T) *space.Space {
	s, err := space.Parse("test", "test", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 2, KERNEL: 7, EXPAND: 4}
SEARCH_SPACE: {DEPTH: [2, 1], KERNEL: [3, 7], EXPAND: [2, 4]}
MODEL: {IMAGE_SIZE: 16, CHANNELS: 1, NUM_CLASSES: 4, STEM: 4, WIDTH: [8, 6], STRIDE: [2, 1], SQUEEZE_EXCITE: [true, false], H_SWISH: [false, true], FEATURES: 8, MIX: 8}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// With intervals of parameters images cost nothing and the largest are taken.
func TestConvTakesTheLargestImagesWhereTheyAreFree(t *testing.T) {
	s := smallConvSpace(t)
	s.Resolution = []int{8, 16}
	weights, grads := convTensors(s, 1), convTensors(s, 2)
	for _, method := range Methods() {
		o := Options{Method: method, Interval: space.Interval{Min: 0, Max: 0.01, Step: 0.001}}
		c, _, err := Run(s, weights, grads, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, bin := range c {
			if a := bin.Candidates[0].Arch; a.Resolution != 16 && (method == Preferred || method == Exact) {
				t.Errorf("%s, below %s: %s", method, bin.Key, a)
			}
		}
		if err := c.Check(s); err != nil {
			t.Error(err)
		}
	}
	o := Options{Score: ScoreMethod{base: "entropy"}}
	o.Interval = space.Interval{Min: 0, Max: 0.01, Step: 0.001}
	if _, _, err := Run(s, weights, grads, o); !errors.Is(err, ErrMethod) {
		t.Errorf("entropy: %v", err)
	}
}
