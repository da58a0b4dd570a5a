package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"prenas/internal/data/inspect"
	"prenas/internal/data/source"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
)

// open makes the run directory, or finds where an earlier process left it.
func (t *trainer) open() error {
	candidates, err := t.Candidates.MarshalText()
	if err != nil {
		return fmt.Errorf("candidates: %w", err)
	}
	on, err := t.Engine.Fingerprint()
	if err != nil {
		return err
	}
	trainImages, heldOut := t.Source.Counts()
	now := rundir.Manifest{
		Format: rundir.ManifestFormat, Command: t.Command, Seed: t.Seed, Recipe: t.Recipe, Space: t.Space, Candidates: rundir.Digest(candidates),
		Data:     rundir.DataSummary{Source: source.Absolute(t.SourceName), Named: t.SourceName, Digest: t.Source.Digest(), Train: trainImages, HeldOut: heldOut, ImageInfo: t.Images},
		From:     t.From,
		Asked:    t.Asked,
		Devices:  t.Engine.Devices(),
		Versions: rundir.CurrentVersions(t.Engine.Name()),
		Engine:   &on,
	}
	if t.Teacher != nil {
		now.Teacher = t.Teacher.Digest()
	}
	t.progress = rundir.Progress{
		Format: rundir.ProgressFormat, Seed: t.Seed, Recipe: t.Recipe.Digest(), Candidates: now.Candidates,
		Window: rundir.NewWindow(len(t.metricNames)),
	}
	t.start = t.progress
	if err := t.same(now); err != nil {
		return err
	}
	host, err := t.ofFirst(func() (rundir.HostState, error) { return t.folder(now) })
	if err != nil {
		return err
	}
	if t.state, err = trainstep.Upload(host, t.Engine, t.net, t.archs...); err != nil {
		return err
	}
	if err := t.openMetrics(); err != nil {
		return err
	}
	t.openTiming()
	t.openBoard()
	return nil
}

// folder makes the run directory, or finds where an earlier process left it, and returns the
// state to go on from.
func (t *trainer) folder(now rundir.Manifest) (rundir.HostState, error) {
	manifest := filepath.Join(t.Out, rundir.ManifestFile)
	_, err := t.FS.Stat(manifest)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	switch {
	case exists && !t.Resume:
		return nil, fmt.Errorf("%w: %s; prenas train %v goes on with it, or name another folder", rundir.ErrRunExists, manifest, input.Resume)
	case t.Resume && !exists:
		return nil, fmt.Errorf("%s: there is no run to resume: %w", t.Out, fs.ErrNotExist)
	}
	if err := t.FS.MkdirAll(filepath.Join(t.Out, rundir.CheckpointsDir)); err != nil {
		return nil, fmt.Errorf("run directory %s: %w", t.Out, err)
	}
	if exists {
		return t.reopen(now)
	}
	return t.begin(now)
}

// begin makes a run. What it begins with that no seed draws is in it from here on, so that
// it can go on without what it was taken from.
func (t *trainer) begin(now rundir.Manifest) (rundir.HostState, error) {
	if err := t.noOther(); err != nil {
		return nil, err
	}
	host, err := t.startState()
	if err != nil {
		return nil, err
	}
	now.Start = host.Digest(t.net, t.archs)
	t.began = now.Start
	if t.Weights != nil {
		if err := rundir.WriteCheckpoint(t.FS, t.Out, host, t.start); err != nil {
			return nil, err
		}
	}
	if t.TeacherFile != "" {
		if err := rundir.KeepTeacher(t.FS, t.Out, t.TeacherFile); err != nil {
			return nil, fmt.Errorf("%w: keep it in the run: %w", recipe.ErrTeacher, err)
		}
	}
	if err := t.showAugmented(); err != nil {
		return nil, err
	}
	if err := fsys.WriteAtomic(t.FS, filepath.Join(t.Out, rundir.CandidatesFile), t.Candidates.Write); err != nil {
		return nil, err
	}
	// The manifest is last: a folder that has one is a run that can be resumed.
	return host, now.Write(t.FS, t.Out)
}

// showAugmented keeps a picture of what augmentation makes of some images, where the source has it.
// A source that cannot be read fails when it is trained on.
func (t *trainer) showAugmented() error {
	s, ok := t.Source.(interface {
		Augmented() (*inspect.Sheet, error)
	})
	if !ok {
		return nil
	}
	sheet, err := s.Augmented()
	if err != nil {
		t.Log(fmt.Sprintf("there is no %s: %v", rundir.AugmentedFile, err))
		return nil
	}
	return rundir.WriteAugmented(t.FS, t.Out, sheet.Write)
}

// noOther clears what a beginning that was cut left, and refuses checkpoints of more.
func (t *trainer) noOther() error {
	steps, err := rundir.CheckpointSteps(t.FS, t.Out)
	if err != nil || len(steps) == 0 {
		return err
	}
	if steps[0] > 0 {
		return fmt.Errorf("%w, whose %s is gone: name another folder than %s", rundir.ErrRunExists, rundir.ManifestFile, t.Out)
	}
	return t.FS.Remove(rundir.CheckpointFile(t.Out, 0))
}

// reopen takes a run up where an earlier process left it.
func (t *trainer) reopen(now rundir.Manifest) (rundir.HostState, error) {
	had, err := rundir.ReadManifest(t.FS, t.Out)
	if err == nil {
		err = had.SameRun(now)
	}
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", t.Out, err)
	}
	t.began = had.Start
	if t.Weights != nil {
		if given, err := t.startState(); err != nil {
			return nil, err
		} else if given.Digest(t.net, t.archs) != t.began {
			return nil, t.otherStart("the weights that are given now are others")
		}
	}
	if err := t.rememberContents(); err != nil {
		return nil, err
	}
	t.was = had
	longer := now.Recipe.Epochs > had.Recipe.Epochs
	extended := longer || now.Recipe.Patience != had.Recipe.Patience
	if extended { // checkpoints until now are of less
		t.was.Extended = append(slices.Clone(had.Extended), rundir.Extension{Epochs: had.Recipe.Epochs, Patience: had.Recipe.Patience})
		t.was.Recipe = now.Recipe
	}
	host, err := t.restore(math.MaxInt)
	if err != nil {
		return nil, err
	}
	if extended {
		t.was.Extended[len(t.was.Extended)-1].Step = t.progress.Step
		had.Extended = t.was.Extended
		t.goOn()
	}
	if longer {
		t.warn(fmt.Sprintf("the run goes on for %s instead of %d: from update %d on the learning rate is that of a run of %s, so it does not end as one that had them from the start",
			printable.Count(now.Recipe.Epochs, "epoch"), had.Recipe.Epochs, t.progress.Step, printable.Count(now.Recipe.Epochs, "epoch")))
	}
	// A run that was cut between a save and what the save makes superfluous may save no more.
	if p := t.progress; p.Step > 0 {
		if err := rundir.PruneCheckpoints(t.FS, t.Out, p.Step, t.Recipe.Keep, p.BestStep); err != nil {
			return nil, fmt.Errorf("resume %s: %w", t.Out, err)
		}
	}
	before, here := had.LastEngine(), now.LastEngine()
	moved := before.Moves(here)
	if moved {
		t.warn(fmt.Sprintf("the run was on %s and goes on on %s: sums are rounded otherwise, so it does not end byte for byte as it would have", before, here))
		here.Step = t.progress.Step
		had.Moved = append(had.Moved, here)
	}
	if moved || had.Recipe.Digest() != now.Recipe.Digest() { // what it continues
		had.Recipe = now.Recipe
		if err := had.Write(t.FS, t.Out); err != nil {
			return nil, fmt.Errorf("resume %s: %w", t.Out, err)
		}
	}
	return host, nil
}

func (t *trainer) otherStart(why string) error {
	return fmt.Errorf("%w: %s began with weights of SHA-256 %s, and %s: give these with %v, or name another folder", rundir.ErrOtherRun, t.Out, rundir.Short(t.began), why, input.Weights)
}

// startState is the state before the first step.
func (t *trainer) startState() (rundir.HostState, error) {
	weights := t.Weights
	if weights == nil {
		weights = t.net.Init(t.Seed)
	}
	if err := t.net.Check(weights); err != nil {
		return nil, err
	}
	h := trainstep.NewState(t.net, t.Recipe, weights, t.archs...)
	if err := h.Finite(); err != nil {
		return nil, fmt.Errorf("the weights to begin with: %w", err)
	}
	return h, nil
}

// restore is the state of the newest whole checkpoint of at most newest updates, which
// progress then is of; where there is none, that of the start.
func (t *trainer) restore(newest int) (rundir.HostState, error) {
	steps, err := rundir.CheckpointSteps(t.FS, t.Out)
	if err != nil {
		return nil, err
	}
	if steps = rundir.AtMost(newest, steps); len(steps) == 0 {
		if newest == math.MaxInt {
			t.Log("the run was cut before its first checkpoint: starting it again")
		}
		return t.startAgain()
	}
	host, progress, err := rundir.NewestCheckpoint(t.FS, t.Out, newest, t.net, t.archs, func(_ string, why error) {
		t.warn(fmt.Sprintf("skipped %v", why))
	})
	if t.Recipe.RollBack && errors.Is(err, rundir.ErrNoCheckpoint) && (newest < math.MaxInt || errors.Is(err, rundir.ErrWeights)) {
		t.Log("no checkpoint can be gone on from: starting the run again")
		return t.startAgain()
	}
	if err != nil {
		return nil, err
	}
	if progress.Seed != t.Seed || !t.Recipe.Continues(progress.Recipe) && !t.was.Began(progress.Recipe) || progress.Candidates != t.progress.Candidates {
		return nil, fmt.Errorf("%w: checkpoint of step %d has another seed, recipe or candidates", rundir.ErrOtherRun, progress.Step)
	}
	if newest == math.MaxInt {
		t.Log(fmt.Sprintf("going on from step %d of %d", progress.Step, t.steps))
	}
	progress.Recipe = t.progress.Recipe
	t.progress = progress
	t.goOn()
	return host, nil
}

// goOn goes on with a run that had stopped early where it was given more epochs or patience. With
// the same patience the waiting begins anew, else it goes on, as if it had been so from the start.
func (t *trainer) goOn() {
	p := &t.progress
	for _, e := range t.was.Extended {
		if p.Stopped && e.Step == p.Step {
			p.Stopped = false
			if e.Patience == t.Recipe.Patience {
				p.Improved = p.Step
			}
		}
	}
}

// startAgain is the state that the run began with.
func (t *trainer) startAgain() (rundir.HostState, error) {
	host, err := t.startState()
	if err == nil && host.Digest(t.net, t.archs) != t.began {
		err = t.otherStart("no checkpoint has them")
	}
	return host, err
}

// openMetrics opens the metrics after what progress counts on, and says what of it is lost.
func (t *trainer) openMetrics() error {
	var missing int64
	var err error
	if t.metrics, missing, err = rundir.OpenJournal(t.FS, t.Out, rundir.MetricsFile, t.progress.MetricsBytes); err != nil {
		return err
	}
	if missing > 0 {
		t.warn(fmt.Sprintf("%s is damaged: %d of the %d bytes that it had at step %d are lost, and stay so; the weights are whole, and the run goes on",
			t.metrics.Path, missing, t.progress.MetricsBytes, t.progress.Step))
	} else if sum := t.progress.MetricsSum; sum != "" && sum != t.metrics.Sum() {
		t.warn(fmt.Sprintf("%s was damaged or edited after step %d: its lines are not those that were written, and stay so; the weights are whole, and the run goes on",
			t.metrics.Path, t.progress.Step))
	}
	return nil
}

// save writes a checkpoint of the step the run stands at. The metrics it counts on are
// on the disk before it.
func (t *trainer) save() error {
	p := &t.progress
	if t.saved.Step == p.Step && t.saved.Ended == p.Ended && p.Step > 0 {
		return nil
	}
	if err := t.calibrate(context.Background()); err != nil { // of an interrupted run too
		return err
	}
	if err := t.metrics.Sync(); err != nil {
		return err
	}
	if err := t.saveContents(); err != nil {
		return err
	}
	p.MetricsBytes, p.MetricsSum = t.metrics.Size, t.metrics.Sum()
	host, err := t.state.Download(t.net, t.archs...)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", p.Step, err)
	}
	if err := host.Finite(); err != nil {
		return t.diverged(p.Step-1, fmt.Sprintf("at update %d: %v", p.Step, err))
	}
	if err := t.alike(host); err != nil {
		return err
	}
	if err := rundir.WriteCheckpoint(t.FS, t.Out, host, *p); err != nil {
		return err
	}
	t.saved = *p
	return rundir.PruneCheckpoints(t.FS, t.Out, p.Step, t.Recipe.Keep, p.BestStep)
}
