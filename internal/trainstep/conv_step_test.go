package trainstep

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/toy"
	"prenas/pkg/space"
	"strings"
	"testing"
)

func convFixture(t *testing.T, file string) map[string]tensorfile.Tensor {
	t.Helper()
	f, err := tensorfile.Read(filepath.Join("..", "supernet", "testdata", "conv", file))
	if err != nil {
		t.Fatal(err)
	}
	return f.Tensors
}

// SGD steps that train two architectures in turn, each with running statistics of its
// own, leave behind what PyTorch's do, the weights that an architecture does not use
// and the statistics of the one that was not trained included.
func TestConvStepsEqualPyTorch(t *testing.T) {
	e, net, archs := enginetest.PureGo(t), supernet.New(toy.ConvSpace(t)), toy.ConvArchs(t)
	weights, want := map[string]tensorfile.Tensor{}, convFixture(t, "steps.safetensors")
	for name, w := range convFixture(t, "conv.safetensors") {
		if name, is := strings.CutPrefix(name, "weight."); is {
			weights[name] = w
		}
	}
	r := recipe.Recipe{Optimizer: recipe.Optimizer{Name: recipe.SGD, LR: 0.05, Decay: 0.05, Momentum: 0.9}}
	state, err := Upload(NewState(net, r, weights, archs...), e, net, archs...)
	if err != nil {
		t.Fatal(err)
	}
	var programs []*step
	for _, arch := range archs {
		s, err := compileStep(e, net, arch, r, softBatch(want["input.0"].Shape, want["target.0"].Shape))
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		programs = append(programs, s)
	}
	losses, err := want["losses"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for k, loss := range losses {
		before := hostStats(t, net, state, archs[1-k%2])
		images, targets := device(t, e, want[fmt.Sprintf("input.%d", k)]), device(t, e, want[fmt.Sprintf("target.%d", k)])
		stats, err := programs[k%2].run(state, r.Optimizer.LR, images, targets)
		if err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(float64(stats.Loss - loss)); !(d < 1e-4) {
			t.Errorf("step %d: loss %v, want %v", k, stats.Loss, loss)
		}
		if !bytes.Equal(before, hostStats(t, net, state, archs[1-k%2])) {
			t.Errorf("step %d moved the statistics of an architecture that it did not train", k)
		}
	}
	host, err := state.Download(net, archs...)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, w := range want {
		ours, after := strings.CutPrefix(name, "after.")
		if !after && !strings.HasPrefix(name, rundir.StatsPrefix) {
			continue
		}
		compared++
		got, err := host[ours].Float32s()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		values, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference(got, values); !(d < 1e-4) {
			t.Errorf("%s differs by %.2g of its largest", name, d)
		}
	}
	if all := len(net.Params()) + len(supernet.Stats(net.Space().Model, archs[0])) + len(supernet.Stats(net.Space().Model, archs[1])); compared != all {
		t.Errorf("%d tensors compared, there are %d", compared, all)
	}
}

// hostStats are the bytes of an architecture's statistics.
func hostStats(t *testing.T, net *supernet.Net, s *State, arch space.Arch) []byte {
	t.Helper()
	host, err := s.Download(net, arch)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, p := range supernet.Stats(net.Space().Model, arch) {
		all = append(all, host[rundir.StatName(arch, p)].Data...)
	}
	return all
}

// The masked step of a convolutional space leaves behind what architectures' own steps do.
func TestMaskedConvStepEqualsStaticSteps(t *testing.T) {
	s := toy.ConvSpace(t)
	s.Model.Channels, s.Model.ImageSize, s.Model.NumClasses, s.Resolution = 1, 8, 3, []int{8}
	e, net, r := enginetest.PureGo(t), supernet.New(s), recipe.Default()
	r.Batch, r.Mix.Mixup, r.Mix.Cutmix, r.Mix.Mode = 8, 0.8, 1, "elem"
	r.Optimizer = recipe.Optimizer{Name: recipe.SGD, LR: 0.05, Momentum: 0.9, Eps: 1e-8}
	masked, err := NewMaskedStep(e, net, r, nil, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close()
	archs := []space.Arch{s.Smallest(), s.Largest()}
	for _, a := range toy.ConvArchs(t) {
		a.Resolution = 8
		archs = append(archs, a)
	}
	static := upload(t, e, net, NewState(net, r, net.Init(5), archs...), archs...)
	state, err := masked.Start([]uint64{5})
	if err != nil {
		t.Fatal(err)
	}
	for step, arch := range archs {
		in := stepInputs{engine: e, recipe: r, space: net.Space(), arch: arch}
		own, err := compileStep(e, net, arch, r, in.form())
		if err != nil {
			t.Fatal(err)
		}
		b := NoiseBatch(r.Batch, s.Model)
		on := put(t, e, net.Space().Model, b)
		want, err := own.run(static, maskedLR, on.images, in.values(on.Labels, 9, step, 0)...)
		own.close()
		if err != nil {
			t.Fatal(err)
		}
		got, err := masked.Run(state, []space.Arch{arch}, maskedLR, b, 9, step)
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference([]float32{got[0].Loss, got[0].GradNorm}, []float32{want.Loss, want.GradNorm}); d > 1e-4 {
			t.Errorf("step %d: %+v, want %+v", step, got[0], want)
		}
		a, b2 := hostValues(t, state), hostValues(t, static)
		for i := range a {
			if d := fixture.Difference(a[i], b2[i]); d > 1e-4 && !(max(largestOf(a[i]), largestOf(b2[i])) <= 1e-4) {
				t.Errorf("step %d: tensor %d differs by %.2g of its largest", step, i, d)
			}
		}
	}
}

func largestOf(values []float32) float32 {
	var most float32
	for _, v := range values {
		most = max(most, v, -v)
	}
	return most
}
