package classify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"prenas/internal/foreign"
)

// RuntimeEnv names the library of onnxruntime by its path. Without it and without
// Options.Library, the one in python3's onnxruntime package is taken.
const RuntimeEnv = "PRENAS_ONNXRUNTIME"

// howToGet onnxruntime; the version is the one that is tested.
const howToGet = "get it with: pip install onnxruntime==1.32.0, or name it with " + RuntimeEnv +
	"=/absolute/path/to/libonnxruntime.so, or export the model as safetensors, which needs none"

// FindRuntime is the path of the library of onnxruntime that Open takes: the one that is
// named, or that RuntimeEnv names, else the newest among the packages of python3.
func FindRuntime(ctx context.Context, named string, log func(string)) (string, error) {
	if named == "" {
		named = os.Getenv(RuntimeEnv)
	}
	if named != "" {
		if err := foreign.Library(named); err != nil {
			return "", fmt.Errorf("%w: %s: %w; %s", ErrNoRuntime, RuntimeEnv, err, howToGet)
		}
		return named, nil
	}
	folders, err := foreign.PythonPackages(ctx, log)
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	for _, dir := range folders { // none if there is no python3
		found, err := filepath.Glob(filepath.Join(dir, "onnxruntime", "capi", "libonnxruntime.so.*"))
		if err == nil && len(found) > 0 {
			path := slices.Max(found)
			if err := foreign.Library(path); err != nil {
				return "", fmt.Errorf("%w: %w; %s", ErrNoRuntime, err, howToGet)
			}
			return path, nil
		}
	}
	return "", fmt.Errorf("%w; %s", ErrNoRuntime, howToGet)
}
