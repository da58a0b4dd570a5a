package report

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// run is what the files of a run directory say.
type run struct {
	manifest json.RawMessage // an object; its keys are shown as they stand
	results  evaluate.Results
	archs    []space.Arch       // by index of results.Archs
	scores   []float64          // the candidates' scores, by index of results.Archs
	losses   map[string][]point // step and mean loss of each interval, by architecture
	notes    []string           // on the losses
	doubts   []string           // on whether the files belong together
}

// source is a file of the run and the command that writes it.
type source struct{ name, command string }

func read(fs fsys.FS, dir string) (*run, error) {
	var (
		training   = "prenas train --candidates FILE --data SOURCE --out " + dir
		evaluation = "prenas eval " + dir + " --data SOURCE"
		r          = &run{}
		candidates space.Candidates
	)
	for _, file := range []struct {
		source
		parse func(text []byte) error
	}{
		{source{"manifest.json", training}, r.parseManifest},
		{source{"candidates.json", training}, func(text []byte) (err error) {
			candidates, err = space.ParseCandidates(text)
			return err
		}},
		{source{"metrics.jsonl", training}, func([]byte) error { return r.readMetrics(fs, dir) }},
		{source{"results.json", evaluation}, func(text []byte) error { return r.parseResults(filepath.Join(dir, "results.json"), text, candidates) }},
	} {
		path := filepath.Join(dir, file.name)
		read := fsys.ReadText
		if file.name == "metrics.jsonl" { // a million lines have 200 MB
			read = fsys.ReadFile
		}
		text, err := read(fs, path)
		if errors.Is(err, iofs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s is missing; write it with `%s`", ErrIncomplete, path, file.command)
		}
		if err == nil {
			err = file.parse(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w; write it anew with `%s`", ErrIncomplete, path, err, file.command)
		}
	}
	r.doubts = doubts(fs, dir, r.results)
	return r, nil
}

// doubts are sentences on what does not belong together: figures of other weights than those in the
// run, lines of metrics that are not those that were written.
func doubts(fs fsys.FS, dir string, results evaluate.Results) (list []string) {
	if results.Weights != "" { // those of earlier versions have no digest of them
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
			list = append(list, fmt.Sprintf("%s is of the weights after %d updates, the run has those after %d; prenas eval writes it anew", path, results.Step, step))
		case results.Weights != tensorfile.Digest(weights):
			list = append(list, path+" is of other weights or statistics than those in the run; prenas eval writes it anew")
		}
	}
	if has, err := rundir.CheckMetrics(fs, dir); has && err != nil {
		list = append(list, fmt.Sprintf("%s: %v", filepath.Join(dir, rundir.MetricsFile), err))
	}
	return list
}

// parseManifest keeps the manifest as it stands, but for its digest.
func (r *run) parseManifest(text []byte) error {
	content, _, err := sealed.Check(text)
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := strictjson.Unmarshal(content, &object); err != nil {
		return err
	}
	r.manifest = content
	return nil
}

func (r *run) parseResults(path string, text []byte, candidates space.Candidates) (err error) {
	if r.results, err = evaluate.ParseResults(path, text); err != nil {
		return err
	}
	scores := map[string]float64{}
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			scores[c.Arch.String()] = c.Score
		}
	}
	for _, result := range r.results.Archs {
		arch, err := space.ParseArch(result.Arch)
		if err != nil {
			return err
		}
		score, known := scores[result.Arch]
		if !known {
			return fmt.Errorf("architecture %s is not one of the run's candidates", result.Arch)
		}
		r.archs = append(r.archs, arch)
		r.scores = append(r.scores, score)
	}
	return nil
}

// readMetrics keeps the losses.
func (r *run) readMetrics(fs fsys.FS, dir string) error {
	m, err := rundir.ReadMetrics(fs, dir)
	r.notes = m.Notes
	r.losses = map[string][]point{}
	for _, t := range m.Train {
		for _, a := range t.Archs {
			r.losses[a.Arch] = append(r.losses[a.Arch], point{float64(t.Step), a.Loss})
		}
	}
	return err
}
