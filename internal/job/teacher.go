package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"prenas/internal/classify"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// ErrTeacher: the teacher that a recipe names cannot be opened, or does not suit the run.
var ErrTeacher = errors.New("distill.teacher")

// teacher is an exported model that teaches a run.
type teacher struct {
	*classify.Model
	digest string
	// The teacher may have been trained on images that were normalised otherwise. It gets
	// scale·x + shift, by channel, for a value x of the run's images.
	scale, shift []float32
	outputs      []int // the teacher's output for each output of the run; nil: the same
}

// teacherFile is the file of a run's teacher: what the recipe names, or the copy in the run
// directory if the run is resumed. Empty: there is no teacher.
func teacherFile(r recipe.Recipe, resumed string) string {
	path := r.Distill.File()
	if path == "" || resumed == "" {
		return path
	}
	own := rundir.TeacherCopy(resumed, path)
	if _, err := os.Stat(own); err != nil { // runs of earlier versions have no copy
		return path
	}
	return own
}

// openTeacher opens the teacher of a run, if it has one. m is the model that is trained, and look
// says how its images are normalised. Its error wraps ErrTeacher.
func openTeacher(ctx context.Context, e *engine.Engine, path string, r recipe.Recipe, m space.Model, look rundir.ImageInfo, log func(string)) (trainstep.Teacher, error) {
	if path == "" {
		return nil, nil
	}
	digest, err := fsys.Sum(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTeacher, err)
	}
	model, err := classify.Open(ctx, path, classify.Options{Engine: e, Batch: r.Batch, Log: log})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTeacher, err)
	}
	t := &teacher{Model: model, digest: digest}
	if err := t.suits(m, look, log); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s %w", ErrTeacher, path, err), model.Close())
	}
	return t, nil
}

// suits checks that the teacher takes the images of the run's model and knows its classes, and
// remembers how to translate both.
func (t *teacher) suits(m space.Model, look rundir.ImageInfo, log func(string)) error {
	info := t.Info()
	a := info.Architecture
	if a.ImageSize != m.ImageSize || a.Channels != m.Channels {
		return fmt.Errorf("takes images of %d×%d and %s, the space's model %d×%d and %d", a.ImageSize, a.ImageSize, printable.Count(a.Channels, "channel"), m.ImageSize, m.ImageSize, m.Channels)
	}
	found, err := match(look.Classes, info.Classes, a.NumClasses, slices.Repeat([]int{1}, len(look.Classes)))
	switch {
	case err != nil:
		return fmt.Errorf("cannot teach classes that it does not know: %w", err)
	case m.NumClasses > len(look.Classes) && (a.NumClasses != m.NumClasses || !found.same()): // earlier versions trained such models
		return fmt.Errorf("has %s, the run's model %d, more than its images", printable.Count(a.NumClasses, "class"), m.NumClasses)
	case a.NumClasses != m.NumClasses || !found.same():
		t.outputs = found.output
	}
	if found.assumed != "" {
		log("warning: distill.teacher: " + found.assumed)
	}
	p := info.Preprocess
	for c := range m.Channels {
		t.scale = append(t.scale, look.Std[c]/p.Std[c])
		t.shift = append(t.shift, (look.Mean[c]-p.Mean[c])/p.Std[c])
	}
	return nil
}

// closeTeacher closes a run's teacher, if it has one.
func closeTeacher(t trainstep.Teacher) error {
	if own, ok := t.(*teacher); ok {
		return own.Close()
	}
	return nil
}

// Logits implements train.Teacher.
func (t *teacher) Logits(images [][]float32) ([][]float32, error) {
	seen := make([][]float32, len(images))
	for i, image := range images {
		seen[i] = make([]float32, len(image))
		plane := len(image) / len(t.scale)
		for k, v := range image {
			c := k / plane
			seen[i][k] = t.scale[c]*v + t.shift[c]
		}
	}
	logits, err := t.Model.Logits(seen)
	if err != nil || t.outputs == nil {
		return logits, err
	}
	for i, all := range logits {
		own := make([]float32, len(t.outputs))
		for k, output := range t.outputs {
			own[k] = all[output]
		}
		logits[i] = own
	}
	return logits, nil
}

// Digest implements train.Teacher.
func (t *teacher) Digest() string { return t.digest }
