package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"prenas/internal/crash"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"

	"prenas/internal/input"
	"prenas/internal/ranks"
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
	// Ranks are the processes that this one works with; nil: it is alone. On a GPU it has the device
	// of its number on its host.
	Ranks *ranks.World
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
	ranks   *ranks.World
	copies  copies // on the other devices

	sum       sync.Once
	pluginSum string // SHA-256 of plugin
	sumFailed error

	stop      <-chan struct{} // Options.Stop
	compiling atomic.Int32    // compilations at work, waited for or not
}

// Open finds and opens a backend. It may download a plug-in (63 MB) once.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Devices > 1 && o.Ranks.Size() > 1 {
		return nil, fmt.Errorf("%w: each of several ranks has one device, not %d", ErrBackend, o.Devices)
	}
	e, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	e.stop, e.ranks = o.Stop, o.Ranks
	return e, nil
}

func open(ctx context.Context, o Options) (*Engine, error) {
	log := o.Log
	if log == nil {
		log = func(string) {}
	}
	kind, path, _ := strings.Cut(o.Backend, ":")
	if path == "" {
		path = os.Getenv(PluginEnv)
	}
	switch kind {
	case "go":
		return openGo()
	case "cuda":
		firstDevice, local := o.Ranks.Local()
		if n := countGPUs("/", os.Getenv(visibleGPUs)); n > 0 && n < local {
			return nil, fmt.Errorf("%w cuda: this host has %d of the ranks and they see %d of its GPUs, each rank has one of its own; "+
				"start as many ranks as there are GPUs, and let each rank see all of them", ErrBackend, local, n)
		}
		return openXLA(ctx, kind, path, firstDevice, o.Devices, log)
	case "xla":
		return openXLA(ctx, "cpu", path, 0, o.Devices, log)
	case "auto", "":
		e, err := openXLA(ctx, "cpu", path, 0, o.Devices, log)
		if err == nil || path != "" || ctx.Err() != nil {
			return e, err
		}
		log(fmt.Sprintf("warning: %v; going on in pure Go, which is some 30 times slower", err))
		return openGo()
	}
	return nil, fmt.Errorf("%w %q: %v takes auto, xla, xla:/path/to/plugin.so, cuda, cuda:/path/to/plugin.so or go", ErrBackend, o.Backend, input.Backend)
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
	crash.Go(func() {
		err := catch(f)
		e.compiling.Add(-1)
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-e.stop:
		return context.Canceled
	}
}

// SameOnRanks refuses ranks that would compute other bits for the same program: by another plug-in, on another
// processor or GPU, or told so by the environment. All ranks call it. Errors wrap ranks.ErrDiffer.
func (e *Engine) SameOnRanks() error {
	if e.ranks.Size() == 1 {
		return nil
	}
	on, err := e.Fingerprint()
	if err != nil {
		return err
	}
	facts := []ranks.Fact{{What: "engine and processor", Is: on.String()}}
	if _, cuda := e.backend.(interface{ onCUDA() }); cuda {
		facts = append(facts, ranks.Fact{What: "GPUs and their driver", Is: gpus("/")})
	}
	for _, name := range []string{"XLA_FLAGS", "NVIDIA_TF32_OVERRIDE"} {
		facts = append(facts, ranks.Fact{What: name, Is: os.Getenv(name)})
	}
	return e.ranks.Same("the engine", facts...)
}

// Ranks are the processes that this one works with; nil: it is alone.
func (e *Engine) Ranks() *ranks.World { return e.ranks }

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
