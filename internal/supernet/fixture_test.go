package supernet_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// fixture is a folder with what the original put out on a small space.
type fixture struct {
	dir     string
	space   *space.Space
	weights map[string]tensorfile.Tensor
}

func openFixture(t *testing.T) fixture {
	t.Helper()
	dir := os.Getenv("PRENAS_FIXTURE")
	if dir == "" {
		dir = filepath.Join("..", "..", "testdata", "micro")
	}
	f := fixture{dir: dir}
	s, err := space.Load(filepath.Join(dir, "space.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// The model's options are in config.json: the original took them as flags.
	var config struct {
		ImageSize  int `json:"image_size"`
		PatchSize  int `json:"patch_size"`
		NumClasses int `json:"num_classes"`
		HeadDim    int `json:"head_dim"`
		Flags      struct {
			GP       bool `json:"gp"`
			Relative bool `json:"relative_position"`
			MaxRel   int  `json:"max_relative_position"`
			QKVBias  bool `json:"qkv_bias"`
			AbsPos   bool `json:"abs_pos"`
		} `json:"flags"`
	}
	f.json(t, "config.json", &config)
	f.weights = f.tensors(t, "weights.safetensors")
	s.Model = space.Model{
		ImageSize: config.ImageSize, PatchSize: config.PatchSize, NumClasses: config.NumClasses, HeadDim: config.HeadDim,
		Channels: f.weights["patch_embed_super.proj.weight"].Shape[1], RelativePosition: config.Flags.Relative,
		MaxRelativePosition: config.Flags.MaxRel, GlobalPool: config.Flags.GP, AbsPos: config.Flags.AbsPos, QKVBias: config.Flags.QKVBias,
	}
	f.space = s
	return f
}

func (f fixture) json(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (f fixture) tensors(t *testing.T, name string) map[string]tensorfile.Tensor {
	t.Helper()
	file, err := tensorfile.Read(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return file.Tensors
}

// archJSON is an architecture as the original's files write it.
type archJSON struct {
	LayerNum int       `json:"layer_num"`
	MLPRatio []float64 `json:"mlp_ratio"`
	NumHeads []int     `json:"num_heads"`
	EmbedDim []int     `json:"embed_dim"`
}

func (a archJSON) arch() space.Arch {
	return space.Arch{EmbedDim: a.EmbedDim[0], NumHeads: a.NumHeads[:a.LayerNum], MLPRatio: a.MLPRatio[:a.LayerNum]}
}

func floats(t *testing.T, x tensorfile.Tensor) []float32 {
	t.Helper()
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// worst is the largest difference relative to the largest entry of want.
func worst(got, want []float32) float64 {
	var largest, difference float64
	for i := range want {
		largest = math.Max(largest, math.Abs(float64(want[i])))
		difference = math.Max(difference, math.Abs(float64(got[i])-float64(want[i])))
	}
	if largest == 0 {
		return difference
	}
	return difference / largest
}

// forward runs an architecture on the images with the shared weights.
func forward(t *testing.T, n *supernet.Net, weights map[string]tensorfile.Tensor, images tensorfile.Tensor, a space.Arch) []float32 {
	t.Helper()
	var inputs []shapes.Shape
	var args []*tensors.Tensor
	add := func(x tensorfile.Tensor) {
		inputs = append(inputs, shapes.Make(dtypes.Float32, x.Shape...))
		up, err := engine.Upload(x)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, up)
	}
	for _, p := range n.Params() {
		add(weights[p.Name])
	}
	add(images)
	program, err := enginetest.Test(t).Compile("forward", inputs, func(in []*graph.Node) []*graph.Node {
		last := len(in) - 1
		return []*graph.Node{n.Logits(in[:last], in[last], supernet.Forward{Arch: a})}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run(args)
	if err != nil {
		t.Fatal(err)
	}
	logits, err := engine.Download(out[0])
	if err != nil {
		t.Fatal(err)
	}
	return floats(t, logits)
}

func TestFixtureLogits(t *testing.T) {
	f := openFixture(t)
	n := supernet.New(f.space)
	if err := n.Check(f.weights); err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Logits struct {
			Configs map[string]archJSON `json:"configs"`
		} `json:"logits"`
	}
	f.json(t, "expected.json", &expected)
	images := f.tensors(t, "inputs.safetensors")["input"]
	for name, want := range f.tensors(t, "logits.safetensors") {
		a := expected.Logits.Configs[name].arch()
		got := forward(t, n, f.weights, images, a)
		if d := worst(got, floats(t, want)); d > 1e-4 {
			t.Errorf("%s (%s): logits differ by %.2g of the largest", name, a, d)
		}
	}
}
