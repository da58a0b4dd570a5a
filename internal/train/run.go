package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// Options of a run.
type Options struct {
	Engine     *engine.Engine
	Space      *space.Space
	Candidates space.Candidates // all of them are trained
	Recipe     Recipe
	Seed       uint64
	Source     Source
	SourceName string // for the manifest
	Look       Look   // of the source's images, for the manifest
	Out        string // run directory
	Resume     bool   // go on from the newest whole checkpoint of Out

	Weights  map[string]tensorfile.Tensor // to begin with; nil: drawn from the seed
	Command  string                       // for the manifest
	FS       fsys.FS                      // nil: the operating system's
	Progress func(Status)                 // after every update; nil for none
	Log      func(string)                 // a line about what is being done; nil for none
}

// Status is where a run stands after an update.
type Status struct {
	Step, Steps   int // updates done, and of the whole run
	Epoch, Epochs int // epoch of the update, from 1
	Arch          string
	Loss, LR      float64
	Rate          float64 // images a second, this update
}

// Result of a run.
type Result struct {
	Step     int
	BestStep int     // updates behind the best checkpoint
	BestTop1 float64 // its mean accuracy on the held-out part
	Last     *EvalLine
}

// maxBadSteps in a row that are not finite end a run.
const maxBadSteps = 3

// Run trains the supernet on the candidates' architectures and keeps everything in a
// run directory:
//
//	manifest.json    configuration, seed, versions, data digest
//	candidates.json  the preferred set trained
//	metrics.jsonl    TrainLine and EvalLine, one a line
//	timing.jsonl     TimingLine, one a line
//	checkpoints/     step-N.safetensors, the newest and the best
//
// When ctx is cancelled it writes a checkpoint and returns an error that wraps
// ErrInterrupted; with Resume the run then ends as if it had not been cut.
func Run(ctx context.Context, o Options) (Result, error) {
	programs := &programs{}
	defer programs.close()
	return run(ctx, o, programs)
}

// run trains with programs that are compiled already, or compiles them into programs.
func run(ctx context.Context, o Options, programs *programs) (Result, error) {
	t, err := newTrainer(ctx, o)
	if err != nil {
		return Result{}, err
	}
	defer t.close()
	t.programs = programs
	if err := t.open(); err != nil {
		return Result{}, err
	}
	if err := t.train(ctx); err != nil {
		return Result{}, err
	}
	p := t.progress
	return Result{Step: p.Step, BestStep: p.BestStep, BestTop1: p.BestTop1, Last: t.lastEval}, nil
}

// trainer is a run in progress.
type trainer struct {
	Options
	net      *supernet.Net
	archs    []space.Arch
	names    []string // of archs
	perEpoch int      // updates
	steps    int      // updates of the whole run

	programs *programs
	state    *State
	progress Progress
	saved    Progress // of the newest checkpoint written
	metrics  *journal
	timing   *journal
	pace     pace
	lastEval *EvalLine
}

func newTrainer(ctx context.Context, o Options) (*trainer, error) {
	if o.FS == nil {
		o.FS = fsys.OS
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(Status) {}
	}
	if err := o.Recipe.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecipe, err)
	}
	var err error
	if o.Recipe.Precision, err = o.precision(ctx); err != nil {
		return nil, err
	}
	t := &trainer{Options: o, net: supernet.New(o.Space)}
	for _, bin := range o.Candidates {
		for _, c := range bin.Candidates {
			if err := o.Space.Check(c.Arch); err != nil {
				return nil, fmt.Errorf("candidate %s of interval %s: %w", c.Arch, bin.Key, err)
			}
			t.archs, t.names = append(t.archs, c.Arch), append(t.names, c.Arch.String())
		}
	}
	if len(t.archs) == 0 {
		return nil, errors.New("the candidates file has no architecture to train")
	}
	images, _ := o.Source.Counts()
	t.perEpoch = images / (o.Recipe.Batch * o.Recipe.Accumulate)
	if t.perEpoch == 0 {
		return nil, fmt.Errorf("there are %d images to train on, fewer than one update takes (batch: %d, accumulate: %d)",
			images, o.Recipe.Batch, o.Recipe.Accumulate)
	}
	t.steps = t.perEpoch * o.Recipe.Epochs
	t.pace = newPace(len(t.archs))
	return t, nil
}

func (t *trainer) close() {
	for _, j := range []*journal{t.metrics, t.timing} {
		if j != nil {
			j.close()
		}
	}
	if t.state != nil {
		t.state.free()
	}
}

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
		Versions: versions(t.Engine.Name()),
	}
	t.progress = Progress{
		Format: progressFormat, Seed: t.Seed, Recipe: t.Recipe.Digest(), Candidates: now.Candidates,
		Window: newWindow(len(t.archs)),
	}
	manifest := filepath.Join(t.Out, manifestFile)
	_, err = t.FS.Stat(manifest)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case exists && !t.Resume:
		return fmt.Errorf("%w: %s; continue it with --resume, or name another folder", ErrRunExists, manifest)
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
		if err != nil {
			return fmt.Errorf("resume %s: %w", t.Out, err)
		}
	}
	host, err := t.restore(exists)
	if err != nil {
		return err
	}
	if exists && t.progress.Step == 0 && host.digest(t.net) != began {
		return fmt.Errorf("%w: %s began with other weights, and was cut before its first checkpoint: give the same weights, or name another folder", ErrOtherRun, t.Out)
	}
	if !exists {
		now.Start = host.digest(t.net)
		if err := t.Candidates.Write(t.FS, filepath.Join(t.Out, candidatesFile)); err != nil {
			return err
		}
		// The manifest is last: a folder that has one is a run that can be resumed.
		if err := now.write(t.FS, t.Out); err != nil {
			return err
		}
	}
	if t.state, err = host.upload(t.net); err != nil {
		return err
	}
	if t.metrics, err = openJournal(t.FS, t.Out, metricsFile, t.progress.MetricsBytes); err != nil {
		return err
	}
	t.timing, err = appendJournal(t.FS, t.Out, timingFile)
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
		return newState(t.net, t.Recipe, weights), nil
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
	host, progress, err := newestCheckpoint(t.FS, t.Out, t.net, func(path string, why error) {
		t.Log(fmt.Sprintf("skipped %s: %v", path, why))
	})
	if err != nil {
		return nil, err
	}
	if progress.Seed != t.Seed || progress.Recipe != t.progress.Recipe || progress.Candidates != t.progress.Candidates {
		return nil, fmt.Errorf("%w: checkpoint of step %d has another seed, recipe or candidates", ErrOtherRun, progress.Step)
	}
	t.Log(fmt.Sprintf("going on from step %d of %d", progress.Step, t.steps))
	t.progress = progress
	return host, nil
}

// programs are all compiled programs of a run; they hold none of its state.
type programs struct {
	steps     []*step // by architecture
	evaluator *evaluate.Evaluator
}

func (p *programs) close() {
	for _, s := range p.steps {
		s.close()
	}
	if p.evaluator != nil {
		p.evaluator.Close()
	}
}

// compile builds every program of the run before its first step.
func (t *trainer) compile(ctx context.Context) error {
	p := t.programs
	for i := len(p.steps); i < len(t.archs); i++ {
		if ctx.Err() != nil {
			return t.interrupted()
		}
		arch := t.archs[i]
		t.Log(fmt.Sprintf("compiling %d/%d: %s", i+1, len(t.archs), arch))
		form := inputs{recipe: t.Recipe, space: t.Space, arch: arch}.form()
		program, err := compileStep(t.Engine, t.net, arch, t.Recipe, form)
		if err != nil {
			return err
		}
		p.steps = append(p.steps, program)
	}
	if _, heldOut := t.Source.Counts(); heldOut > 0 && p.evaluator == nil {
		var err error
		p.evaluator, err = evaluate.New(t.Engine, t.net, t.archs, t.evalBatch(), 1)
		return err
	}
	return nil
}

// evalBatch is the batch size of evaluations.
func (t *trainer) evalBatch() int {
	_, heldOut := t.Source.Counts()
	return min(heldOut, t.Recipe.Batch)
}

// train does what is left of the run. What belongs to the end of an epoch is done after
// its last step, be it in the next process.
func (t *trainer) train(ctx context.Context) error {
	p := &t.progress
	if p.Ended == t.Recipe.Epochs {
		return nil
	}
	if err := t.compile(ctx); err != nil {
		return err
	}
	for p.Ended < t.Recipe.Epochs {
		if p.Step < (p.Ended+1)*t.perEpoch {
			if err := t.epoch(ctx); err != nil {
				return err
			}
		}
		if err := t.endEpoch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// epoch does the rest of the epoch that the run stands in.
func (t *trainer) epoch(ctx context.Context) error {
	epoch, within := t.progress.Step/t.perEpoch, t.progress.Step%t.perEpoch
	began := time.Now()
	for b, err := range t.Source.Train(ctx, epoch, within*t.Recipe.Accumulate, t.Recipe.Batch) {
		if ctx.Err() != nil {
			return t.interrupt()
		}
		if err != nil {
			return fmt.Errorf("epoch %d, update %d: %w", epoch+1, within+1, err)
		}
		if err := t.update(b, began); err != nil {
			return err
		}
		began = time.Now()
		within++
		if within == t.perEpoch {
			break
		}
		if every := t.Recipe.SaveEvery; every > 0 && t.progress.Step%every == 0 {
			if err := t.save(); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil && within < t.perEpoch {
		return t.interrupt()
	}
	if within < t.perEpoch {
		return fmt.Errorf("epoch %d: the images ended after %d of %d updates", epoch+1, within, t.perEpoch)
	}
	return nil
}

// update does one step and everything that hangs on it but saving.
func (t *trainer) update(b evaluate.Batch, began time.Time) error {
	p, r := &t.progress, t.Recipe
	which := balanced(t.Seed, p.Step, len(t.archs))
	lr := r.learningRate(p.Step, t.perEpoch)
	values := inputs{recipe: r, space: t.Space, arch: t.archs[which]}.values(b, t.Seed, p.Step, 0)
	stats, err := t.programs.steps[which].run(t.state, lr, values...)
	if err != nil {
		return fmt.Errorf("step %d: %w", p.Step+1, err)
	}
	p.Step++
	if stats.finite() {
		p.BadSteps = 0
		p.Window.add(which, stats)
	} else {
		p.BadSteps++
		p.Window.Skipped++
		t.Log(fmt.Sprintf("step %d (%s): loss %v, gradient norm %v: not applied", p.Step, t.names[which], stats.Loss, stats.GradNorm))
		if p.BadSteps >= maxBadSteps {
			return fmt.Errorf("%w: steps %d to %d, so training stops; a smaller optimizer.lr or a longer schedule.warmup in the recipe may help",
				ErrNonFinite, p.Step-maxBadSteps+1, p.Step)
		}
	}
	rate := t.pace.add(which, len(b.Labels), time.Since(began))
	t.Progress(Status{
		Step: p.Step, Steps: t.steps, Epoch: 1 + (p.Step-1)/t.perEpoch, Epochs: r.Epochs,
		Arch: t.names[which], Loss: float64(stats.Loss), LR: lr, Rate: rate,
	})
	if p.Step%r.LogEvery == 0 || p.Step == t.steps {
		return t.writeLines(lr)
	}
	return nil
}

// writeLines ends an interval of the metrics.
func (t *trainer) writeLines(lr float64) error {
	p := &t.progress
	line := p.Window.line(t.names)
	line.Step, line.Epoch, line.LR = p.Step, float64(p.Step)/float64(t.perEpoch), lr
	p.Window = newWindow(len(t.archs))
	if err := t.metrics.write(line); err != nil {
		return err
	}
	return t.timing.write(t.pace.line(p.Step, t.names))
}

// endEpoch evaluates and saves as the recipe says.
func (t *trainer) endEpoch(ctx context.Context) error {
	r, epoch := t.Recipe, t.progress.Ended+1
	due := epoch == r.Epochs || (r.EvalEvery > 0 && epoch%r.EvalEvery == 0)
	if due && t.programs.evaluator != nil {
		if err := t.evaluate(ctx); err != nil {
			if ctx.Err() != nil {
				return t.interrupt()
			}
			return err
		}
	}
	t.progress.Ended = epoch
	if due || r.SaveEvery == 0 || t.progress.Step%r.SaveEvery == 0 {
		return t.save()
	}
	return nil
}

// evaluate measures all architectures on the held-out part.
func (t *trainer) evaluate(ctx context.Context) error {
	scores, err := t.programs.evaluator.Run(ctx, t.state.best(), t.Source.HeldOut(ctx, t.evalBatch()), nil)
	if err != nil {
		return err
	}
	p := &t.progress
	line := EvalLine{Kind: "eval", Step: p.Step, Epoch: float64(p.Step) / float64(t.perEpoch)}
	for i, s := range scores {
		n := float64(s.Images)
		line.Archs = append(line.Archs, ArchEval{Arch: t.names[i], Top1: float64(s.Top1) / n, Top5: float64(s.Top5) / n, Loss: s.Loss})
		line.Top1 += float64(s.Top1) / n / float64(len(scores))
	}
	if p.BestStep == 0 || line.Top1 > p.BestTop1 {
		p.BestStep, p.BestTop1 = p.Step, line.Top1
	}
	t.lastEval = &line
	var words []string
	for _, a := range line.Archs {
		words = append(words, fmt.Sprintf("%.2f %%", 100*a.Top1))
	}
	t.Log(fmt.Sprintf("epoch %.3g: held-out top-1 %s", line.Epoch, strings.Join(words, ", ")))
	return t.metrics.write(line)
}

// save writes a checkpoint of the step the run stands at. The metrics it counts on are
// on the disk before it.
func (t *trainer) save() error {
	p := &t.progress
	if t.saved.Step == p.Step && t.saved.Ended == p.Ended && p.Step > 0 {
		return nil
	}
	if err := t.metrics.sync(); err != nil {
		return err
	}
	p.MetricsBytes = t.metrics.size
	host, err := t.state.download(t.net)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", p.Step, err)
	}
	if err := writeCheckpoint(t.FS, t.Out, host, *p); err != nil {
		return err
	}
	t.saved = *p
	return pruneCheckpoints(t.FS, t.Out, t.Recipe.Keep, p.BestStep)
}

// interrupt saves and says how to go on.
func (t *trainer) interrupt() error {
	if err := t.save(); err != nil {
		return errors.Join(ErrInterrupted, err)
	}
	return t.interrupted()
}

func (t *trainer) interrupted() error {
	return fmt.Errorf("%w after step %d of %d; go on with prenas train --out %s --resume", ErrInterrupted, t.progress.Step, t.steps, t.Out)
}

// pace measures how many images a second each architecture trains.
type pace struct {
	images  []int
	seconds []float64
}

func newPace(archs int) pace { return pace{make([]int, archs), make([]float64, archs)} }

// add counts a step, and returns its own speed.
func (p *pace) add(arch, images int, took time.Duration) float64 {
	p.images[arch] += images
	p.seconds[arch] += took.Seconds()
	return float64(images) / took.Seconds()
}

// line sums up and starts again.
func (p *pace) line(step int, names []string) TimingLine {
	line := TimingLine{Step: step}
	images, seconds := 0, 0.0
	for i, name := range names {
		if p.images[i] > 0 {
			line.Archs = append(line.Archs, ArchTiming{Arch: name, Rate: float64(p.images[i]) / p.seconds[i]})
			images, seconds = images+p.images[i], seconds+p.seconds[i]
		}
	}
	if seconds > 0 {
		line.Rate = float64(images) / seconds
	}
	*p = newPace(len(names))
	return line
}
