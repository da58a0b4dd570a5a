package report

import (
	"errors"
	"fmt"
	"path/filepath"

	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/rundir"
	"prenas/internal/tensorfile"
)

// doubts are sentences about files of the run that do not belong together: results of other weights
// than the run has, or lines of metrics that were changed after they were written.
func doubts(fs fsys.FS, dir string, results evaluate.Results) (list []string) {
	if results.Weights != "" { // results of earlier versions have no digest of the weights
		path := filepath.Join(dir, "results.json")
		manifest, err := rundir.ReadManifest(fs, dir)
		var weights map[string]tensorfile.Tensor
		step := 0
		if err == nil {
			weights, step, err = rundir.Weights(fs, dir, manifest.Space, func(path string, why error) {
				list = append(list, fmt.Sprintf("skipped %s: %v", path, why))
			})
		}
		switch {
		case errors.Is(err, rundir.ErrNoCheckpoint):
			list = append(list, fmt.Sprintf("%s: whether it is of the run's weights cannot be told: there is no checkpoint of them", path))
		case err != nil:
			list = append(list, fmt.Sprintf("%s: whether it is of the run's weights cannot be told: %v", path, err))
		case results.Step != step:
			list = append(list, fmt.Sprintf("%s is of the weights after %s, the run has those after %d; prenas eval writes it anew", path, printable.Count(results.Step, "update"), step))
		case results.Weights != tensorfile.Digest(weights):
			list = append(list, path+" is of other weights or statistics than those in the run; prenas eval writes it anew")
		}
	}
	if has, err := rundir.CheckMetrics(fs, dir); has && err != nil {
		list = append(list, fmt.Sprintf("%s: %v", filepath.Join(dir, rundir.MetricsFile), err))
	}
	return list
}
