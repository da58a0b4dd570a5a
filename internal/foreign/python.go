package foreign

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
)

// pythonFolders prints the folders of python3's packages. The user's own ones are not
// among those of an isolated interpreter, but pip installs into them.
const pythonFolders = "import json, site, sys; print(json.dumps(sys.path + [site.getusersitepackages()]))"

// PythonPackages are the folders of python3's packages. No package is imported. What lies in
// the working folder is left out, which is told.
func PythonPackages(ctx context.Context, log func(string)) ([]string, error) {
	text, err := Run(ctx, Program{Name: "python3", Args: []string{"-c", pythonFolders}, Log: log})
	if err != nil {
		return nil, err
	}
	var all, safe []string
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%w python3: it does not tell the folders of its packages: %w", ErrProgram, err)
	}
	for _, dir := range all {
		switch {
		case !filepath.IsAbs(dir):
		case !outside(dir):
			log(fmt.Sprintf("python3's packages: left out %q; %v", dir, ErrPlace))
		default:
			safe = append(safe, dir)
		}
	}
	return safe, nil
}
