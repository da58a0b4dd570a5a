package trainstep

import (
	"math"
	"slices"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/fixture"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

const maskedLR = 0.01

func maskedSpace() *space.Space {
	return &space.Space{
		Name:     "masked",
		Supernet: space.Supernet{EmbedDim: 16, Depth: 3, NumHeads: 3, MLPRatio: 2},
		EmbedDim: []int{8, 16}, Depth: []int{1, 2, 3}, NumHeads: []int{1, 2, 3}, MLPRatio: []float64{1, 2},
		Model: space.Model{
			ImageSize: 8, PatchSize: 4, Channels: 1, NumClasses: 4, HeadDim: 5,
			RelativePosition: true, MaxRelativePosition: 1, GlobalPool: true, AbsPos: true, QKVBias: true,
		},
	}
}

func maskedArchs() []space.Arch {
	return []space.Arch{
		{EmbedDim: 16, NumHeads: []int{3, 3, 3}, MLPRatio: []float64{2, 2, 2}},
		{EmbedDim: 8, NumHeads: []int{1}, MLPRatio: []float64{1}},
		{EmbedDim: 16, NumHeads: []int{1, 3}, MLPRatio: []float64{2, 1}},
		{EmbedDim: 8, NumHeads: []int{2, 1, 3}, MLPRatio: []float64{1, 2, 1}},
	}
}

func maskedRecipe() recipe.Recipe {
	r := recipe.Default()
	r.Batch = 6
	r.Optimizer.LR = maskedLR
	r.Mix.Mixup, r.Mix.Mode = 0.8, "elem"
	r.Regularize = recipe.Regularize{DropPath: 0.3, Drop: 0.2, AttnDrop: 0.1}
	return r
}

func maskedBatch(r recipe.Recipe, step int) evaluate.Batch {
	random := rng.New(3, "batch", uint64(step))
	b := evaluate.Batch{Images: make([]float32, r.Batch*64), Labels: make([]int32, r.Batch)}
	for i := range b.Images {
		b.Images[i] = float32(random.NormFloat64())
	}
	for i := range b.Labels {
		b.Labels[i] = random.Int32N(4)
	}
	return b
}

// A state's weights, moments and counts on the host.
func hostValues(t *testing.T, s *State) [][]float32 {
	t.Helper()
	var all [][]float32
	for _, x := range slices.Concat(s.groups()...) {
		all = append(all, download(t, x))
	}
	return append(all, download(t, s.Counts))
}

// sameState allows for rounding, which Adam's division by a gradient's own size
// lifts where gradients are zero but for rounding, as those of the keys' biases are
// (softmax does not see them): all but few entries are equal to 1e-5 of their tensor's
// largest, and none is further off than an update is long.
func sameState(t *testing.T, what string, got, want [][]float32) {
	t.Helper()
	entries, off := 0, 0
	for i := range want {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("%s: tensor %d has %d entries, want %d", what, i, len(got[i]), len(want[i]))
		}
		largest := float32(0)
		for _, w := range want[i] {
			largest = max(largest, w, -w)
		}
		for j, w := range want[i] {
			d := max(got[i][j]-w, w-got[i][j])
			entries++
			if !(d <= 1e-5*largest) {
				off++
			}
			if !(d <= 1e-5*largest+maskedLR) {
				t.Fatalf("%s: tensor %d entry %d is %g, want %g", what, i, j, got[i][j], w)
			}
		}
	}
	if off*500 > entries {
		t.Errorf("%s: %d of %d entries differ by more than 1e-5 of their tensor's largest", what, off, entries)
	}
}

// One shared state, another architecture at each step: the masked step leaves behind
// what the architectures' own steps do, in what they do not use too.
func TestMaskedStepEqualsStaticSteps(t *testing.T) {
	e, net, r := enginetest.PureGo(t), supernet.New(maskedSpace()), maskedRecipe()
	masked, err := NewMaskedStep(e, net, r, nil, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close()
	static := upload(t, e, net, NewState(net, r, net.Init(5)))
	state, err := masked.Start([]uint64{5})
	if err != nil {
		t.Fatal(err)
	}
	for step, arch := range maskedArchs() {
		in := stepInputs{engine: e, recipe: r, space: net.Space(), arch: arch}
		own, err := compileStep(e, net, arch, r, in.form())
		if err != nil {
			t.Fatal(err)
		}
		on := put(t, e, net.Space().Model, maskedBatch(r, step))
		want, err := own.run(static, maskedLR, on.images, in.values(on.Labels, 9, step, 0)...)
		own.close()
		if err != nil {
			t.Fatal(err)
		}
		got, err := masked.Run(state, []space.Arch{arch}, maskedLR, maskedBatch(r, step), 9, step)
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference([]float32{got[0].Loss, got[0].GradNorm}, []float32{want.Loss, want.GradNorm}); d > 1e-5 {
			t.Errorf("step %d: %+v, want %+v", step, got[0], want)
		}
		sameState(t, arch.String(), hostValues(t, state), hostValues(t, static))
	}
}

// Several models in one program are each what they are alone.
func TestModelsDoNotTouchEachOther(t *testing.T) {
	e, net, r, archs := enginetest.PureGo(t), supernet.New(maskedSpace()), maskedRecipe(), maskedArchs()
	train := func(archs []space.Arch, seeds []uint64) [][]float32 {
		step, err := NewMaskedStep(e, net, r, nil, len(archs), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer step.Close()
		state, err := step.Start(seeds)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := step.Run(state, archs, maskedLR, maskedBatch(r, i), 9, i); err != nil {
				t.Fatal(err)
			}
		}
		values := hostValues(t, state)
		return values[:len(values)-1] // counts are those of all models together
	}
	seeds := []uint64{1, 2, 3, 4}
	together := train(archs, seeds)
	for k, arch := range archs {
		var own [][]float32
		for _, v := range together {
			n := len(v) / len(archs)
			own = append(own, v[k*n:(k+1)*n])
		}
		sameState(t, arch.String(), own, train([]space.Arch{arch}, seeds[k:k+1]))
	}
}

// A batch that is not finite changes nothing.
func TestMaskedStepRefusesWhatIsNotFinite(t *testing.T) {
	e, net, r := enginetest.PureGo(t), supernet.New(maskedSpace()), maskedRecipe()
	step, err := NewMaskedStep(e, net, r, nil, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer step.Close()
	state, err := step.Start([]uint64{1})
	if err != nil {
		t.Fatal(err)
	}
	before := hostValues(t, state)
	b := maskedBatch(r, 0)
	zero := float32(0)
	b.Images[7] /= zero
	stats, err := step.Run(state, maskedArchs()[:1], maskedLR, b, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	if stats[0].Finite() {
		t.Errorf("%+v is finite", stats[0])
	}
	for i, want := range before {
		if got := hostValues(t, state)[i]; !slices.Equal(got, want) {
			t.Errorf("tensor %d changed", i)
		}
	}
}

// A step has the products of its recipe.
func TestMaskedStepHasTheRecipesPrecision(t *testing.T) {
	e, net, arch := enginetest.PureGo(t), supernet.New(maskedSpace()), maskedArchs()[0]
	run := func(step *MaskedStep) float64 {
		defer step.Close()
		state, err := step.Start([]uint64{5})
		if err != nil {
			t.Fatal(err)
		}
		stats, err := step.Run(state, []space.Arch{arch}, maskedLR, maskedBatch(step.inputs.recipe, 0), 9, 0)
		if err != nil {
			t.Fatal(err)
		}
		return float64(stats[0].GradNorm)
	}
	norms := map[engine.Precision]float64{}
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16} {
		r := maskedRecipe()
		r.Precision = string(precision)
		step, err := NewMaskedStep(e, net, r, nil, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		norms[precision] = run(step)
	}
	if d := math.Abs(norms[engine.BFloat16]/norms[engine.Float32] - 1); !(d > 0 && d <= 0.05) {
		t.Errorf("the gradient's norm is %v in bf16, %v in float32", norms[engine.BFloat16], norms[engine.Float32])
	}
}

func put(t testing.TB, e *engine.Engine, m space.Model, b evaluate.Batch) Batch {
	t.Helper()
	on, err := Put(e, m, b)
	if err != nil {
		t.Fatal(err)
	}
	return on
}
