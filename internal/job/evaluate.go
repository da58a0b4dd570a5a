package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
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

// Evaluate measures each preferred architecture of a run, with its slice of the trained weights,
// on the images of a split, and writes results.json. Run may also be the file of an exported
// model, which is measured by itself; of that nothing is written but the predictions.
func Evaluate(ctx context.Context, o EvaluateOptions) (results evaluate.Results, err error) {
	o.Crops, o.Split = max(o.Crops, 1), cmp.Or(o.Split, Splits[0])
	if o.Predictions != "" && (o.Engine == nil || o.Engine.Ranks().First()) {
		release, err := holdFile(input.Predictions, o.Predictions)
		if err != nil {
			return results, err
		}
		defer release()
	}
	if !IsModel(o.Run) {
		return o.evaluateRun(ctx)
	}
	if err := o.checkModel(); err != nil {
		return results, err
	}
	return evaluateModel(ctx, o)
}

// checkModel refuses options that only a run has.
func (o EvaluateOptions) checkModel() error {
	switch {
	case o.Split == HeldOut:
		return fmt.Errorf("%w %s is for runs, which know what they held out; %s is a model by itself", input.Split, o.Split, o.Run)
	case o.Candidates != "":
		return fmt.Errorf("%w is for runs, of which architectures are slices; %s is a model by itself", input.Candidates, o.Run)
	case o.Recalibrate > 0:
		return fmt.Errorf("%w is for runs, which know their training images; %s is a model by itself", input.Recalibrate, o.Run)
	}
	return nil
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
	log(fmt.Sprintf("warning: %s has not ended: its newest checkpoint has %d of %s; prenas train %v %s %v goes on", run, done, printable.Count(steps, "update"), input.Out, run, input.Resume))
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
