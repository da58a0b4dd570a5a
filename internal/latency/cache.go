package latency

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/sealed"
	"prenas/pkg/space"
)

// Cached is the profile of a space on this machine: the one in the folder, or a
// new one, which is put there. With again it is measured anew. The path is that
// of its file.
func Cached(ctx context.Context, e *engine.Engine, s *space.Space, batch int, dir string, again bool, progress func(done, total int)) (p *Profile, path string, err error) {
	path = filepath.Join(dir, key(e, s, batch)+".json")
	if !again {
		p, err := read(path)
		if err == nil && p.serves(s) {
			return p, path, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrLatency) {
			return nil, path, err
		}
	}
	if p, err = Measure(ctx, e, s, batch, progress); err != nil {
		return nil, path, err
	}
	return p, path, p.keep(path)
}

// Dir is the folder of measurements in the user's cache.
func Dir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no cache folder to keep measurements in: %w; set XDG_CACHE_HOME", ErrLatency, err)
	}
	return filepath.Join(cache, "prenas", "latency"), nil
}

// key names all that a measurement depends on: machine, engine, plug-in, model,
// choices and batch.
func key(e *engine.Engine, s *space.Space, batch int) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%d devices, pool %v, kernels %v\n", machine(e), e.Devices(), engine.HugePages(), e.Kernels())
	versions := engine.Versions()
	delete(versions, "prenas") // a commit does not change the engine
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintln(h, name, versions[name])
	}
	fmt.Fprintf(h, "%+v %v %v %v %v %d %d\n", s.Model, s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio, batch, maxLayers)
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// maxTime bounds the time of a part in milliseconds, so that sums of them are finite.
const maxTime = 1e12

// Read reads a profile that Write wrote, maybe on another machine, for a space.
func Read(path string, s *space.Space) (*Profile, error) {
	p, err := read(path)
	if err == nil && !p.serves(s) {
		err = fmt.Errorf("%w: %s was measured of other choices than the space %s has: embedding dims %v, heads %v and MLP ratios %v are needed", ErrLatency, path, s.Name, s.EmbedDim, s.NumHeads, s.MLPRatio)
	}
	return p, err
}

// read reads a stored profile; what is no profile wraps ErrLatency.
func read(path string) (*Profile, error) {
	text, err := fsys.ReadText(fsys.OS, path)
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

func parse(path string, text []byte) (*Profile, error) {
	var p Profile
	if err := sealed.Parse(path, text, &p); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrLatency, path, err)
	}
	if p.Batch < 1 || p.Layers < 2 || len(p.Dims) == 0 || len(p.NumHeads) == 0 || len(p.MLPRatio) == 0 {
		return nil, fmt.Errorf("%w: a stored measurement has no batch, layers, dims or choices", ErrLatency)
	}
	for _, d := range p.Dims {
		for _, ms := range slices.Concat([]float64{d.Trunk, d.Block}, d.Heads, d.MLP) {
			if math.Abs(ms) > maxTime {
				return nil, fmt.Errorf("%w: a stored measurement has a part of %v milliseconds", ErrLatency, ms)
			}
		}
		if len(d.Heads) != len(p.NumHeads) || len(d.MLP) != len(p.MLPRatio) {
			return nil, fmt.Errorf("%w: a stored measurement has %d and %d times for %d heads and %d ratios", ErrLatency, len(d.Heads), len(d.MLP), len(p.NumHeads), len(p.MLPRatio))
		}
	}
	return &p, nil
}

// keep writes a profile into the cache.
func (p *Profile) keep(path string) error {
	if err := fsys.OS.MkdirAll(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: its cache folder: %w", ErrLatency, err)
	}
	return p.Write(path)
}

// Write writes the profile, whole or not at all.
func (p *Profile) Write(path string) error { return sealed.Write(fsys.OS, path, p) }

// machine names the processor and the engine on it.
func machine(e *engine.Engine) string {
	cpu := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	engine := e.Name()
	if e.Plugin() != "" {
		engine += " " + filepath.Base(filepath.Dir(e.Plugin())) // which names its version
	}
	return fmt.Sprintf("%s, %d cores, %s", cpu, runtime.NumCPU(), engine)
}
