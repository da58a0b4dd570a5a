package exhibit

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"path/filepath"
	"time"

	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/pkg/space"
)

// maxArchs is how many architectures of a run are shown; more make no picture that can be read.
const maxArchs = 64

// Run is a run directory as it was when it was read last.
type Run struct {
	fs   fsys.FS
	dir  string
	read map[string]stamp

	manifest json.RawMessage  // an object; its keys are shown as they stand
	settled  *rundir.Manifest // the manifest, read; nil: it cannot be used
	results  *evaluate.Results
	original *evaluate.Original // the model that the family was shrunk from; nil: none
	scores   map[string]float64 // of candidates, by architecture
	archs    []member
	left     int // architectures that are not shown
	journals *journals
	// calibrated is made from the predictions file; nil: there is none.
	calibrated *calibration
	failed     map[string]error // why a file cannot be shown
	// Pictures are read for a page and then dropped, since a board holds many runs and pictures are
	// large.
	augmented *embedded // what augmentation makes of images; nil: there is no picture of it
	mistakes  *embedded // thumbnails of the results' mistakes; nil: there are none
	// Link makes a link to the file of an image, whose path begins at the root; empty: no link. It is
	// FileLink unless it is set.
	Link func(name string) template.URL
	Hint string // how names of images become links; shown where some are none
}

// member is an architecture of the run.
type member struct {
	name         string
	arch         space.Arch
	bin          string
	params, macs int64
	result       *evaluate.Result // nil: not measured yet
}

// stamp is what a changed file is known by.
type stamp struct {
	size int64
	time time.Time
}

// OpenRun returns a run directory that nothing was read of yet: see Read.
func OpenRun(f fsys.FS, dir string) *Run {
	return &Run{
		fs: f, dir: dir, Link: FileLink, read: map[string]stamp{}, failed: map[string]error{},
		journals: newJournals(filepath.Join(dir, rundir.MetricsFile), filepath.Join(dir, rundir.TimingFile)),
	}
}

// changed tells whether a file is another than at the last call.
func (r *Run) changed(name string) bool {
	info, err := r.fs.Stat(filepath.Join(r.dir, name))
	now := stamp{size: -1}
	if err == nil {
		now = stamp{info.Size(), info.ModTime()}
	}
	before, asked := r.read[name]
	r.read[name] = now
	return !asked || before != now
}

// Read reads the files that changed, and tells whether any did.
func (r *Run) Read() (changed bool) {
	manifest, candidates := r.changed(rundir.ManifestFile), r.changed(rundir.CandidatesFile)
	results, predictions := r.changed(evaluate.ResultsFile), r.changed(evaluate.PredictionsFile)
	original := r.changed(evaluate.OriginalFile)
	augmented, mistakes := r.changed(rundir.AugmentedFile), r.changed(evaluate.MistakesFile)
	if manifest {
		r.keep(rundir.ManifestFile, r.readManifest())
	}
	if manifest || candidates || results {
		r.keep(evaluate.ResultsFile, r.readResults())
		r.keep(rundir.CandidatesFile, r.readCandidates())
	}
	if predictions {
		r.keep(evaluate.PredictionsFile, r.readPredictions())
	}
	if original {
		r.keep(evaluate.OriginalFile, r.readOriginal())
	}
	return r.journals.read(r.fs) || manifest || candidates || results || predictions || original || augmented || mistakes
}

// keep notes why a file cannot be shown. A file that is not there yet is no error.
func (r *Run) keep(name string, err error) {
	delete(r.failed, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.failed[name] = err
	}
}

func (r *Run) readManifest() error {
	r.manifest, r.settled = nil, nil
	path := filepath.Join(r.dir, rundir.ManifestFile)
	text, err := fsys.ReadText(r.fs, path)
	if err != nil {
		return err
	}
	content, _, err := sealed.Check(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(content, &object); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.manifest = content
	m, err := rundir.ReadManifest(r.fs, r.dir)
	if err == nil {
		r.settled = &m
	}
	return err
}

func (r *Run) readResults() error {
	r.results = nil
	path := filepath.Join(r.dir, evaluate.ResultsFile)
	results, err := evaluate.ReadResults(r.fs, path)
	if err == nil {
		r.results = &results
	}
	return err
}

func (r *Run) readOriginal() error {
	r.original = nil
	original, err := evaluate.ReadOriginal(r.fs, filepath.Join(r.dir, evaluate.OriginalFile))
	if err == nil {
		r.original = &original
	}
	return err
}

// readCandidates makes the family of the run's candidates. Where there are none it is made of the
// architectures in the results.
func (r *Run) readCandidates() error {
	r.archs, r.scores, r.left = nil, map[string]float64{}, 0
	path := filepath.Join(r.dir, rundir.CandidatesFile)
	text, err := fsys.ReadText(r.fs, path)
	var candidates space.Candidates
	if err == nil {
		if candidates, err = space.ParseCandidates(text); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	add := func(m member) {
		if len(r.archs) == maxArchs {
			r.left++
			return
		}
		r.archs = append(r.archs, m)
	}
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			r.scores[c.Arch.String()] = c.Score
		}
	}
	if r.results != nil {
		for i := range r.results.Archs {
			a := &r.results.Archs[i]
			arch, err := space.ParseArch(a.Arch)
			if err != nil {
				return err // not reached: ReadResults refuses such a name
			}
			add(member{name: a.Arch, arch: arch, bin: a.Bin, params: a.Params, macs: a.MACs, result: a})
		}
		return err
	}
	if r.settled == nil {
		return err
	}
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			if r.settled.Space.Check(c.Arch) != nil {
				return fmt.Errorf("%s: architecture %s is not of the manifest's space", path, c.Arch)
			}
			model := r.settled.Space.Model
			add(member{name: c.Arch.String(), arch: c.Arch, bin: bin.Key, params: model.Params(c.Arch), macs: model.MACs(c.Arch)})
		}
	}
	return err
}

// State says how far a run is.
type State struct {
	Space   string
	Step    int // updates of the intervals that have ended
	Steps   int // of the whole run; 0: not known
	Epoch   float64
	Epochs  int
	Ended   bool
	Stopped string        // why training stopped, if it diverged
	Early   string        // why it ended before its last epoch, if it did
	Left    time.Duration // until the end, at the newest speed; 0: not known
	Rate    float64       // images a second
	LR      float64
	Loss    float64
	Top1    float64 // mean held-out accuracy, newest; 0: none yet
	Skipped int     // updates that were not finite
	Back    int     // times that training went back
	Last    time.Time
	// Best is the highest accuracy that results.json has; 0: none.
	Best float64

	heldOut, tested int // images that Top1 and Best are of
}

// State is how far the run is, by the files that were read last.
func (r *Run) State() State {
	var s State
	j := r.journals
	if m := r.settled; m != nil {
		s.Space, s.Steps, s.Epochs = m.Space.Name, m.Steps(), m.Recipe.Epochs
	} else if r.results != nil {
		s.Space = r.results.Space
	}
	for _, line := range j.Train {
		s.Skipped += line.Skipped
	}
	s.Back = len(j.Back)
	if n := len(j.Train); n > 0 {
		last := j.Train[n-1]
		s.Step, s.Epoch, s.LR, s.Loss = last.Step, last.Epoch, last.LR, last.Loss
		if t, ok := j.Timings[last.Step]; ok {
			s.Rate = t.Rate
			if t.Time > 0 && t.Time < 1e12 {
				s.Last = time.Unix(0, int64(t.Time*1e9))
			}
		}
	}
	s.Ended = s.Steps > 0 && s.Step >= s.Steps || j.Early != nil
	if j.Early != nil {
		s.Early = j.Early.String()
	}
	if m := r.settled; m != nil && !s.Ended && s.Rate > 0 {
		seconds := float64(s.Steps-s.Step) * float64(m.Recipe.Batch) * float64(m.Recipe.Accumulate) / s.Rate
		if seconds > 0 && seconds < 1e9 {
			s.Left = time.Duration(seconds * float64(time.Second)).Round(time.Second)
		}
	}
	if j.Stopped != nil {
		s.Stopped = j.Stopped.Why
	}
	if n := len(j.Eval); n > 0 {
		s.Top1, s.heldOut = j.Eval[n-1].Top1, r.heldOut(j.Eval[n-1])
	}
	if r.results != nil {
		s.tested = r.results.Images
		for _, a := range r.results.Archs {
			s.Best = max(s.Best, a.Top1)
		}
	}
	return s
}

// Held is the mean held-out accuracy in per cent.
func (s State) Held() string { return percent(s.Top1) }

// HeldWithin is the 95 % interval of Held.
func (s State) HeldWithin() string { return evaluate.Range(s.Top1, s.heldOut) }

// Tested is the best accuracy on test images in per cent.
func (s State) Tested() string { return percent(s.Best) }

// TestedWithin is the 95 % interval of Tested.
func (s State) TestedWithin() string { return evaluate.Range(s.Best, s.tested) }
