package main

import (
	"path/filepath"

	"prenas/internal/data/source"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/rundir"
)

// named is a file that a flag or an argument names.
type named struct{ by, path string }

// noOverwrite refuses an output that would overwrite an input, and two outputs to the same file.
func noOverwrite(outputs []named, inputs ...named) error {
	for i, out := range outputs {
		for _, other := range append(outputs[:i:i], inputs...) {
			if out.path != "" && other.path != "" && fsys.Same(out.path, other.path) {
				return usagef("%s would write %s, which is what %s names: name another file", out.by, out.path, other.by)
			}
		}
	}
	return nil
}

// noOverwriteOfData refuses to write into the folder that images are read from.
func noOverwriteOfData(out, src string) error {
	if out != "" && source.Holds(src, out) {
		return usagef("--out %s is among the images of %s: name a folder elsewhere", out, src)
	}
	return nil
}

// noOverwriteOfRun refuses to overwrite a file of a run.
func noOverwriteOfRun(out, run string) error {
	own := fsys.Within(out, filepath.Join(run, "checkpoints"))
	for _, name := range []string{rundir.StatisticsFile, rundir.ManifestFile, rundir.CandidatesFile, rundir.MetricsFile, job.ResultsFile} {
		own = own || fsys.Same(out, filepath.Join(run, name))
	}
	if own {
		return usagef("--out %s is a place of the run's own files: name another", out)
	}
	return nil
}

// written names the files that a flag has written.
func written(by string, paths ...string) (all []named) {
	for _, path := range paths {
		all = append(all, named{by, path})
	}
	return all
}
