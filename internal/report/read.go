package report

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
	"prenas/pkg/space"
)

// check refuses a run directory that lacks a file which the report needs. A section leaves out what is
// not there yet; a report is of a run that was trained and measured.
func check(fs fsys.FS, dir string) (results evaluate.Results, err error) {
	var (
		training   = fmt.Sprintf("prenas train %v FILE %v SOURCE %v %s", input.Candidates, input.Data, input.Out, dir)
		evaluation = fmt.Sprintf("prenas eval %s %v SOURCE", dir, input.Data)
		candidates space.Candidates
	)
	for _, file := range []struct {
		name, command string
		parse         func(path string, text []byte) error
	}{
		{rundir.ManifestFile, training, checkManifest},
		{rundir.CandidatesFile, training, func(_ string, text []byte) (err error) {
			candidates, err = space.ParseCandidates(text)
			return err
		}},
		{rundir.MetricsFile, training, nil},
		{evaluate.ResultsFile, evaluation, func(path string, text []byte) (err error) {
			if results, err = evaluate.ParseResults(path, text); err == nil {
				err = ofCandidates(results, candidates)
			}
			return err
		}},
	} {
		path := filepath.Join(dir, file.name)
		_, err := fs.Stat(path)
		if err == nil && file.parse != nil {
			var text []byte
			if text, err = fsys.ReadText(fs, path); err == nil {
				err = file.parse(path, text)
			}
		}
		if errors.Is(err, iofs.ErrNotExist) {
			return results, fmt.Errorf("%w: %s is missing; write it with `%s`", ErrIncomplete, path, file.command)
		}
		if err != nil {
			return results, fmt.Errorf("%w: %s: %w; write it anew with `%s`", ErrIncomplete, path, err, file.command)
		}
	}
	return results, nil
}

func checkManifest(_ string, text []byte) error {
	content, _, err := sealed.Check(text)
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	return strictjson.Unmarshal(content, &object)
}

// ofCandidates refuses results of another run.
func ofCandidates(results evaluate.Results, candidates space.Candidates) error {
	known := map[string]bool{}
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			known[c.Arch.String()] = true
		}
	}
	for _, a := range results.Archs {
		if !known[a.Arch] {
			return fmt.Errorf("architecture %s is not one of the run's candidates", a.Arch)
		}
	}
	return nil
}
