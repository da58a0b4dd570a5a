//go:build cgo

package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/go-xla/pkg/pjrt"
	"github.com/gomlx/gomlx/backends/xla"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine/private"
	"prenas/internal/foreign"
	"prenas/internal/kernels"
)

// withStatements is XLA on one device.
type withStatements struct{ *xla.Backend }

func (withStatements) statement(operation string, operands []*graph.Node, results []shapes.Shape, attributes map[string]string) []*graph.Node {
	return private.Statement(operation, operands, results, attributes)
}

func (withStatements) alias(x *graph.Node, output int) { private.Alias(x, output) }

// withKernels is XLA on one CPU device whose plug-in knows the functions of package kernels.
type withKernels struct{ withStatements }

func (withKernels) hasKernels() {}

// withGPU is XLA on one GPU, withGPUs on several.
type (
	withGPU struct {
		withStatements
		attention *fusedShapes
	}
	withGPUs struct{ *xla.Backend }
)

func (withGPU) onCUDA()  {}
func (withGPUs) onCUDA() {}

func (g withGPU) fused() *fusedShapes { return g.attention }

// openXLA opens XLA by a plug-in for a kind of device, "cpu" or "cuda", of which first is the number of
// the first one to take.
func openXLA(ctx context.Context, device, path string, first, devices int, log func(string)) (*Engine, error) {
	// Downloads are ours: pinned, verified and announced.
	xla.EnableAutoInstall(false)
	kind := plugins[device]
	path, err := kind.find(ctx, path, log)
	if err != nil {
		return nil, err
	}
	if err := loadable(kind, path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPlugin, err)
	}
	devices = max(devices, 1)
	options := pjrt.NamedValuesMap{}
	config := path
	switch device {
	case "cpu":
		options["cpu_device_count"] = int64(devices)
		// CPU memory can be shared with the host's tensors.
		config += ",shared_buffers"
	case "cuda":
		if err := keepCUDAFolder(); err != nil {
			return nil, err
		}
		options["visible_devices"] = deviceNumbers(first, devices)
		// Memory is taken as it is needed: XLA would begin with three quarters of all.
		options["preallocate"] = false
	}
	if device == "cpu" {
		restore, err := tellThreads()
		if err != nil {
			return nil, err
		}
		defer restore()
	}
	var b *xla.Backend
	err = catch(func() error {
		var err error
		b, err = xla.NewWithOptions(config, options)
		return err
	})
	if err != nil {
		if why := NoGPU(); device == "cuda" && why != "" {
			return nil, fmt.Errorf("%w that works: %s", ErrNoPlugin, why) // XLA's own reason is a page of its installer's
		}
		return nil, fmt.Errorf("%w: %s does not load: %w", ErrNoPlugin, path, err)
	}
	e := &Engine{backend: b, plugin: path, devices: b.NumDevices()}
	if device == "cpu" && e.devices == 1 {
		if err := kernels.Register(path); err != nil {
			log(fmt.Sprintf("warning: %v; going on with XLA's operations alone, which are slower", err))
		} else {
			e.backend = withKernels{withStatements{b}}
		}
	}
	switch {
	case device == "cuda" && e.devices == 1:
		e.backend = withGPU{withStatements{b}, &fusedShapes{known: map[fusedShape]error{}}}
	case device == "cuda":
		e.backend = withGPUs{b}
	}
	return e, nil
}

func deviceNumbers(first, n int) []int64 {
	numbers := make([]int64, n)
	for i := range numbers {
		numbers[i] = int64(first + i)
	}
	return numbers
}

// keepCUDAFolder switches off what go-xla 0.1.4 does after it has loaded a plug-in
// for CUDA: it sets XLA's folder of CUDA to one of its author's home. XLA finds the
// folder by itself, or in XLA_FLAGS=--xla_gpu_cuda_data_dir.
func keepCUDAFolder() error {
	const checks = "GOPJRT_CUDA_CHECKS"
	if _, set := os.LookupEnv(checks); set {
		return nil
	}
	return os.Setenv(checks, "no")
}

// loadable checks that loading the plug-in at path, and what it does then, runs nothing of
// the working folder.
func loadable(kind plugin, path string) error {
	if strings.Contains(path, ",") { // after which go-xla takes words for options
		return fmt.Errorf("%s: the path of a plug-in may have no comma", path)
	}
	if kind.name == "cuda" {
		for _, name := range cudaPrograms {
			if _, err := os.Lstat(name); err == nil {
				return fmt.Errorf("the working folder has %s, which XLA would use as a part of CUDA: %w; start prenas in another folder", name, foreign.ErrPlace)
			}
		}
	}
	return foreign.LibraryPath(path)
}

// cudaPrograms is what XLA looks for in the working folder too, which is the last place of
// its CandidateCudaRoots, and in its folder cuda_sdk_lib, the default of
// --xla_gpu_cuda_data_dir.
var cudaPrograms = []string{"cuda_sdk_lib", "bin/ptxas", "bin/nvlink", "bin/fatbinary", "bin/nvdisasm", "bin/cuobjdump", "nvvm/libdevice"}
