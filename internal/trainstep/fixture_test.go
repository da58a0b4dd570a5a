package trainstep

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// The original's AdamW steps on a sequence of architectures: losses and all weights
// afterwards, those outside a slice and beyond a depth included.
func TestFixtureTrainStep(t *testing.T) {
	e, f := enginetest.Test(t), fixture.Open(t)
	net := supernet.New(f.Space)
	var want struct {
		Optimizer string   `json:"optimizer"`
		NoDecay   []string `json:"no_weight_decay"`
		Steps     []struct {
			Architecture string  `json:"architecture"`
			Loss         float64 `json:"loss"`
		} `json:"steps"`
	}
	f.JSON("train_step.json", &want)
	var expected struct {
		Logits struct {
			Configs map[string]fixture.Arch `json:"configs"`
		} `json:"logits"`
	}
	f.JSON("expected.json", &expected)
	tensorsOf := f.Tensors("train_step.safetensors")

	optimizer := recipe.Optimizer{Name: recipe.AdamW}
	if _, err := fmt.Sscanf(want.Optimizer, "AdamW lr %g betas %g %g eps %g weight_decay %g",
		&optimizer.LR, &optimizer.Beta1, &optimizer.Beta2, &optimizer.Eps, &optimizer.Decay); err != nil {
		t.Fatalf("optimizer %q: %v", want.Optimizer, err)
	}
	var noDecay []string
	for _, p := range net.Params() {
		if !p.Decay {
			noDecay = append(noDecay, p.Name)
		}
	}
	slices.Sort(noDecay)
	slices.Sort(want.NoDecay)
	if !slices.Equal(noDecay, want.NoDecay) {
		t.Errorf("without weight decay are\n%v\nwant\n%v", noDecay, want.NoDecay)
	}

	state := upload(t, e, net, NewState(net, recipe.Recipe{Optimizer: optimizer}, f.Weights))
	programs := map[string]*step{}
	byNoise := make([][]float64, len(net.Params())) // how far rounding may have moved each entry
	for k, s := range want.Steps {
		images, targets := tensorsOf[fmt.Sprintf("input.%d", k)], tensorsOf[fmt.Sprintf("target.%d", k)]
		program := programs[s.Architecture]
		if program == nil {
			var err error
			arch := expected.Logits.Configs[s.Architecture].Arch()
			program, err = compileStep(e, net, arch, recipe.Recipe{Optimizer: optimizer}, softBatch(images.Shape, targets.Shape))
			if err != nil {
				t.Fatal(err)
			}
			defer program.close()
			programs[s.Architecture] = program
		}
		stats, err := program.run(state, optimizer.LR, device(t, e, images), device(t, e, targets))
		if err != nil {
			t.Fatal(err)
		}
		if diff := math.Abs(float64(stats.Loss)-s.Loss) / math.Abs(s.Loss); !(diff <= 1e-5) {
			t.Errorf("step %d: loss %v, want %v", k, stats.Loss, s.Loss)
		}
		for _, i := range program.trained.Indices() {
			second := download(t, state.V[i])
			if byNoise[i] == nil {
				byNoise[i] = make([]float64, len(second))
			}
			noise := gradientNoise * math.Sqrt(float64(slices.Max(second)))
			for j, v := range second {
				if v > 0 {
					byNoise[i][j] += optimizer.LR * min(1, noise/math.Sqrt(float64(v)))
				}
			}
		}
	}
	worst, entries, noisy := 0.0, 0, 0
	for i, p := range net.Params() {
		got, after := download(t, state.Weights[i]), f.Floats(tensorsOf["after."+p.Name])
		if len(after) != len(got) {
			t.Fatalf("%s has %d entries, want %d", p.Name, len(got), len(after))
		}
		largest := 0.0
		for _, w := range after {
			largest = max(largest, math.Abs(float64(w)))
		}
		for j := range after {
			diff := math.Abs(float64(got[j]) - float64(after[j]))
			if !(diff <= 1e-5*largest+byNoise[i][j]) {
				t.Errorf("%s[%d] is %v, want %v", p.Name, j, got[j], after[j])
				break
			}
			entries++
			if diff > 1e-5*largest {
				noisy++
			} else {
				worst = max(worst, diff/largest)
			}
		}
	}
	if float64(noisy) > 1e-4*float64(entries) {
		t.Errorf("%d of %d entries differ by more than 1e-5 of their tensor's largest", noisy, entries)
	}
	t.Logf("%d of %d entries are moved by rounding noise; the others differ by up to %.2g of their tensor's largest", noisy, entries, worst)
}

// gradientNoise is the rounding error of a float32 gradient relative to the tensor's
// largest. Adam divides a gradient by its own size, so an entry whose gradient is
// near the noise is moved by noise: on the default fixture 12 of 642,698 entries, and
// as many, mostly the same, if the gradients are computed in float64.
const gradientNoise = 4e-6

func download(t *testing.T, x *tensors.Tensor) []float32 {
	t.Helper()
	host, err := engine.Download(x)
	if err != nil {
		t.Fatal(err)
	}
	values, err := host.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// softBatch is a batch that comes with its soft targets.
func softBatch(images, targets []int) batchForm {
	return batchForm{
		inputs:  []shapes.Shape{shapes.Make(dtypes.Float32, images...), shapes.Make(dtypes.Float32, targets...)},
		prepare: func(in []*graph.Node) prepared { return prepared{images: in[0], targets: in[1]} },
	}
}

func device(t *testing.T, e *engine.Engine, x tensorfile.Tensor) *tensors.Tensor {
	t.Helper()
	tensor, err := e.Upload(x)
	if err != nil {
		t.Fatal(err)
	}
	return tensor
}

func upload(t *testing.T, e *engine.Engine, net *supernet.Net, h rundir.HostState, archs ...space.Arch) *State {
	t.Helper()
	state, err := Upload(h, e, net, archs...)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
