package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/latency"
	"prenas/internal/pretrained"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/report"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Files of a family's folder, beside those of its run.
const (
	shrinkFile     = "shrink.json" // what was asked for
	originalFolder = "original"    // the pretrained model as it was shrunk
	originalModel  = "model.safetensors"
	modelsFolder   = "models" // one of each size
)

// NoTeacher, in place of a teacher's file, has labels alone teach.
const NoTeacher = "none"

// ErrBudget: a budget that no architecture of the space meets, or none that needs shrinking.
var ErrBudget = errors.New("cannot be met by shrinking")

// Budgets say what shrunk models may cost.
type Budgets struct {
	By     string           // cost of Values; empty with Shares, which are of macs
	Values []float64        // ascending, one model for each
	Shares []float64        // of the original's macs, descending or ascending, in place of Values
	Raised bool             // a share below the smallest architecture's becomes its: Shares are defaults, which nobody asked for
	Within map[string]Range // what all of them may cost beside, by cost
	// LatencyBatch is the images at once of which latency is measured; 0 is 1. Profile is a file
	// of latencies that were measured on another machine; empty: they are measured on this one.
	LatencyBatch int
	Profile      string
}

// ShrinkOptions of Shrink.
type ShrinkOptions struct {
	Open      func(context.Context) (*engine.Engine, error) // called once the folder is held
	File      string                                        // weights of a pretrained model, in any form that Import takes
	Hints     pretrained.Hints
	Licence   string
	Data      string
	ImageSize int // 0: as it was
	Budgets   Budgets
	Recipe    recipe.Recipe
	Override  recipe.Override
	Teacher   string // file of a model; empty: the pretrained model; NoTeacher
	Seed      uint64
	Workers   int
	Out       string // run directory; a shrinking that was stopped goes on
	Command   string

	Log        func(string)
	Fetch      func(done, total int64)
	Features   func(done, total int) // of a head that is fitted
	Gradients  func(done, total int)
	Measuring  func(done, total int) // of latency
	Training   func(train.Status)
	Evaluating func(done, total int)
}

// Shrunk is what Shrink made.
type Shrunk struct {
	Original evaluate.Original `json:"original"`
	Family   evaluate.Results  `json:"family"`
	Models   []Exported        `json:"models"`
	Report   string            `json:"report"`
}

// shrinkAsked is shrink.json: all that changes what a family becomes.
type shrinkAsked struct {
	Model     string           `json:"model"` // digest of the file
	Hints     pretrained.Hints `json:"hints"`
	Images    string           `json:"images"` // digest
	ImageSize int              `json:"image_size"`
	Budgets   string           `json:"budgets"`
	Recipe    string           `json:"recipe"` // digest, before it was suited to the images
	Override  recipe.Override  `json:"override"`
	Teacher   string           `json:"teacher"` // digest of another file, or none
	Seed      uint64           `json:"seed"`
	Licence   string           `json:"licence"`
}

// Shrink makes a family of smaller models out of a pretrained one: it imports it, fits it a head
// where it does not know the images' classes, sorts it by importance, chooses an architecture for
// each budget, trains these with the pretrained model as their teacher, measures and exports them,
// and writes a report. Each stage that ended before is taken as it is.
//
// Its errors wrap ErrBudget, rundir.ErrOtherRun and train.ErrInterrupted, or are those of its
// stages.
func Shrink(ctx context.Context, o ShrinkOptions) (shrunk Shrunk, err error) {
	set, err := source.Open(ctx, o.Data, source.Options{Seed: o.Seed, Progress: o.Fetch})
	if err != nil {
		return shrunk, err
	}
	asked, err := o.asked(set.Digest)
	if err != nil {
		return shrunk, err
	}
	model := filepath.Join(o.Out, originalFolder, originalModel)
	candidates := searchedIn(o.Out)
	if err := asked.same(o.Out, exists(candidates)); err != nil {
		return shrunk, err
	}
	var pretrained *export.Model
	if !exists(model) { // a file that is no model is told before anything is written
		if pretrained, err = o.read(); err != nil {
			return shrunk, err
		}
	}
	release, err := rundir.Hold(o.Out)
	if err != nil {
		return shrunk, err
	}
	defer release()
	if err := sealed.Write(fsys.OS, filepath.Join(o.Out, shrinkFile), asked); err != nil {
		return shrunk, err
	}
	stage := stages(o.Log)

	e, err := o.Open(ctx)
	if err != nil {
		return shrunk, err
	}
	defer e.Close()

	if pretrained != nil {
		stage("original: " + o.File + ", sorted by importance on " + o.Data)
		if _, err := o.original(ctx, e, pretrained, model, true); err != nil {
			return shrunk, err
		}
	} else {
		stage("original: done before; see " + model)
	}
	if !exists(candidates) {
		stage("search: an architecture for each budget")
		if err := o.search(ctx, e, model, candidates); err != nil {
			return shrunk, err
		}
	} else {
		stage("search: done before; see " + candidates)
	}

	stage("train: one supernet on the preferred architectures")
	training, err := o.training(e, model, candidates)
	if err != nil {
		return shrunk, err
	}
	if _, err := Train(ctx, training); err != nil {
		return shrunk, err
	}

	stage("evaluate: the original, and each architecture's slice of the weights, on the test images")
	measuring := EvaluateOptions{Engine: e, Run: o.Out, Batch: 100, Workers: o.Workers, Log: o.Log, Progress: o.Evaluating}
	if shrunk.Family, err = measuring.testOrHeldOut(ctx, stage); err != nil {
		return shrunk, err
	}
	if shrunk.Original, err = o.measure(ctx, measuring, model, shrunk.Family); err != nil {
		return shrunk, err
	}
	stage("export: each architecture as safetensors and ONNX")
	if shrunk.Models, err = o.export(ctx, model); err != nil {
		return shrunk, err
	}
	stage("report")
	if shrunk.Report, err = report.Write(fsys.OS, o.Out, o.Log); err == nil {
		stage("done")
	}
	return shrunk, err
}

// asked is what the options ask for, of images with a digest.
func (o ShrinkOptions) asked(images string) (a shrinkAsked, err error) {
	a = shrinkAsked{
		Hints: o.Hints, Images: images, ImageSize: o.ImageSize, Budgets: o.Budgets.String(), Recipe: o.Recipe.Digest(), Override: o.Override,
		Teacher: o.Teacher, Seed: o.Seed, Licence: o.Licence,
	}
	if a.Model, err = fsys.Sum(o.File); err != nil {
		return a, err
	}
	if o.Teacher != "" && o.Teacher != NoTeacher {
		a.Teacher, err = fsys.Sum(o.Teacher)
	}
	return a, err
}

// String is all that the budgets say, in words: two that differ in anything differ in it.
func (b Budgets) String() string {
	var parts []string
	if b.Shares != nil {
		parts = append(parts, fmt.Sprintf("shares %v of the MACs", b.Shares))
	} else {
		parts = append(parts, fmt.Sprintf("%s %v", b.By, b.Values))
	}
	for _, c := range Costs() {
		if r, has := b.Within[c.Name]; has {
			parts = append(parts, fmt.Sprintf("%s at most %v", c.Name, r.Max))
		}
	}
	if b.LatencyBatch > 1 {
		parts = append(parts, fmt.Sprintf("latency of %s", printable.Count(b.LatencyBatch, "image")))
	}
	if b.Profile != "" {
		parts = append(parts, "latency as "+filepath.Base(b.Profile)+" has it")
	}
	return strings.Join(parts, ", ")
}

// input names the input that gave the budgets, for errors.
func (b Budgets) input() input.Name {
	if b.Shares != nil {
		return input.Budgets
	}
	return input.Budget(b.By)
}

// same refuses a folder that holds something else than what is asked for. Budgets may change until
// architectures are chosen.
func (a shrinkAsked) same(out string, chosen bool) error {
	var had shrinkAsked
	err := sealed.Read(fsys.OS, filepath.Join(out, shrinkFile), &had)
	switch {
	case errors.Is(err, fs.ErrNotExist) && exists(filepath.Join(out, rundir.ManifestFile)):
		return fmt.Errorf("%w: %s holds a run that prenas shrink did not begin", rundir.ErrOtherRun, out)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if !chosen {
		had.Budgets = a.Budgets
	}
	var others []string
	was, now := reflect.ValueOf(had), reflect.ValueOf(a)
	for i := range was.NumField() {
		if !reflect.DeepEqual(was.Field(i).Interface(), now.Field(i).Interface()) {
			name, _, _ := strings.Cut(was.Type().Field(i).Tag.Get("json"), ",")
			others = append(others, fmt.Sprintf("%s was %+v, now %+v", strings.ReplaceAll(name, "_", " "), short(was.Field(i).Interface()), short(now.Field(i).Interface())))
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("%w: %s holds a family that was shrunk otherwise: %s", rundir.ErrOtherRun, out, strings.Join(others, "; "))
	}
	return nil
}

// short is a value as an error names it: of a digest its beginning.
func short(v any) any {
	if text, is := v.(string); is && len(text) == 64 {
		return rundir.Short(text)
	}
	return v
}

// training are the options of the family's training, or of going on with it.
func (o ShrinkOptions) training(e *engine.Engine, model, candidates string) (TrainOptions, error) {
	if exists(filepath.Join(o.Out, rundir.ManifestFile)) {
		t, err := Resumed(o.Out)
		t.Engine, t.Data, t.Workers, t.Command, t.Log, t.Fetch, t.Progress = e, o.Data, o.Workers, o.Command, o.Log, o.Fetch, o.Training
		return t, err
	}
	by, teacher := o.Recipe, ""
	switch {
	case o.Teacher == NoTeacher:
		by.Distill.Teacher = ""
	case o.Teacher != "":
		by.Distill.Teacher = o.Teacher
	case by.Distill.IsZero():
		// By the name that it has in any family's folder, so that models do not depend on where that is.
		by.Distill.Teacher, teacher = path.Join(originalFolder, originalModel), model
	}
	return TrainOptions{
		Engine: e, Candidates: candidates, Weights: model, Teacher: teacher, Data: o.Data, Recipe: by, Override: o.Override, Seed: o.Seed, Workers: o.Workers,
		Out: o.Out, Command: o.Command, Log: o.Log, Fetch: o.Fetch, Progress: o.Training,
	}, nil
}

// search chooses an architecture for each budget and writes them as a candidates file, whose folder it
// makes. Where a budget is met by no architecture it removes the folder again.
func (o ShrinkOptions) search(ctx context.Context, e *engine.Engine, model, candidates string) error {
	s, err := space.Load(SpacePath(model))
	if err != nil {
		return err
	}
	if err := fsys.OS.MkdirAll(filepath.Dir(candidates)); err != nil {
		return fmt.Errorf("folder of the search: %w", err)
	}
	so := SearchOptions{
		Engine: e, Space: s, By: o.Budgets.By, Within: o.Budgets.Within, LatencyBatch: o.Budgets.LatencyBatch, LatencyProfile: o.Budgets.Profile,
		Scoring: Scoring{Weights: model, Data: o.Data, Batches: 1, SkipBad: o.Recipe.SkipBadImages, Workers: o.Workers, Seed: o.Seed, Log: o.Log},
		Out:     candidates, Log: o.Log, Progress: o.Gradients, Measuring: o.Measuring,
	}
	proxy := TrainedProxy
	if s.Model.IsConv() { // what cuts cost is measured of vision transformers
		proxy = DefaultProxy
	}
	if so.Search.Score, err = search.ParseScoreMethod(proxy); err != nil {
		return err
	}
	so.Search.Method, so.Description = search.Exact, map[string]string{"proxy": proxy, "method": string(search.Exact)}
	if so.Search.Budgets, err = o.Budgets.met(ctx, &so); err != nil {
		return err
	}
	found, _, err := Search(ctx, so)
	if err == nil && len(found.Meta.EmptyIntervals) > 0 {
		err = errors.Join(fmt.Errorf("%w: %w: no architecture has %s in %s and %s; the space spans %.4g to %.4g %s", o.Budgets.input(), ErrBudget,
			so.By, strings.Join(found.Meta.EmptyIntervals, ", "), strings.Join(found.Meta.Limits, ", "), found.Meta.Spans[0], found.Meta.Spans[1], unitOf(so.By)),
			os.RemoveAll(filepath.Dir(candidates)))
	}
	if err != nil {
		return err
	}
	for _, bin := range found.Candidates {
		for _, c := range bin.Candidates {
			o.Log(fmt.Sprintf("%s at most %s %s: %s", so.By, search.NumberText(bin.Key), unitOf(so.By), c.Arch))
		}
	}
	return nil
}

// met are the budgets in units of the cost that the search is by, ascending. Shares make it a search
// by multiply-accumulates.
func (b Budgets) met(ctx context.Context, so *SearchOptions) ([]float64, error) {
	if b.Shares != nil {
		so.By = "macs"
	}
	cost, _, _, err := so.costs(ctx)
	if err != nil {
		return nil, err
	}
	least, _ := cost.Span(so.Space)
	return b.between(least, cost.Of(so.Space, so.Space.Whole()), cost.Name, so.Log)
}

// between are the budgets from the cost of the smallest architecture to that of the whole, ascending.
// A budget that the original meets needs no shrinking: it is left out and told. One that the smallest
// architecture exceeds is an error, or becomes that architecture's cost where Raised says so. If no
// budget is left, the error wraps ErrBudget.
func (b Budgets) between(least, whole float64, cost string, log func(string)) ([]float64, error) {
	unit := unitOf(cost)
	values, given := slices.Clone(b.Values), map[float64]string{}
	for _, share := range b.Shares {
		if lowest := math.Ceil(100*least/whole) / 100; share < lowest && b.Raised {
			log(fmt.Sprintf("the smallest architecture has %.4g %% of the original's %.4g %s, so the smallest budget is %.4g %% and not %.4g %%",
				100*least/whole, whole, unit, 100*lowest, 100*share))
			share = lowest
		}
		v := fourDigits(share * whole)
		values, given[v] = append(values, v), fmt.Sprintf("%.4g %% of the original's %.4g %s", 100*share, whole, unit)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	name := func(v float64) string {
		if text, has := given[v]; has {
			return text
		}
		return fmt.Sprintf("%.4g %s", v, unit)
	}
	fail := func(v float64, text string) error {
		return fmt.Errorf("%w: %s %w: %s; budgets from %.4g %s on can be, and the original has %.4g %s", b.input(), name(v), ErrBudget, text, least, unit, whole, unit)
	}
	var met []float64
	for _, v := range values {
		switch {
		case v < least:
			return nil, fail(v, "the smallest architecture of the space takes more")
		case v >= whole:
			log(fmt.Sprintf("%s at most %s: the original has %.4g %s, so it needs no shrinking", cost, name(v), whole, unit))
		default:
			met = append(met, v)
		}
	}
	if len(met) == 0 {
		return nil, fail(values[len(values)-1], "the original takes no more, so there is nothing to shrink")
	}
	return met, nil
}

// fourDigits of a positive number, rounded down, so that a budget can be read.
func fourDigits(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-3)
	return math.Floor(v/unit) * unit
}

// export writes each architecture as safetensors and as ONNX.
func (o ShrinkOptions) export(ctx context.Context, model string) (all []Exported, err error) {
	original, err := openModelInfo(model)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"safetensors", "onnx"} {
		format, err := ParseFormat(name, FormatOptions{})
		if err != nil {
			return nil, err
		}
		list, err := Export(ctx, ExportOptions{Run: o.Out, Arch: AllArchs, Format: format, Licence: original.Licence, Out: filepath.Join(o.Out, modelsFolder), Log: o.Log})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// measure measures the original on the images of the family's results, and how long it and each
// architecture takes on this machine.
func (o ShrinkOptions) measure(ctx context.Context, measuring EvaluateOptions, model string, family evaluate.Results) (original evaluate.Original, err error) {
	file := filepath.Join(o.Out, evaluate.OriginalFile)
	if original, err = evaluate.ReadOriginal(fsys.OS, file); err == nil && original.Results.SameAs(family) {
		return original, nil
	}
	manifest, err := rundir.ReadManifest(fsys.OS, o.Out)
	if err != nil {
		return original, err
	}
	whole, err := trainedModel(model, "")
	if err != nil {
		return original, err
	}
	if original.Results, err = evaluateOriginal(ctx, measuring, manifest, whole); err != nil {
		return original, err
	}
	archs := []space.Arch{whole.arch}
	for _, r := range family.Archs {
		arch, err := space.ParseArch(r.Arch)
		if err != nil {
			return original, err
		}
		archs = append(archs, arch)
	}
	ms, on, err := latency.Whole(ctx, measuring.Engine, manifest.Space.Model, archs, max(1, o.Budgets.LatencyBatch))
	if err != nil {
		return original, err
	}
	original.LatencyOf, original.Latency = on, map[string]float64{}
	for i, arch := range archs {
		original.Latency[arch.String()] = ms[i]
	}
	return original, original.Write(fsys.OS, file)
}
