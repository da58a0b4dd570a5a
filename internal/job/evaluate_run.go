package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/ranks"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// evaluation is the measuring of a run, stage by stage: its weights, the images, the scores, the results.
type evaluation struct {
	EvaluateOptions
	manifest rundir.Manifest
	net      *supernet.Net
	archs    []space.Arch
	keys     []string       // the interval of each architecture
	asked    []search.Asked // what the architectures take of budgets
	weights  map[string]tensorfile.Tensor
	step     int // updates behind the weights

	named  bool // Data was given; otherwise it is what the run was trained on
	set    *data.Dataset
	split  data.Split // of set; its labels are in the order of the run's classes
	images *train.Images

	estimated func(fsys.FS) error // writes the statistics that were estimated now; nil: none were
	scores    []evaluate.Score    // of each architecture
	seen      []evaluate.Seen     // of each architecture
	said      *evaluate.Predictions
}

// evaluateRun measures the architectures of a run directory.
func (o EvaluateOptions) evaluateRun(ctx context.Context) (results evaluate.Results, err error) {
	manifest, err := rundir.ReadManifest(fsys.OS, o.Run)
	if err != nil {
		return results, err
	}
	// Results are written at the end. Whether they can be is found out before the work.
	release, err := hold(o.Engine, o.Run)
	if err != nil {
		return results, err
	}
	defer release()
	x := &evaluation{EvaluateOptions: o, manifest: manifest, net: supernet.New(manifest.Space), named: o.Data != ""}
	if err := x.openWeights(); err != nil {
		return results, err
	}
	if err := x.openImages(ctx); err != nil {
		return results, err
	}
	if err := x.same(); err != nil {
		return results, err
	}
	if err := x.measure(ctx); err != nil {
		return results, err
	}
	if results, err = x.results(); err != nil || !o.Engine.Ranks().First() {
		return results, err
	}
	err = x.write(&results)
	return results, err
}

// openWeights reads the architectures to measure and the run's weights.
func (x *evaluation) openWeights() error {
	candidates, asked, err := candidatesOf(x.manifest, x.Run, x.Candidates)
	if err != nil {
		return err
	}
	x.asked = asked
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			x.archs, x.keys = append(x.archs, c.Arch), append(x.keys, bin.Key)
		}
	}
	s := x.manifest.Space
	if err := machine.Need(2*x.net.Bytes()+supernet.ImageBytes(s.Model, x.Batch), fmt.Sprintf("evaluating %s in batches of %d", x.Run, x.Batch), fmt.Sprintf("take a smaller %v", input.Batch)); err != nil {
		return err
	}
	x.weights, x.step, err = rundir.Weights(fsys.OS, x.Run, s, func(_ string, why error) {
		x.Log(fmt.Sprintf("warning: skipped %v", why))
	})
	return err
}

// openImages opens the split to measure on. Its images are normalised and labelled as those that
// the run was trained on.
func (x *evaluation) openImages(ctx context.Context) (err error) {
	m := &x.manifest
	if !x.named {
		x.Data = m.Data.Place()
	}
	x.set, x.split, err = openSplit(ctx, x.EvaluateOptions, *m)
	if !x.named && x.Split != HeldOut && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; %s was trained on them: name with %v where they are now", err, x.Run, input.Data)
	}
	if err == nil && !x.named {
		err = sameImages(x.set, x.Data, m.Data.Digest, x.Run)
	}
	if err != nil {
		return err
	}
	model := m.Space.Model
	if x.split, err = labelledFor(x.split, x.set.Classes, m.Data.Classes, model.NumClasses, x.Log); err != nil {
		return fmt.Errorf("%w %s does not suit %s: %w", input.Data, x.Data, x.Run, err)
	}
	x.set.Classes = m.Data.Classes // as the labels are now
	if resize := m.Recipe.Augment.TestResize(model.ImageSize); x.Crops > 1 && resize == model.ImageSize {
		return fmt.Errorf("%w %d: the run's images are resized to %s, all that the model takes, so there is nothing to crop; eval_resize in the recipe's augment block says to what", input.Crops, x.Crops, printable.Count(resize, "pixel"))
	}
	normaliseAs(x.set, m.Data.ImageInfo)
	m.Recipe.SkipBadImages = m.Recipe.SkipBadImages || x.SkipBad
	if x.images, err = train.NewImages(x.set, model, m.Recipe, m.Seed, x.Workers); err != nil {
		return fmt.Errorf("%w %s: %w", input.Data, x.Data, err)
	}
	return nil
}

// same refuses ranks that would measure other weights, on other images or in other batches: each has a share of these.
func (x *evaluation) same() error {
	w := x.Engine.Ranks()
	if w.Size() == 1 {
		return nil
	}
	var archs []string
	for _, a := range x.archs {
		archs = append(archs, a.String())
	}
	return w.Same("the start",
		ranks.Fact{What: "weights (their digest)", Is: rundir.Short(tensorfile.Digest(x.weights))},
		ranks.Fact{What: "architectures", Is: strings.Join(archs, "\n")},
		ranks.Fact{What: "images (their digest)", Is: rundir.Short(x.set.Digest)},
		ranks.Fact{What: "split", Is: fmt.Sprintf("%s of %d images", x.Split, x.split.Len())},
		ranks.Fact{What: "batches", Is: fmt.Sprintf("%d images of %d crops", x.Batch, x.Crops)},
		ranks.Fact{What: "batches to estimate statistics on", Is: fmt.Sprint(x.Recalibrate)},
		ranks.Fact{What: "damaged images", Is: map[bool]string{false: "stop", true: "skip"}[x.manifest.Recipe.SkipBadImages]})
}

// measure puts the weights on the device and the images through each architecture.
func (x *evaluation) measure(ctx context.Context) (err error) {
	if x.Precision, err = resolve(ctx, x.Engine, x.Precision, x.Log); err != nil {
		return err
	}
	w, batch := x.Engine.Ranks(), max(1, x.Batch/x.Crops)
	ev, err := evaluate.New(x.Engine, x.net, x.archs, batch, x.Crops, x.Precision)
	if err != nil {
		return err
	}
	defer ev.Close()
	given, err := x.upload(ctx)
	if err != nil {
		return err
	}
	x.seen, x.said = make([]evaluate.Seen, len(x.archs)), evaluate.NewPredictions(len(x.archs))
	ev.Ranks = w
	ev.Observe = func(arch, image, label int, logits []float32) {
		x.seen[arch].Add(image, label, logits)
		if x.Predictions != "" {
			x.said.Add(arch, image, label, logits)
		}
	}
	progress := func(done int) {
		if x.Progress != nil {
			x.Progress(done, x.split.Len())
		}
	}
	images := x.images.Plain(w.Lasting(ctx), x.split, batch, x.Crops, load.Every(w.Rank(), w.Size()))
	x.scores, err = ev.Run(ctx, given, images, progress)
	err = noteSkippedOfAll(x.Engine, x.Run, x.images.Skipped(), err, x.Log)
	if errors.Is(err, evaluate.ErrNonFinite) {
		err = fmt.Errorf("%s, step %d: %w", x.Run, x.step, err)
	}
	return err
}

// upload puts the run's weights and each architecture's statistics of batch norms on the device.
// It estimates the statistics where that is asked for, and where the run has none of candidates
// that a file names.
func (x *evaluation) upload(ctx context.Context) (given evaluate.Weights, err error) {
	if given.Shared, err = x.net.Upload(x.Engine, x.weights); err != nil {
		return given, err
	}
	m := x.manifest
	if x.Candidates != "" && x.Recalibrate == 0 && !hasStats(x.weights, m.Space.Model, x.archs) {
		x.Recalibrate = min(train.CalibrationBatches, m.Data.Train/m.Recipe.Batch)
	}
	if x.Recalibrate > 0 {
		if x.estimated, err = x.recalibrate(ctx, given.Shared); err != nil {
			return given, err
		}
	}
	for _, arch := range x.archs {
		stats, err := uploadStats(x.Engine, x.weights, m.Space.Model, arch)
		if err != nil {
			return given, fmt.Errorf("%s: %w", x.Run, err)
		}
		given.Stats = append(given.Stats, stats)
	}
	return given, nil
}

// results are what the architectures reached, and on what.
func (x *evaluation) results() (results evaluate.Results, err error) {
	m, model := x.manifest, x.manifest.Space.Model
	results = evaluate.Results{
		Space: m.Space.Name, Data: evaluate.Images{Source: source.Absolute(x.Data), Named: x.Data, Digest: x.set.Digest},
		Split: x.Split, Images: x.scores[0].Images, Bad: len(x.images.Skipped().List()), Crops: x.Crops,
		ImageSize: model.ImageSize, Resize: m.Recipe.Augment.TestResize(model.ImageSize), Step: x.step, Precision: x.Precision,
		Weights: tensorfile.Digest(x.weights), Asked: x.asked, Recalibrated: x.Recalibrate, Classes: m.Data.Classes,
	}
	if !x.named {
		results.Data.Named = m.Data.GivenName()
	}
	if results.Steps, err = unfinished(m, x.Run, x.Log); err != nil {
		return results, err
	}
	if model.IsConv() && x.Recalibrate == 0 {
		kept, earlier, err := rundir.ReadStatistics(fsys.OS, x.Run)
		if err == nil && earlier.Step == x.step && hasStats(kept, model, x.archs) {
			results.Recalibrated = earlier.Batches
		}
	}
	for i, arch := range x.archs {
		results.Archs = append(results.Archs, evaluate.NewResult(model, x.keys[i], arch, x.scores[i], x.seen[i], x.name))
	}
	return results, nil
}

// name says where an image of the split is.
func (x *evaluation) name(image int) string { return data.NameOf(x.split, image) }

// write writes the results, and what was estimated, drawn and said with them: all of it or nothing.
func (x *evaluation) write(results *evaluate.Results) error {
	files := fsys.NewSet(fsys.OS)
	defer files.Discard()
	if x.estimated != nil {
		if err := x.estimated(files); err != nil {
			return err
		}
	}
	path := filepath.Join(x.Run, ResultsFile)
	if before, err := evaluate.ReadResults(fsys.OS, path); err == nil && !before.SameAs(*results) {
		x.Log(fmt.Sprintf("warning: %s was of other images or another way to see them, and is replaced: top-1 from %s on %s", path, spread(before), before.Of()))
	}
	pictures, err := results.DrawMistakes(x.split)
	if err != nil {
		x.Log(fmt.Sprintf("warning: there are no pictures of mistakes: %v", err))
	}
	if pictures != nil {
		if err := writeText(files, filepath.Join(x.Run, evaluate.MistakesFile), pictures); err != nil {
			return err
		}
	}
	if err := results.Write(files, path); err != nil {
		return err
	}
	if x.Predictions != "" {
		if err := x.said.Write(files, x.Predictions, *results, x.name); err != nil {
			return err
		}
	}
	return files.Commit()
}

// recalibrate estimates the architectures' statistics of batch norms on training images and puts
// them into the weights. shared are the weights on the device. The estimate is in float32 whatever
// the precision, since it is kept: write writes it to the run directory.
func (x *evaluation) recalibrate(ctx context.Context, shared []*tensors.Tensor) (write func(fsys.FS) error, err error) {
	m := x.manifest
	if !m.Space.Model.IsConv() {
		return nil, fmt.Errorf("%w: space %s of %s has no batch norms, whose statistics it estimates", input.Recalibrate, m.Space.Name, x.Run)
	}
	if n := x.Engine.Devices(); m.Recipe.Batch%n != 0 {
		return nil, fmt.Errorf("%w: its batches are those of the training, of %s, which %v %d cannot share evenly", input.Recalibrate, printable.Count(m.Recipe.Batch, "image"), input.Devices, n)
	}
	set, err := source.Open(ctx, m.Data.Place(), source.Options{Seed: m.Seed, HeldOut: m.Recipe.Holdout, Stratify: m.Recipe.Stratify, Log: x.Log})
	if err == nil && set.Digest != m.Data.Digest {
		err = fmt.Errorf("%w in %s", ErrOtherImages, m.Data.Place())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the run's training images: %w", input.Recalibrate, err)
	}
	normaliseAs(set, m.Data.ImageInfo)
	images, err := train.NewImages(set, m.Space.Model, m.Recipe, m.Seed, x.Workers)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Recalibrate, err)
	}
	batches, err := images.Calibration(ctx, x.Recalibrate, m.Recipe.Batch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Recalibrate, err)
	}
	c, err := evaluate.NewCalibrator(x.Engine, x.net, x.archs, m.Recipe.Batch, engine.Float32)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stats, err := c.Run(ctx, shared, batches)
	if err != nil {
		return nil, err
	}
	for i, arch := range x.archs {
		own := map[string]tensorfile.Tensor{}
		for k, p := range supernet.Stats(m.Space.Model, arch) {
			own[p.Name] = stats[i][k]
		}
		rundir.AddRunningStats(x.weights, m.Space.Model, arch, own)
	}
	return func(f fsys.FS) error {
		x.Log(fmt.Sprintf("statistics of batch norms estimated on %s of %s: %s", printable.Count(x.Recalibrate, "batch"), printable.Count(m.Recipe.Batch, "training image"), filepath.Join(x.Run, rundir.StatisticsFile)))
		c := rundir.Calibration{Step: x.step, Batches: x.Recalibrate, Batch: m.Recipe.Batch}
		return rundir.WriteStatistics(f, x.Run, m.Space.Model, x.archs, stats, c)
	}, nil
}

// hasStats tells whether the statistics of all batch norms of some architectures are among weights.
func hasStats(weights map[string]tensorfile.Tensor, m space.Model, archs []space.Arch) bool {
	return !slices.ContainsFunc(archs, func(a space.Arch) bool {
		_, err := rundir.RunningStats(weights, m, a)
		return err != nil
	})
}

// spread is the least and the best accuracy of some results.
func spread(r evaluate.Results) string {
	least, best := 1.0, 0.0
	for _, a := range r.Archs {
		least, best = min(least, a.Top1), max(best, a.Top1)
	}
	return fmt.Sprintf("%.2f to %.2f %%", 100*least, 100*best)
}
