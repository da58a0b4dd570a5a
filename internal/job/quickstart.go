package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/ranks"
	"prenas/internal/recipe"
	"prenas/internal/report"
	"prenas/internal/rundir"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// quickstarts says, by family, which space is searched and which recipe is trained by. Each recipe
// has a twin with fewer updates, whose name ends in -small.
var quickstarts = map[string]struct {
	space, recipe string
	budgets       []float64 // millions of parameters; none: the space's intervals
}{
	"vit":  {"quickstart", "quickstart", []float64{0.015, 0.1, 0.7}},
	"conv": {"conv-quickstart", "quickstart-conv", nil},
}

// ErrFamily: there is no quickstart of that family.
var ErrFamily = errors.New("family")

// ErrNotQuickstart: the folder holds a run that no quickstart began.
var ErrNotQuickstart = errors.New("holds a run that prenas quickstart did not begin")

// QuickstartFolder is where the quickstart of a family is written if no folder is named. The
// error wraps ErrFamily.
func QuickstartFolder(family string) (string, error) {
	first, known := quickstarts[family]
	if !known {
		return "", fmt.Errorf("%w is %q, it must be one of %s", ErrFamily, family, strings.Join(slices.Sorted(maps.Keys(quickstarts)), ", "))
	}
	return filepath.Join("runs", first.recipe), nil
}

// QuickstartOptions of Quickstart.
type QuickstartOptions struct {
	Open       func(context.Context) (*engine.Engine, error) // called once the folder is held
	Ranks      *ranks.World                                  // of the engine that Open opens
	Family     string                                        // vit or conv
	Small      bool                                          // fewer updates
	Data       string
	Seed       uint64
	Out        string // run directory; a quickstart that was stopped goes on
	Command    string
	Log        func(string)
	Fetch      func(done, total int64)
	Gradients  func(done, total int)
	Training   func(train.Status)
	Evaluating func(done, total int)
}

// Quickstart searches, trains, evaluates and reports. It returns the results and the path of
// the report. Its errors wrap ErrFamily, ErrNotQuickstart, rundir.ErrOtherRun and
// train.ErrInterrupted, or are those of its stages.
func Quickstart(ctx context.Context, o QuickstartOptions) (results evaluate.Results, page string, err error) {
	first, known := quickstarts[o.Family]
	if !known {
		_, err := QuickstartFolder(o.Family)
		return results, "", err
	}
	if !exists(filepath.Join(o.Out, rundir.ManifestFile)) && o.Data != "fashion-mnist" { // that is fetched if it is not there
		// It is an error if images are missing, before anything is written.
		if _, err := source.Open(ctx, o.Data, source.Options{Progress: o.Fetch}); err != nil {
			return results, "", err
		}
	}
	if o.Ranks.First() {
		release, err := rundir.Hold(o.Out)
		if err != nil {
			return results, "", err
		}
		defer release()
	}
	stage := stages(o.Log)

	stage("engine")
	e, err := o.Open(ctx)
	if err != nil {
		return results, "", err
	}
	defer e.Close()
	name := first.recipe
	if o.Small {
		name += "-small"
	}
	by, err := recipe.Load(name)
	if err != nil {
		return results, "", err
	}
	candidates := searchedIn(o.Out)
	// The first of several ranks searches, and the others read what it writes.
	state, err := o.Ranks.Decided("the search", func() (string, error) {
		switch {
		case !exists(filepath.Join(o.Out, rundir.ManifestFile)):
			stage("search: one forward and backward pass of the supernet on noise")
			return "", o.search(ctx, e, first.space, first.budgets, candidates)
		case !exists(candidates):
			return "", fmt.Errorf("%s %w", o.Out, ErrNotQuickstart)
		}
		stage("search: done before; see " + candidates)
		return begun, nil
	})
	if err != nil {
		return results, "", err
	}

	stage("train: one supernet on the preferred architectures")
	if _, err := Train(ctx, TrainOptions{
		Engine: e, Candidates: candidates, Data: o.Data, Recipe: by, Seed: o.Seed, Out: o.Out, Resume: state == begun,
		Command: o.Command, Log: o.Log, Fetch: o.Fetch, Progress: o.Training,
	}); err != nil {
		return results, "", err
	}

	stage("evaluate: each architecture's slice of the weights, on the test images")
	measuring := EvaluateOptions{Engine: e, Run: o.Out, Batch: 100, Log: o.Log, Progress: o.Evaluating}
	if results, err = measuring.testOrHeldOut(ctx, stage); err != nil {
		return results, "", err
	}
	if !o.Ranks.First() {
		return results, "", nil
	}
	stage("report")
	page, err = report.Write(fsys.OS, o.Out, o.Log)
	if err == nil {
		stage("done")
	}
	return results, page, err
}

// begun says that the training in the folder has begun.
const begun = "begun"

// search searches a built-in space, for budgets or in its own intervals, into a folder that need not exist.
func (o QuickstartOptions) search(ctx context.Context, e *engine.Engine, name string, budgets []float64, candidates string) error {
	s, err := space.Load(name)
	if err != nil {
		return err
	}
	if err := fsys.OS.MkdirAll(filepath.Dir(candidates)); err != nil {
		return fmt.Errorf("folder of the search: %w", err)
	}
	by := search.Options{Budgets: budgets}
	if budgets == nil {
		by.Interval = s.Interval
	}
	found, _, err := Search(ctx, SearchOptions{
		Engine: e, Scoring: Scoring{Seed: o.Seed}, Out: candidates, Space: s, Search: by, Progress: o.Gradients,
	})
	if err != nil {
		return err
	}
	o.Log(fmt.Sprintf("%s scored, %d preferred", printable.Count(found.Report.Enumerated, "architecture"), len(found.Candidates)))
	return nil
}

// stages returns a function that logs the name of a stage that begins, after the seconds since
// stages was called.
func stages(log func(string)) (stage func(name string)) {
	began := time.Now()
	return func(name string) { log(fmt.Sprintf("[%3.0f s] %s", time.Since(began).Seconds(), name)) }
}

// searchedIn is the candidates file of a search inside a run directory. Commands have it that search
// and then train in one folder.
func searchedIn(run string) string { return filepath.Join(run, "search", rundir.CandidatesFile) }

// testOrHeldOut evaluates on the test images. Where there are none it takes those that the run held
// out, and sets Split.
func (o *EvaluateOptions) testOrHeldOut(ctx context.Context, stage func(name string)) (evaluate.Results, error) {
	results, err := Evaluate(ctx, *o)
	if errors.Is(err, ErrNoTest) {
		stage("evaluate: there are no test images, so on the training images that were held out")
		o.Split = HeldOut
		results, err = Evaluate(ctx, *o)
	}
	return results, err
}

func exists(path string) bool {
	_, err := fsys.OS.Stat(path)
	return err == nil
}
