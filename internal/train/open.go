package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// open makes the run directory, or finds where an earlier process left it.
func (t *trainer) open() error {
	candidates, err := t.Candidates.MarshalText()
	if err != nil {
		return fmt.Errorf("candidates: %w", err)
	}
	trainImages, heldOut := t.Source.Counts()
	now := Manifest{
		Format: manifestFormat, Command: t.Command, Seed: t.Seed, Recipe: t.Recipe, Space: t.Space, Candidates: digest(candidates),
		Data:     DataSummary{Source: t.SourceName, Digest: t.Source.Digest(), Train: trainImages, HeldOut: heldOut, Look: t.Look},
		Devices:  t.Engine.Devices(),
		Versions: versions(t.Engine.Name()),
	}
	if t.Teacher != nil {
		now.Teacher = t.Teacher.Digest()
	}
	t.progress = Progress{
		Format: progressFormat, Seed: t.Seed, Recipe: t.Recipe.Digest(), Candidates: now.Candidates,
		Window: newWindow(len(t.parts)),
	}
	t.start = t.progress
	manifest := filepath.Join(t.Out, manifestFile)
	_, err = t.FS.Stat(manifest)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case exists && !t.Resume:
		return fmt.Errorf("%w: %s; prenas train --resume goes on with it, or name another folder", ErrRunExists, manifest)
	case t.Resume && !exists:
		return fmt.Errorf("%s: there is no run to resume: %w", t.Out, fs.ErrNotExist)
	}
	if err := t.FS.MkdirAll(filepath.Join(t.Out, checkpointsDir)); err != nil {
		return fmt.Errorf("run directory %s: %w", t.Out, err)
	}
	var began string // digest of the weights that the run began with
	if exists {
		had, err := ReadManifest(t.FS, t.Out)
		if err == nil {
			began, err = had.Start, had.sameRun(now)
		}
		if before := max(had.Devices, 1); err == nil && before != now.Devices {
			t.Log(fmt.Sprintf("the run began on %d devices and goes on on %d: sums are rounded otherwise, so it does not end byte for byte as it would have", before, now.Devices))
		}
		if err == nil && had.Recipe.Digest() != now.Recipe.Digest() { // what it continues
			had.Recipe = now.Recipe
			err = had.write(t.FS, t.Out)
		}
		if err != nil {
			return fmt.Errorf("resume %s: %w", t.Out, err)
		}
	}
	host, err := t.restore(exists)
	if err != nil {
		return err
	}
	if exists && t.progress.Step == 0 && host.digest(t.net, t.archs) != began {
		return fmt.Errorf("%w: %s began with other weights, and was cut before its first checkpoint: give the same weights, or name another folder", ErrOtherRun, t.Out)
	}
	if !exists {
		now.Start = host.digest(t.net, t.archs)
		if err := t.Candidates.Write(t.FS, filepath.Join(t.Out, candidatesFile)); err != nil {
			return err
		}
		// The manifest is last: a folder that has one is a run that can be resumed.
		if err := now.write(t.FS, t.Out); err != nil {
			return err
		}
	}
	if t.state, err = host.upload(t.Engine, t.net, t.archs...); err != nil {
		return err
	}
	if t.metrics, err = openJournal(t.FS, t.Out, metricsFile, t.progress.MetricsBytes); err != nil {
		return err
	}
	if t.timing, err = appendJournal(t.FS, t.Out, timingFile); err != nil {
		return err
	}
	t.board, err = openBoard(t.FS, t.Out)
	return err
}

// restore is the state to go on from.
func (t *trainer) restore(exists bool) (hostState, error) {
	start := func() (hostState, error) {
		weights := t.Weights
		if weights == nil {
			weights = t.net.Init(t.Seed)
		}
		if err := t.net.Check(weights); err != nil {
			return nil, err
		}
		return newState(t.net, t.Recipe, weights, t.archs...), nil
	}
	if !exists {
		return start()
	}
	steps, err := checkpointSteps(t.FS, t.Out)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 {
		t.Log("the run was cut before its first checkpoint: starting it again")
		return start()
	}
	host, progress, err := newestCheckpoint(t.FS, t.Out, t.net, t.archs, func(path string, why error) {
		t.Log(fmt.Sprintf("skipped %s: %v", path, why))
	})
	if err != nil {
		return nil, err
	}
	if progress.Seed != t.Seed || !t.Recipe.continues(progress.Recipe) || progress.Candidates != t.progress.Candidates {
		return nil, fmt.Errorf("%w: checkpoint of step %d has another seed, recipe or candidates", ErrOtherRun, progress.Step)
	}
	t.Log(fmt.Sprintf("going on from step %d of %d", progress.Step, t.steps))
	progress.Recipe = t.progress.Recipe
	t.progress = progress
	return host, nil
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
	if err := t.metrics.sync(); err != nil {
		return err
	}
	p.MetricsBytes = t.metrics.size
	host, err := t.state.download(t.net, t.archs...)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", p.Step, err)
	}
	if err := writeCheckpoint(t.FS, t.Out, host, *p); err != nil {
		return err
	}
	t.saved = *p
	return pruneCheckpoints(t.FS, t.Out, t.Recipe.Keep, p.BestStep)
}
