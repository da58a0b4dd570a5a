package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// TrainOptions of Train.
type TrainOptions struct {
	Engine     *engine.Engine
	Candidates string
	Space      *space.Space // nil: the one in candidates.meta.json
	Weights    string       // safetensors to begin with; empty: drawn from the seed
	Teacher    string       // file of the teacher, in place of the one that the recipe names; empty: that
	Data       string
	Recipe     recipe.Recipe
	Override   recipe.Override // changes of the recipe, made after it was suited to the images
	Seed       uint64
	Workers    int
	Out        string
	Resume     bool
	Asked      []search.Asked   // what the candidates cost, as their meta file says
	Images     rundir.ImageInfo // how a resumed run's images are normalised
	Command    string
	Log        func(string)
	Fetch      func(done, total int64)
	Progress   func(train.Status)
}

// Resumed are the options that the run directory dir was begun with.
func Resumed(dir string) (TrainOptions, error) {
	m, err := rundir.ReadManifest(fsys.OS, dir)
	if err != nil {
		return TrainOptions{}, fmt.Errorf("%w: %w", input.Resume, err)
	}
	return TrainOptions{
		Candidates: filepath.Join(dir, "candidates.json"), Space: m.Space, Data: m.Data.Place(), Recipe: m.Recipe, Seed: m.Seed,
		Out: dir, Resume: true, Images: m.Data.ImageInfo,
	}, nil
}

// DefaultRecipe is the recipe to train by where none is given: the one for the space of the
// candidates. It logs which that is.
func (o TrainOptions) DefaultRecipe() (recipe.Recipe, error) {
	if _, err := o.readCandidates(); err != nil {
		return recipe.Recipe{}, err
	}
	name, why := recipe.For(o.Space)
	o.Log(fmt.Sprintf("recipe %s, %s; %v takes another", name, why, input.Recipe))
	if name == "images" && !o.Space.Model.IsConv() && o.Weights == "" {
		o.Log("from scratch and few images convolutional networks mostly learn more than vision transformers (docs/recipes.md has figures); " +
			"prenas spaces suggest makes a space of them, and trained weights to begin with help transformers")
	}
	return recipe.Load(name)
}

// Train trains the preferred architectures of a candidates file.
func Train(ctx context.Context, o TrainOptions) (train.Result, error) {
	release, err := hold(o.Engine, o.Out)
	if err != nil {
		return train.Result{}, err
	}
	defer release()
	run, images, err := o.open(ctx)
	if err != nil {
		return train.Result{}, err
	}
	r, err := train.Run(ctx, run)
	err = noteSkippedOfAll(o.Engine, o.Out, images.Skipped(), err, o.Log)
	return r, errors.Join(err, closeTeacher(run.Teacher))
}

// PlanTraining says what Train would do and how long that would take, without doing it. It measures
// for about as long as within; 0: until all is measured.
func PlanTraining(ctx context.Context, o TrainOptions, within time.Duration) (train.Plan, error) {
	run, _, err := o.open(ctx)
	if err != nil {
		return train.Plan{}, err
	}
	plan, err := train.MakePlan(ctx, run, within)
	return plan, errors.Join(err, closeTeacher(run.Teacher))
}

// openSuited opens the images to train on. It suits the recipe to their number, and then makes the
// changes that a command asks for.
func openSuited(ctx context.Context, src string, r *recipe.Recipe, change recipe.Override, seed uint64, log func(string), fetch func(done, total int64)) (*data.Dataset, error) {
	var wrong error
	set, err := source.Open(ctx, src, source.Options{Seed: seed, Stratify: r.Stratify, Look: true, Log: log, Progress: fetch, HeldOutOf: func(images, most int) float64 {
		suits := r.Suit
		suited, held := r.Suited(images, most)
		if *r, wrong = suited.With(change); suits && wrong == nil {
			log("recipe " + r.OfImages(images, held))
		}
		return r.Holdout
	}})
	if err = cmp.Or(err, wrong); err != nil {
		return nil, err
	}
	if much := data.Imbalance(set); much >= data.Imbalanced && !r.BalanceClasses && r.ClassWeights == "" {
		log(fmt.Sprintf("classes differ in size: the largest has %.3g times the images of the smallest; balance_classes: true in a recipe shows each equally often, class_weights: balanced weighs the loss", much))
	}
	return set, nil
}

// readCandidates reads the candidates file. Where o has no space it takes the one of the meta file.
func (o *TrainOptions) readCandidates() (space.Candidates, error) {
	candidates, err := space.ReadCandidates(o.Candidates)
	if err != nil {
		if info, statErr := os.Stat(o.Candidates); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; prenas search %v %s writes it", err, input.Out, o.Candidates)
		} else if statErr == nil && info.IsDir() {
			err = fmt.Errorf("%s is a folder: name the file that prenas search wrote; a run has its own, candidates.json", o.Candidates)
		}
		return nil, fmt.Errorf("%w: %w", input.Candidates, err)
	}
	if o.Space == nil {
		meta, err := ReadMeta(o.Candidates)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w %s has no meta file beside it that names its space: name it with %v", input.Candidates, o.Candidates, input.Space)
		}
		if err != nil {
			return nil, err
		}
		if !meta.of(o.Candidates) {
			o.Log(fmt.Sprintf("%s is not the file that %s is of: it was edited, or a search was cut between the two; its architectures are taken as they stand", o.Candidates, metaPath(o.Candidates)))
		}
		o.Space, o.Asked = meta.Space, meta.Asked
	}
	if err := checkChannels(o.Space.Model, ""); err != nil {
		return nil, err
	}
	if err := candidates.Check(o.Space); err != nil {
		return nil, fmt.Errorf("%w %s: %w", input.Candidates, o.Candidates, err)
	}
	return candidates, nil
}

// fromFile names a file that weights were taken from, with its digest.
func fromFile(path, arch string) (*rundir.From, error) {
	sum, err := fsys.Sum(path)
	return &rundir.From{File: path, SHA256: sum, Arch: arch}, err
}

// open reads all that a training needs.
func (o TrainOptions) open(ctx context.Context) (run train.Options, images *train.Images, err error) {
	if o.Resume {
		if m, err := rundir.ReadManifest(fsys.OS, o.Out); err == nil && m.Seed == o.Seed {
			if err := m.SameRecipe(o.Recipe); err != nil {
				return run, nil, fmt.Errorf("resume %s: %w", o.Out, err)
			}
		}
	}
	candidates, err := o.readCandidates()
	if err != nil {
		return run, nil, err
	}
	var weights map[string]tensorfile.Tensor
	var look rundir.ImageInfo // of the images that the weights were trained on
	var from *rundir.From
	if o.Weights != "" {
		if weights, look, err = readWeights(o.Weights, o.Space); err != nil {
			return run, nil, err
		}
		if from, err = fromFile(o.Weights, ""); err != nil {
			return run, nil, err
		}
	}
	set, err := openSuited(ctx, o.Data, &o.Recipe, o.Override, o.Seed, o.Log, o.Fetch)
	if errors.Is(err, data.ErrMissing) && o.Resume {
		err = fmt.Errorf("%w; %s is trained on them: name with %v where they are now", err, o.Out, input.Data)
	}
	if err != nil {
		return run, nil, err
	}
	if m, missing := rundir.ReadManifest(fsys.OS, o.Out); o.Resume && missing == nil { // the space is as it was when the run began
		began := *o.Space
		began.Model.NumClasses = m.Space.Model.NumClasses
		o.Space = &began
		candidates, _ = candidates.Recounted(o.Space.Model)
	} else if o.Space, candidates, err = ofImages(o.Space, candidates, set.Classes, weights != nil, o.Log); err != nil {
		return run, nil, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	if weights != nil {
		if _, err := suitHead(o.Space, weights, look.Classes, set.Classes, o.Seed, warningOf(fmt.Sprintf("%v %s", input.Weights, o.Weights), o.Log)); err != nil {
			return run, nil, err
		}
	}
	normaliseAs(set, look)
	normaliseAs(set, o.Images)
	images, err = train.NewImages(set, o.Space.Model, o.Recipe, o.Seed, o.Workers)
	if err != nil {
		return run, nil, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	resumed := ""
	if o.Resume {
		resumed = o.Out
	}
	taughtBy := teacherFile(o.Recipe, resumed)
	if o.Teacher != "" && !o.Resume {
		taughtBy = o.Teacher
	}
	teacher, err := openTeacher(ctx, o.Engine, taughtBy, o.Recipe, o.Space.Model, images.Info(), o.Log)
	if err != nil {
		return run, nil, err
	}
	return train.Options{
		Engine: o.Engine, Space: o.Space, Candidates: candidates, Recipe: o.Recipe, Seed: o.Seed,
		Weights: weights, From: from, Teacher: teacher, TeacherFile: taughtBy,
		Source: images, SourceName: o.Data, Asked: o.Asked, Images: images.Info(), Out: o.Out, Resume: o.Resume, Command: o.Command, Log: o.Log, Progress: o.Progress,
	}, images, nil
}
