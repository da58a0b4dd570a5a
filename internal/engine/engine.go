package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gomlx/go-xla/pkg/pjrt"
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/backends/xla"

	"prenas/internal/foreign"
	"prenas/internal/kernels"
)

// PluginEnv names a plug-in file by its absolute path; it is what Options with
// Backend "auto" or "xla" take first.
const PluginEnv = "PRENAS_PJRT_PLUGIN"

// Options of Open.
type Options struct {
	// Backend is "auto" (or empty: XLA, else pure Go with a warning), "xla",
	// "xla:/path/to/plugin.so", "cuda", "cuda:/path/to/plugin.so" or "go".
	Backend string
	// Devices is how many devices there are to use, the first ones of the machine;
	// 0 means 1. XLA divides a CPU into as many as it is asked for.
	Devices int
	// Stop ends the wait for XLA's compiler, which can take a minute and cannot be
	// interrupted: when it closes, a compilation that runs returns at once with an error
	// that wraps context.Canceled. The compiler goes on until the process ends, which is
	// what the caller must let it do soon. Nil: never.
	Stop <-chan struct{}
	// Log gets a line for each step of finding the plug-in, and one that begins with "warning: "
	// for what is slower than it could be; nil for none.
	Log func(string)
}

// Engine is an open backend.
type Engine struct {
	backend backends.Backend
	plugin  string // path of the plug-in; empty for pure Go
	devices int
	copies  copies // on the other devices

	sum       sync.Once
	pluginSum string // SHA-256 of plugin
	sumFailed error

	stop      <-chan struct{} // Options.Stop
	compiling atomic.Int32    // compilations at work, waited for or not
}

// Open finds and opens a backend. It may download a plug-in (63 MB) once.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	e.stop = o.Stop
	return e, nil
}

func open(ctx context.Context, o Options) (*Engine, error) {
	log := o.Log
	if log == nil {
		log = func(string) {}
	}
	// Downloads are ours: pinned, verified and announced.
	xla.EnableAutoInstall(false)
	kind, path, _ := strings.Cut(o.Backend, ":")
	if path == "" {
		path = os.Getenv(PluginEnv)
	}
	switch kind {
	case "go":
		return openGo()
	case "cuda":
		return openPlugin(ctx, cudaPlugin, path, o.Devices, log)
	case "xla":
		return openPlugin(ctx, cpuPlugin, path, o.Devices, log)
	case "auto", "":
		e, err := openPlugin(ctx, cpuPlugin, path, o.Devices, log)
		if err == nil || path != "" || ctx.Err() != nil {
			return e, err
		}
		log(fmt.Sprintf("warning: %v; going on in pure Go, which is some 30 times slower", err))
		return openGo()
	}
	return nil, fmt.Errorf("%w %q: --backend takes auto, xla, xla:/path/to/plugin.so, cuda, cuda:/path/to/plugin.so or go", ErrBackend, o.Backend)
}

func openGo() (*Engine, error) {
	// Operations run one after the other, each on all cores: run side by side,
	// as is the default, they take all workers and each waits for one more to
	// share its product with, for ever.
	b, err := simplego.New("ops_sequential")
	if err != nil {
		return nil, fmt.Errorf("open the pure-Go backend: %w", err)
	}
	return &Engine{backend: b, devices: 1}, nil
}

func openPlugin(ctx context.Context, kind plugin, path string, devices int, log func(string)) (*Engine, error) {
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
	switch kind.name {
	case cpuPlugin.name:
		options["cpu_device_count"] = int64(devices)
		// CPU memory can be shared with the host's tensors.
		config += ",shared_buffers"
	case cudaPlugin.name:
		if err := keepCUDAFolder(); err != nil {
			return nil, err
		}
		options["visible_devices"] = firstDevices(devices)
		// Memory is taken as it is needed: XLA would begin with three quarters of all.
		options["preallocate"] = false
	}
	var b *xla.Backend
	err = catch(func() error {
		var err error
		b, err = xla.NewWithOptions(config, options)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not load: %w", ErrNoPlugin, path, err)
	}
	e := &Engine{backend: b, plugin: path, devices: b.NumDevices()}
	if kind.name == cpuPlugin.name && e.devices == 1 {
		if err := kernels.Register(path); err != nil {
			log(fmt.Sprintf("warning: %v; going on with XLA's operations alone, which are slower", err))
		} else {
			e.backend = withKernels{b}
		}
	}
	if kind.name == cudaPlugin.name {
		e.backend = withCUDA{b}
	}
	return e, nil
}

// loadable checks that loading the plug-in at path, and what it does then, runs nothing of
// the working folder.
func loadable(kind plugin, path string) error {
	if strings.Contains(path, ",") { // after which go-xla takes words for options
		return fmt.Errorf("%s: the path of a plug-in may have no comma", path)
	}
	if kind.name == cudaPlugin.name {
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

func firstDevices(n int) []int64 {
	numbers := make([]int64, n)
	for i := range numbers {
		numbers[i] = int64(i)
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

// Close frees the backend, unless a compilation that was stopped is still at work in it.
// The engine and its programs must not be used after.
func (e *Engine) Close() {
	if e.compiling.Load() == 0 {
		e.backend.Finalize()
	}
}

// unlessStopped runs f. If the engine is stopped before f is done, it returns without it, and
// if it was stopped before, f does not begin.
func (e *Engine) unlessStopped(f func() error) error {
	if e.stop == nil {
		return f()
	}
	select {
	case <-e.stop:
		return context.Canceled
	default:
	}
	e.compiling.Add(1)
	done := make(chan error, 1)
	go func() {
		err := catch(f)
		e.compiling.Add(-1)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-e.stop:
		return context.Canceled
	}
}

// Name says what runs the programs: "xla" or "go".
func (e *Engine) Name() string {
	if e.plugin == "" {
		return "go"
	}
	return "xla"
}

// Backend is GoMLX's own handle.
func (e *Engine) Backend() backends.Backend { return e.backend }

// Plugin is the path of the plug-in, empty for pure Go.
func (e *Engine) Plugin() string { return e.plugin }

// Devices is the number of devices.
func (e *Engine) Devices() int { return e.devices }

// catch turns a panic of GoMLX, which reports errors that way, into an error.
func catch(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); ok {
				err = e
			} else {
				err = errors.New(fmt.Sprint(p))
			}
		}
	}()
	return f()
}
