package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// ResultsFile of a run directory.
const ResultsFile = evaluate.ResultsFile

// EvaluateOptions of Evaluate.
type EvaluateOptions struct {
	Engine  *engine.Engine // nil for a model: it opens one with Backend if it needs one
	Backend string
	Run     string // run directory, or file of an exported model
	// Candidates is a file of other architectures of the run's space, to measure instead of those
	// that it trained; empty: those.
	Candidates string
	Data       string // empty: what the run was trained on
	Split      string // one of Splits; empty: the first
	Batch      int    // images of one program run, each crop being one
	Crops      int    // of each image: one of augment.CropCounts; 0: one
	// Precision of products; empty: float32, which is the same on any machine but for the
	// last bits.
	Precision engine.Precision
	Workers   int
	// Recalibrate is the number of batches of the run's training images, of the recipe's
	// size and not augmented, on which the statistics of its batch norms are estimated
	// anew; 0: they stay. They are kept in the run directory.
	Recalibrate int
	Predictions string // file for what is said of each image; empty: none
	SkipBad     bool   // leave out damaged images; a run whose recipe says so does anyway
	Log         func(string)
	Progress    func(done, total int)
}

// Splits that can be measured: the test images, or those training images of a run that it
// was not trained on. The latter chose its best checkpoint, so they flatter it a little;
// they are for whoever has no test images.
var Splits = []string{"test", HeldOut}

// HeldOut is the latter of the Splits.
const HeldOut = "held-out"

// IsModel tells the file of an exported model from a run directory.
func IsModel(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Evaluate measures each preferred architecture of a run, with its slice of the
// trained weights, on the test images, and writes results.json. Run may also be the file
// of an exported model, which is measured by itself.
func Evaluate(ctx context.Context, o EvaluateOptions) (evaluate.Results, error) {
	var results evaluate.Results
	o.Crops, o.Split = max(o.Crops, 1), cmp.Or(o.Split, Splits[0])
	if o.Predictions != "" && (o.Engine == nil || o.Engine.Ranks().First()) {
		release, err := holdFile(input.Predictions, o.Predictions)
		if err != nil {
			return results, err
		}
		defer release()
	}
	if IsModel(o.Run) {
		if o.Split == HeldOut {
			return results, fmt.Errorf("%w %s is for runs, which know what they held out; %s is a model by itself", input.Split, o.Split, o.Run)
		}
		if o.Candidates != "" {
			return results, fmt.Errorf("%w is for runs, of which architectures are slices; %s is a model by itself", input.Candidates, o.Run)
		}
		if o.Recalibrate > 0 {
			return results, fmt.Errorf("%w is for runs, which know their training images; %s is a model by itself", input.Recalibrate, o.Run)
		}
		return evaluateModel(ctx, o)
	}
	manifest, err := rundir.ReadManifest(fsys.OS, o.Run)
	if err != nil {
		return results, err
	}
	// Results are written at the end; whether they can be is found out here.
	release, err := hold(o.Engine, o.Run)
	if err != nil {
		return results, err
	}
	defer release()
	candidates, asked, err := candidatesOf(manifest, o.Run, o.Candidates)
	if err != nil {
		return results, err
	}
	named := o.Data != ""
	if !named {
		o.Data = manifest.Data.Place()
	}
	s := manifest.Space
	if err := machine.Need(2*supernet.New(s).Bytes()+supernet.ImageBytes(s.Model, o.Batch), fmt.Sprintf("evaluating %s in batches of %d", o.Run, o.Batch), fmt.Sprintf("take a smaller %v", input.Batch)); err != nil {
		return results, err
	}
	weights, step, err := rundir.Weights(fsys.OS, o.Run, s, func(_ string, why error) {
		o.Log(fmt.Sprintf("warning: skipped %v", why))
	})
	if err != nil {
		return results, err
	}
	set, split, err := openSplit(ctx, o, manifest)
	if !named && o.Split != HeldOut && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; %s was trained on them: name with %v where they are now", err, o.Run, input.Data)
	}
	if err == nil && !named {
		err = sameImages(set, o.Data, manifest.Data.Digest, o.Run)
	}
	if err != nil {
		return results, err
	}
	if split, err = labelledFor(split, set.Classes, manifest.Data.Classes, s.Model.NumClasses, o.Log); err != nil {
		return results, fmt.Errorf("%w %s does not suit %s: %w", input.Data, o.Data, o.Run, err)
	}
	set.Classes = manifest.Data.Classes // as the labels are now
	if resize := manifest.Recipe.Augment.TestResize(s.Model.ImageSize); o.Crops > 1 && resize == s.Model.ImageSize {
		return results, fmt.Errorf("%w %d: the run's images are resized to %d pixels, all that the model takes, so there is nothing to crop; eval_resize in the recipe's augment block says to what", input.Crops, o.Crops, resize)
	}
	normaliseAs(set, manifest.Data.ImageInfo)
	manifest.Recipe.SkipBadImages = manifest.Recipe.SkipBadImages || o.SkipBad
	images, err := train.NewImages(set, s.Model, manifest.Recipe, manifest.Seed, o.Workers)
	if err != nil {
		return results, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}

	var archs []space.Arch
	var keys []string
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			archs, keys = append(archs, c.Arch), append(keys, bin.Key)
		}
	}
	if o.Precision, err = resolve(ctx, o.Engine, o.Precision, o.Log); err != nil {
		return results, err
	}
	net, batch := supernet.New(s), max(1, o.Batch/o.Crops)
	ev, err := evaluate.New(o.Engine, net, archs, batch, o.Crops, o.Precision)
	if err != nil {
		return results, err
	}
	defer ev.Close()
	ev.Ranks = o.Engine.Ranks()
	held, err := net.Upload(o.Engine, weights)
	if err != nil {
		return results, err
	}
	keep := func(fsys.FS) error { return nil }
	if o.Candidates != "" && o.Recalibrate == 0 && !hasStats(weights, s.Model, archs) {
		o.Recalibrate = min(train.CalibrationBatches, manifest.Data.Train/manifest.Recipe.Batch)
	}
	if o.Recalibrate > 0 {
		if keep, err = recalibrate(ctx, o, manifest, net, archs, held, weights, step); err != nil {
			return results, err
		}
	}
	given := evaluate.Weights{Shared: held}
	for _, arch := range archs {
		stats, err := uploadStats(o.Engine, weights, s.Model, arch)
		if err != nil {
			return results, fmt.Errorf("%s: %w", o.Run, err)
		}
		given.Stats = append(given.Stats, stats)
	}
	progress := func(done int) {
		if o.Progress != nil {
			o.Progress(done, split.Len())
		}
	}
	seen := make([]evaluate.Seen, len(archs))
	said := evaluate.NewPredictions(len(archs))
	ev.Observe = func(arch, image, label int, logits []float32) {
		seen[arch].Add(image, label, logits)
		if o.Predictions != "" {
			said.Add(arch, image, label, logits)
		}
	}
	scores, err := ev.Run(ctx, given, images.Plain(o.Engine.Ranks().Lasting(ctx), split, batch, o.Crops, load.Every(o.Engine.Ranks().Rank(), o.Engine.Ranks().Size())), progress)
	err = noteSkippedOfAll(o.Engine, o.Run, images.Skipped(), err, o.Log)
	if errors.Is(err, evaluate.ErrNonFinite) {
		err = fmt.Errorf("%s, step %d: %w", o.Run, step, err)
	}
	if err != nil {
		return results, err
	}
	results = evaluate.Results{
		Space: s.Name, Data: evaluate.Images{Source: source.Absolute(o.Data), Named: o.Data, Digest: set.Digest},
		Split: o.Split, Images: scores[0].Images, Bad: len(images.Skipped().List()), Crops: o.Crops,
		ImageSize: s.Model.ImageSize, Resize: manifest.Recipe.Augment.TestResize(s.Model.ImageSize), Step: step, Precision: o.Precision,
	}
	if !named {
		results.Data.Named = manifest.Data.GivenName()
	}
	if results.Steps, err = unfinished(manifest, o.Run, o.Log); err != nil {
		return results, err
	}
	results.Weights, results.Asked = tensorfile.Digest(weights), asked
	// The statistics and what was measured with them are of one writing.
	files := fsys.NewSet(fsys.OS)
	defer files.Discard()
	if o.Engine.Ranks().First() {
		if err := keep(files); err != nil {
			return results, err
		}
	}
	if results.Recalibrated = o.Recalibrate; s.Model.IsConv() && o.Recalibrate == 0 {
		kept, anew, err := rundir.ReadStatistics(fsys.OS, o.Run)
		if err == nil && anew.Step == step && hasStats(kept, s.Model, archs) {
			results.Recalibrated = anew.Batches
		}
	}
	results.Classes = manifest.Data.Classes
	for i := range archs {
		results.Archs = append(results.Archs, evaluate.NewResult(s.Model, keys[i], archs[i], scores[i], seen[i], func(image int) string { return data.NameOf(split, image) }))
	}
	if !o.Engine.Ranks().First() {
		return results, nil
	}
	path := filepath.Join(o.Run, ResultsFile)
	if before, err := evaluate.ReadResults(fsys.OS, path); err == nil && !before.SameAs(results) {
		o.Log(fmt.Sprintf("warning: %s was of other images or another way to see them, and is replaced: top-1 from %s on %s", path, spread(before), before.Of()))
	}
	pictures, err := results.DrawMistakes(split)
	if err != nil {
		o.Log(fmt.Sprintf("warning: there are no pictures of mistakes: %v", err))
	}
	if pictures != nil {
		if err := writeText(files, filepath.Join(o.Run, evaluate.MistakesFile), pictures); err != nil {
			return results, err
		}
	}
	if err := results.Write(files, path); err != nil {
		return results, err
	}
	if o.Predictions != "" {
		if err := said.Write(files, o.Predictions, results, func(image int) string { return data.NameOf(split, image) }); err != nil {
			return results, err
		}
	}
	return results, files.Commit()
}

// candidatesOf are the architectures of a run that file names, and what they take of budgets;
// without a file those that it trained.
func candidatesOf(m rundir.Manifest, run, file string) (space.Candidates, []search.Asked, error) {
	if file == "" {
		candidates, err := m.Trained(fsys.OS, run)
		return candidates, m.Asked, err
	}
	candidates, err := space.ReadCandidates(file)
	if err == nil {
		err = candidates.Check(m.Space)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w %s: %w", input.Candidates, file, err)
	}
	candidates, _ = candidates.Recounted(m.Space.Model)
	meta, err := ReadMeta(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	return candidates, meta.Asked, nil
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

// ErrOtherImages: images are not those that something was trained on.
var ErrOtherImages = errors.New("other images")

// sameImages refuses images by a name that was not given now if they are others than those of
// a run or a model, to which the name belongs.
func sameImages(set *data.Dataset, source, digest, of string) error {
	if set.Digest == digest {
		return nil
	}
	return fmt.Errorf("%w in %s than those that %s was trained on (digest %.12s, now %.12s): name with %v what to measure on", ErrOtherImages, source, of, digest, set.Digest, input.Data)
}

// unfinished is how many updates a run was to have, if it has not had them, and tells so;
// else 0.
func unfinished(m rundir.Manifest, run string, log func(string)) (steps int, err error) {
	done, ended, err := m.Done(fsys.OS, run)
	if steps = m.Steps(); err != nil || ended {
		return 0, err
	}
	log(fmt.Sprintf("warning: %s has not ended: its newest checkpoint has %d of %d updates; prenas train %v %s %v goes on", run, done, steps, input.Out, run, input.Resume))
	return steps, nil
}

// openSplit opens the images that a run is measured on.
func openSplit(ctx context.Context, o EvaluateOptions, m rundir.Manifest) (*data.Dataset, data.Split, error) {
	if o.Split != HeldOut {
		set, err := openTest(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return set, set.Test, nil
	}
	set, err := source.Open(ctx, o.Data, source.Options{Seed: m.Seed, HeldOut: m.Recipe.Holdout, Stratify: m.Recipe.Stratify, Log: o.Log})
	switch {
	case err != nil:
		return nil, nil, err
	case set.Digest != m.Data.Digest:
		return nil, nil, fmt.Errorf("%w %s: %w in %s than those that %s was trained on", input.Split, o.Split, ErrOtherImages, o.Data, o.Run)
	case set.HeldOut.Len() == 0:
		return nil, nil, fmt.Errorf("%w %s: %s held out no image; see holdout in its recipe", input.Split, o.Split, o.Run)
	}
	return set, set.HeldOut, nil
}

// recalibrate puts into weights statistics of a run's architectures that are estimated
// anew, in float32, since they are kept. keep writes them to the run directory.
func recalibrate(ctx context.Context, o EvaluateOptions, m rundir.Manifest, net *supernet.Net, archs []space.Arch, held []*tensors.Tensor, weights map[string]tensorfile.Tensor, step int) (keep func(fsys.FS) error, err error) {
	if !m.Space.Model.IsConv() {
		return nil, fmt.Errorf("%w: space %s of %s has no batch norms, whose statistics it estimates", input.Recalibrate, m.Space.Name, o.Run)
	}
	if n := o.Engine.Devices(); m.Recipe.Batch%n != 0 {
		return nil, fmt.Errorf("%w: its batches are those of the training, of %d images, which %v %d cannot share evenly", input.Recalibrate, m.Recipe.Batch, input.Devices, n)
	}
	set, err := source.Open(ctx, m.Data.Place(), source.Options{Seed: m.Seed, HeldOut: m.Recipe.Holdout, Stratify: m.Recipe.Stratify, Log: o.Log})
	if err == nil && set.Digest != m.Data.Digest {
		err = fmt.Errorf("%w in %s", ErrOtherImages, m.Data.Place())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the run's training images: %w", input.Recalibrate, err)
	}
	normaliseAs(set, m.Data.ImageInfo)
	images, err := train.NewImages(set, m.Space.Model, m.Recipe, m.Seed, o.Workers)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Recalibrate, err)
	}
	batches, err := images.Calibration(ctx, o.Recalibrate, m.Recipe.Batch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Recalibrate, err)
	}
	c, err := evaluate.NewCalibrator(o.Engine, net, archs, m.Recipe.Batch, engine.Float32)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stats, err := c.Run(ctx, held, batches)
	if err != nil {
		return nil, err
	}
	for i, arch := range archs {
		own := map[string]tensorfile.Tensor{}
		for k, p := range supernet.Stats(m.Space.Model, arch) {
			own[p.Name] = stats[i][k]
		}
		rundir.AddRunningStats(weights, m.Space.Model, arch, own)
	}
	return func(f fsys.FS) error {
		o.Log(fmt.Sprintf("statistics of batch norms estimated on %d batches of %d training images: %s", o.Recalibrate, m.Recipe.Batch, filepath.Join(o.Run, rundir.StatisticsFile)))
		c := rundir.Calibration{Step: step, Batches: o.Recalibrate, Batch: m.Recipe.Batch}
		return rundir.WriteStatistics(f, o.Run, m.Space.Model, archs, stats, c)
	}, nil
}

// uploadStats takes an architecture's running statistics out of the weights of a run and
// puts them on the device, in the order of supernet.Stats.
func uploadStats(e *engine.Engine, weights map[string]tensorfile.Tensor, m space.Model, arch space.Arch) ([]*tensors.Tensor, error) {
	stats, err := rundir.RunningStats(weights, m, arch)
	if err != nil {
		return nil, err
	}
	var held []*tensors.Tensor
	for _, p := range supernet.Stats(m, arch) {
		t, err := e.Upload(stats[p.Name])
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", p.Name, arch, err)
		}
		held = append(held, t)
	}
	return held, nil
}
