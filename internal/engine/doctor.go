package engine

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/dtypes"

	"prenas/internal/fsys"
	"prenas/internal/kernels"
	"prenas/internal/version"
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
	Kernels      bool               `json:"kernels"` // programs call functions of package kernels
	AMX          string             `json:"amx"`     // "used" by kernels' products in bf16, or why not
	GFLOPS       map[string]float64 `json:"gflops"`  // of a square product of XLA's, by type of the operands: float32, bfloat16
	// Of kernels' product for a layer of a large transformer, by type of the operands; those that it does not take are left out.
	KernelGFLOPS map[string]float64 `json:"kernel_gflops,omitempty"`
	// What all cores together can multiply with tiles of AMX, of the processor's time that they get; 0 without it.
	AMXGFLOPS float64 `json:"amx_gflops,omitempty"`
	// On one GPU: "fused", where cuDNN's kernels compute attention in bf16, or why not.
	GPUAttention string `json:"gpu_attention,omitempty"`
}

// Diagnose looks at the engine and measures a squareProduct in float32 and,
// on XLA, in bfloat16, and a layerProduct of each where kernels have one: the best of some repeats, for at most about a second.
func (e *Engine) Diagnose(ctx context.Context) (Diagnosis, error) {
	d := Diagnosis{
		Backend: e.Name(), Description: e.backend.Description(), Plugin: e.plugin, Devices: e.devices,
		Cores: runtime.NumCPU(), HugePages: HugePages(), Kernels: e.Kernels(), GFLOPS: map[string]float64{},
		KernelGFLOPS: map[string]float64{}, Versions: Versions(),
	}
	types := []dtypes.DType{dtypes.Float32}
	if e.plugin != "" {
		sum, err := fsys.Sum(e.plugin)
		if err != nil && !os.IsNotExist(err) {
			return d, err
		}
		d.PluginSHA256 = sum
		types = append(types, dtypes.BFloat16)
	}
	for _, t := range types {
		p, seconds, err := e.grown(ctx, squareProduct(t), true)
		if err != nil {
			return d, err
		}
		name := strings.ToLower(t.String())
		d.GFLOPS[name] = p.flops() / seconds / 1e9
		if !e.Kernels() || !kernels.Products(t == dtypes.BFloat16) {
			continue
		}
		p = layerProduct(t)
		if seconds, err = e.timeProduct(ctx, p); err != nil {
			return d, err
		}
		d.KernelGFLOPS[name] = p.flops() / seconds / 1e9
	}
	if d.AMX = kernels.AMX(); !e.Kernels() {
		d.AMX = "needs kernels"
	} else if d.AMX == "" {
		d.AMX, d.AMXGFLOPS = "used", kernels.AMXPeak()*float64(d.Cores)
	}
	if gpu, may := e.backend.(fusing); may {
		d.GPUAttention = "fused"
		if err := gpu.fused().try(e.backend, fusedShape{tokens: 197, heads: 4, features: 96}); err != nil {
			d.GPUAttention = err.Error()
		}
	}
	return d, nil
}

// Versions of Go, of prenas and of the modules that decide what a run computes.
func Versions() map[string]string {
	versions := map[string]string{"go": runtime.Version(), "prenas": version.String()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/gomlx/gomlx" || m.Path == "github.com/gomlx/go-xla" {
			versions[m.Path] = m.Version
		}
	}
	return versions
}
