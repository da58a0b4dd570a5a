package engine

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Diagnosis is what an engine and its machine offer.
type Diagnosis struct {
	Backend      string             `json:"backend"`
	Description  string             `json:"description"`
	Plugin       string             `json:"plugin,omitempty"`
	PluginSHA256 string             `json:"plugin_sha256,omitempty"`
	Versions     map[string]string  `json:"versions"` // Go and the engine's modules
	Devices      int                `json:"devices"`
	Cores        int                `json:"cores"`
	HugePages    bool               `json:"huge_pages"`
	GFLOPS       map[string]float64 `json:"gflops"` // of a square product, by type of the operands
}

// productSize of the measured product: large enough to be bound by arithmetic.
const productSize = 1024

// Diagnose looks at the engine and measures a matrix product in float32 and,
// on XLA, in bfloat16: the best of a few seconds' repeats.
func (e *Engine) Diagnose(ctx context.Context) (Diagnosis, error) {
	d := Diagnosis{
		Backend: e.Name(), Description: e.backend.Description(), Plugin: e.plugin, Devices: e.devices,
		Cores: runtime.NumCPU(), HugePages: HugePages(), GFLOPS: map[string]float64{}, Versions: Versions(),
	}
	types := []dtypes.DType{dtypes.Float32}
	if e.plugin != "" {
		sum, err := fileSum(e.plugin)
		if err != nil && !os.IsNotExist(err) {
			return d, err
		}
		d.PluginSHA256 = sum
		types = append(types, dtypes.BFloat16)
	}
	for _, t := range types {
		gflops, err := e.measureProduct(ctx, t)
		if err != nil {
			return d, err
		}
		d.GFLOPS[t.String()] = gflops
	}
	return d, nil
}

func (e *Engine) measureProduct(ctx context.Context, operands dtypes.DType) (float64, error) {
	square := shapes.Make(operands, productSize, productSize)
	p, err := e.Compile("product", []shapes.Shape{square, square}, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.Dot(in[0], in[1])}
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	args := []*tensors.Tensor{tensors.FromShape(square), tensors.FromShape(square)}
	best := math.Inf(1)
	for start := time.Now(); time.Since(start) < time.Second; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		at := time.Now()
		out, err := p.Run(args)
		if err != nil {
			return 0, err
		}
		// Reading waits for the result: programs run asynchronously.
		if err := out[0].ToLocal(); err != nil {
			return 0, err
		}
		best = math.Min(best, time.Since(at).Seconds())
		if err := out[0].FinalizeAll(); err != nil {
			return 0, err
		}
	}
	return 2 * math.Pow(productSize, 3) / best / 1e9, nil
}

// Versions of Go, of prenas and of the modules that decide what a run computes.
func Versions() map[string]string {
	versions := map[string]string{"go": runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/gomlx/gomlx" || m.Path == "github.com/gomlx/go-xla" {
			versions[m.Path] = m.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			versions["prenas"] = s.Value
		}
	}
	return versions
}
