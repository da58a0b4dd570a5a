package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"prenas/internal/ahead"
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorboard"
	"prenas/internal/tensorfile"
	"prenas/internal/trainstep"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Options of a run.
type Options struct {
	Engine     *engine.Engine
	Space      *space.Space
	Candidates space.Candidates // all of them are trained
	Recipe     recipe.Recipe
	Seed       uint64
	Source     Source
	SourceName string           // for the manifest
	Asked      []search.Asked   // for the manifest: what the candidates take of budgets
	Images     rundir.ImageInfo // of the source's images, for the manifest
	Out        string           // run directory
	Resume     bool             // go on from the newest whole checkpoint of Out

	Teacher     trainstep.Teacher            // where the recipe names a file of one
	TeacherFile string                       // it, which a new run keeps a copy of; empty: no copy
	From        *rundir.From                 // where Weights are from, for the manifest; nil: from nowhere that can be named
	Weights     map[string]tensorfile.Tensor // to begin with; nil: drawn from the seed
	Command     string                       // for the manifest
	FS          fsys.FS                      // nil: the operating system's
	Progress    func(Status)                 // after every update; nil for none
	Log         func(string)                 // a line about what is being done; nil for none
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
	Step     int              `json:"step"`
	BestStep int              `json:"best_step"` // updates behind the checkpoint that is taken; 0 where nothing was held out
	BestTop1 *float64         `json:"best_top1"` // its mean accuracy on the held-out part; null where nothing was held out
	Early    *rundir.StopLine `json:"early_stop,omitempty"`
	OverFit  *rundir.OverFit  `json:"over_fitted,omitempty"`
	HeldOut  int              `json:"held_out_images"` // in that part
	Last     *rundir.EvalLine `json:"last_eval"`       // null where nothing was held out, or there was nothing left to do
}

// Run trains the supernet on the candidates' architectures and keeps everything in a
// run directory:
//
//	manifest.json    configuration, seed, versions, data digest
//	candidates.json  the preferred set trained
//	metrics.jsonl    TrainLine, EvalLine and RollBackLine, one a line
//	timing.jsonl     TimingLine, one a line
//	augmented.png    what augmentation makes of some images
//	tb/              TensorBoard's events of the same
//	checkpoints/     step-N.safetensors, the newest and the best; at first step-0, where
//	                 the weights are not drawn from the seed
//	teacher.*        the model that teaches, where the recipe names a file
//
// The caller holds the directory (Hold).
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
	r := Result{Step: p.Step, BestStep: p.BestStep, Last: t.lastEval, Early: t.stop, OverFit: t.overFit()}
	if _, r.HeldOut = o.Source.Counts(); p.BestStep > 0 {
		r.BestTop1 = &p.BestTop1
	}
	return r, nil
}

// trainer is a run in progress.
type trainer struct {
	Options
	net         *supernet.Net
	archs       []space.Arch
	names       []string // of archs
	metricNames []string // names of what an update may train: archs, or any of the space
	sampler     recipe.ArchSampler
	perEpoch    int        // updates
	steps       int        // updates of the whole run
	share       load.Share // of each update's batches, that is this rank's

	programs   *programs
	state      *trainstep.State
	progress   rundir.Progress
	start      rundir.Progress // of the run's first step
	began      string          // digest of the weights that the run began with
	saved      rundir.Progress // of the newest checkpoint written
	metrics    *rundir.Journal
	timing     *rundir.Journal
	board      *tensorboard.Writer
	pace       pace
	was        rundir.Manifest // as the run was before this process, where it was begun before
	calibrated int             // step whose weights the statistics are of, where they are estimated
	lastEval   *rundir.EvalLine
	stop       *rundir.StopLine // nil: the run has not stopped early
}

func newTrainer(ctx context.Context, o Options) (*trainer, error) {
	switch {
	case !o.world().First():
		o.FS = fsys.Nowhere
	case o.FS == nil:
		o.FS = fsys.OS
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(Status) {}
	}
	if err := o.Recipe.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", recipe.ErrInvalid, err)
	}
	if err := o.Recipe.CheckSpace(o.Space); err != nil {
		return nil, err
	}
	if (o.Recipe.Distill.File() == "") != (o.Teacher == nil) {
		return nil, fmt.Errorf("%w is %q, and a teacher is open: %v", recipe.ErrTeacher, o.Recipe.Distill.Teacher, o.Teacher != nil)
	}
	precision, err := o.firstPrecision(ctx)
	if err != nil {
		return nil, err
	}
	o.Recipe.Precision = string(precision)
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
	if err := o.Recipe.Enough(images); err != nil {
		return nil, err
	}
	t.perEpoch = o.Recipe.PerEpoch(images)
	if n := o.Engine.Devices(); o.Recipe.Batch%n != 0 {
		return nil, fmt.Errorf("%w: batch is %d, and %v %d must share it evenly: set batch to a multiple of %d, or %v to a divisor of %d", recipe.ErrInvalid, o.Recipe.Batch, input.Devices, n, n, input.Devices, o.Recipe.Batch)
	}
	if t.share, err = load.NewShare(o.Engine.Ranks().Rank(), o.Engine.Ranks().Size(), o.Recipe.Accumulate, o.Recipe.Batch); err != nil {
		return nil, fmt.Errorf("%w: %w", recipe.ErrInvalid, err)
	}
	t.steps = t.perEpoch * o.Recipe.Epochs
	t.sampler = recipe.NewArchSampler(o.Recipe.Sampler.Name, o.Seed, o.Space.Model, t.archs)
	t.metricNames = t.names
	if o.Recipe.Sampler.Name == recipe.WholeSpace {
		t.metricNames = []string{"any of " + o.Space.Name}
	}
	t.pace = newPace(len(t.metricNames))
	need := t.net.Bytes()*float64(len(trainstep.Groups(o.Recipe))) + supernet.ImageBytes(o.Space.Model, o.Recipe.Batch*o.Recipe.Accumulate)
	return t, machine.Need(need, fmt.Sprintf("training space %s in batches of %d", o.Space.Name, o.Recipe.Batch), "take a smaller space or batch")
}

func (t *trainer) close() {
	for _, j := range []*rundir.Journal{t.metrics, t.timing} {
		if j != nil {
			j.Close()
		}
	}
	t.closeBoard()
	if t.state != nil {
		t.state.Free()
	}
}

// train does what is left of the run. What belongs to the end of an epoch is done after
// its last step, be it in the next process.
func (t *trainer) train(ctx context.Context) error {
	if t.ended() {
		return t.noteStop()
	}
	if _, heldOut := t.Source.Counts(); t.Recipe.Patience > 0 && heldOut == 0 {
		t.Log("the training will not stop early: no image is held out, by which it could be seen when nothing improves")
	}
	if err := t.compile(ctx); err != nil {
		return err
	}
	for !t.ended() {
		err := t.wholeEpoch(ctx)
		if back := (*rollBack)(nil); errors.As(err, &back) {
			err = t.goBack(back)
		}
		if err != nil {
			return err
		}
	}
	return t.noteStop()
}

// ended tells whether the run has had all its epochs, or stopped early.
func (t *trainer) ended() bool { return t.progress.Ended >= t.Recipe.Epochs || t.progress.Stopped }

// noteStop notes why a run stopped early. It is after the checkpoint that says so.
func (t *trainer) noteStop() error {
	p := t.progress
	if !p.Stopped {
		return nil
	}
	t.stop = &rundir.StopLine{Kind: "early_stop", Step: p.Step, Improved: p.Improved, Patience: t.Recipe.Patience}
	t.Log(fmt.Sprintf("%s; %v %v N waits longer, 0 for all %s", t.stop, input.Resume, input.Patience, printable.Count(t.Recipe.Epochs, "epoch")))
	if err := t.metrics.Write(*t.stop); err != nil {
		return err
	}
	return t.metrics.Sync()
}

// overFit tells whether the run over-fitted, as far as its metrics can be read.
func (t *trainer) overFit() *rundir.OverFit {
	if !t.world().First() {
		return nil
	}
	m, err := rundir.ReadMetrics(t.FS, t.Out)
	if err != nil {
		t.without(err)
	}
	o := m.OverFit()
	if o != nil {
		t.Log(o.String())
	}
	return o
}

// wholeEpoch does what is left of the epoch that the run stands in, and of its end.
func (t *trainer) wholeEpoch(ctx context.Context) error {
	if p := t.progress; p.Step < (p.Ended+1)*t.perEpoch {
		if err := t.epoch(ctx); err != nil {
			return err
		}
	}
	return t.endEpoch(ctx)
}

// epoch does the rest of the epoch that the run stands in.
func (t *trainer) epoch(ctx context.Context) error {
	epoch, within := t.progress.Step/t.perEpoch, t.progress.Step%t.perEpoch
	began := time.Now()
	var batches []trainstep.Batch // of the next update
	for b, err := range t.put(t.world().Lasting(ctx), epoch, within*t.share.Count) {
		if stop, failed := t.stopped(ctx); failed != nil {
			return failed
		} else if stop {
			return t.interrupt()
		}
		if err != nil {
			return fmt.Errorf("epoch %d, update %d: %w", epoch+1, within+1, err)
		}
		if batches = append(batches, b); len(batches) < t.share.Count {
			continue
		}
		if err := t.update(batches, began); err != nil {
			return err
		}
		batches, began = nil, time.Now()
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
	if within < t.perEpoch {
		if stop, err := t.stopped(ctx); err != nil {
			return err
		} else if stop {
			return t.interrupt()
		}
		return fmt.Errorf("epoch %d: the images ended after %d of %s", epoch+1, within, printable.Count(t.perEpoch, "update"))
	}
	return nil
}

// put yields this rank's batches of an epoch, from number from of them on, each with its images on
// the device. The next one is copied there while an update runs.
func (t *trainer) put(ctx context.Context, epoch, from int) iter.Seq2[trainstep.Batch, error] {
	source := t.Source.Train(ctx, epoch, from, t.Recipe.Batch, t.share)
	return ahead.Next(ctx, source, func(b evaluate.Batch) (trainstep.Batch, error) {
		on, err := trainstep.Put(t.Engine, t.Space.Model, b)
		if t.Teacher == nil {
			on.Images = nil // they are on the device
		}
		return on, err
	})
}

// update does one update, with batches that it frees, and everything that hangs on it but saving.
func (t *trainer) update(batches []trainstep.Batch, began time.Time) error {
	p, r := &t.progress, t.Recipe
	lr := r.LearningRate(p.Step, t.perEpoch) * p.LRFactor()
	o, err := t.programs.updater.Update(t.state, lr, p.Step, batches)
	for _, b := range batches {
		err = errors.Join(err, b.Free())
	}
	if err != nil {
		return fmt.Errorf("step %d: %w", p.Step+1, err)
	}
	p.Step++
	if o.Finite() {
		p.BadSteps = 0
		for _, part := range o.Archs {
			p.Window.Add(part.Index, part.Loss, o.GradNorm)
		}
	} else if err := t.notFinite(o); err != nil {
		return err
	}
	rate := t.pace.add(o.Archs, r.Batch*r.Accumulate, time.Since(began))
	t.Progress(Status{
		Step: p.Step, Steps: t.steps, Epoch: 1 + (p.Step-1)/t.perEpoch, Epochs: r.Epochs,
		Arch: t.metricNames[o.Archs[0].Index], Loss: float64(o.Loss), LR: lr, Rate: rate,
	})
	if p.Step%r.LogEvery == 0 || p.Step == t.steps {
		return t.writeLines(lr)
	}
	if p.Step == 1 { // whoever watches sees that it trains, and how fast
		t.note(rundir.TimingLine{Step: 1, Time: float64(time.Now().UnixMilli()) / 1e3, Rate: rate})
	}
	return nil
}

// writeLines ends an interval of the metrics.
func (t *trainer) writeLines(lr float64) error {
	p := &t.progress
	line := p.Window.Line(t.metricNames)
	line.Step, line.Epoch, line.LR = p.Step, float64(p.Step)/float64(t.perEpoch), lr
	p.Window = rundir.NewWindow(len(t.metricNames))
	if err := t.metrics.Write(line); err != nil {
		return err
	}
	timing := t.pace.line(p.Step, t.metricNames)
	t.note(timing)
	t.draw(timing.At(), line.Step, append(line.Scalars(), timing.Scalars()...))
	return nil
}

// endEpoch evaluates and saves as the recipe says.
func (t *trainer) endEpoch(ctx context.Context) error {
	r, epoch := t.Recipe, t.progress.Ended+1
	due := epoch == r.Epochs || (r.EvalEvery > 0 && epoch%r.EvalEvery == 0)
	if due && t.programs.evaluator != nil {
		if err := t.evaluate(ctx); err != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return t.interrupt()
			}
			return err
		}
	}
	t.progress.Ended = epoch
	if p := &t.progress; r.Patience > 0 && p.Improved > 0 && epoch < r.Epochs {
		p.Stopped = p.Step-p.Improved >= r.Patience*t.perEpoch
	}
	if due || r.SaveEvery == 0 || t.progress.Step%r.SaveEvery == 0 {
		return t.save()
	}
	return nil
}

// evaluate measures all architectures on the held-out part.
//
// The checkpoint that is taken is the last whose accuracy is at most one standard error below the
// highest (Breiman et al., Classification and Regression Trees, 1984: the rule of one standard
// error). Of a handful of held-out images the highest accuracy is mostly luck, and often an early
// one: of a vision transformer that was trained on 40 images, chosen by 10, the first of the highest
// accuracy had 18 % on 2,000 test images, and the last within the error 33 %.
func (t *trainer) evaluate(ctx context.Context) error {
	if err := t.calibrate(t.world().Lasting(ctx)); err != nil {
		return err
	}
	p := &t.progress
	scores, err := t.programs.evaluator.Run(ctx, t.state.Averaged(t.archs), t.Source.HeldOut(t.world().Lasting(ctx), t.evalBatch(), t.evalShare()), nil)
	if errors.Is(err, evaluate.ErrNonFinite) {
		return t.diverged(p.Step-1, fmt.Sprintf("at update %d: %v", p.Step, err))
	}
	if err != nil {
		return err
	}
	line := rundir.EvalLine{Kind: "eval", Step: p.Step, Epoch: float64(p.Step) / float64(t.perEpoch)}
	for i, s := range scores {
		n := float64(s.Images)
		line.Images = s.Images
		line.Archs = append(line.Archs, rundir.ArchEval{Arch: t.names[i], Top1: float64(s.Top1) / n, Top5: float64(s.Top5) / n, Loss: s.Loss})
		line.Top1 += float64(s.Top1) / n / float64(len(scores))
	}
	loss := line.Loss()
	if p.Improved == 0 || loss < p.LowestLoss {
		p.LowestLoss, p.Improved = loss, p.Step
	}
	highest := max(p.HighestTop1, p.BestTop1)
	if p.BestStep == 0 || line.Top1 > highest {
		highest, p.Improved = line.Top1, p.Step
	}
	p.HighestTop1 = highest
	if line.Top1 >= highest-evaluate.StandardError(highest, line.Images) {
		line.Best, p.BestStep, p.BestTop1 = true, p.Step, line.Top1
	}
	t.lastEval = &line
	var words []string
	for _, a := range line.Archs {
		words = append(words, fmt.Sprintf("%.2f %% (%s)", 100*a.Top1, evaluate.Range(a.Top1, line.Images)))
	}
	t.Log(fmt.Sprintf("epoch %.3g: top-1 on %s, with its 95 %% interval: %s", line.Epoch, printable.Count(line.Images, "held-out image"), strings.Join(words, ", ")))
	if err := t.metrics.Write(line); err != nil {
		return err
	}
	t.draw(time.Now(), line.Step, line.Scalars())
	return nil
}

// interrupt saves and says how to go on.
func (t *trainer) interrupt() error {
	err := t.save()
	if back := (*rollBack)(nil); errors.As(err, &back) {
		return fmt.Errorf("%w; what there is of it since its newest checkpoint is not kept: %s", t.interrupted(), back.why)
	}
	if err != nil {
		return errors.Join(ErrInterrupted, err)
	}
	return t.interrupted()
}

func (t *trainer) interrupted() error {
	return fmt.Errorf("%w after step %d of %d; go on with prenas train %v %s %v", ErrInterrupted, t.progress.Step, t.steps, input.Out, t.Out, input.Resume)
}
