package train

import (
	"context"
	"errors"
	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"testing"
)

// meanTeacher tells classes by the mean of an image, and counts what it has seen.
type meanTeacher struct {
	digest string
	seen   *int
}

func (m meanTeacher) Digest() string { return m.digest }

func (m meanTeacher) Logits(images [][]float32) ([][]float32, error) {
	if m.digest == "broken" {
		return nil, errors.New("no answer")
	}
	*m.seen += len(images)
	rows := make([][]float32, len(images))
	for i, image := range images {
		sum := float32(0)
		for _, v := range image {
			sum += v
		}
		rows[i] = []float32{sum / 8, -sum / 8, 0}
	}
	return rows, nil
}

func TestTeacherOfAFile(t *testing.T) {
	seen := 0
	e := enginetest.PureGo(t)
	toy := func(o *Options) { plainToy(o); o.Engine = e }
	taught := func(samplerName, digest string, mixed bool) func(*Options) {
		return func(o *Options) {
			toy(o)
			if mixed {
				o.Recipe.Mix = recipe.Mix{Mixup: 1, Prob: 1, Mode: "elem"}
			}
			o.Recipe.Sampler.Name = samplerName
			o.Recipe.Distill = recipe.Distill{Teacher: "t.safetensors", Kind: recipe.SoftTarget, Alpha: 0.7, Temperature: 1}
			o.Teacher = meanTeacher{digest, &seen}
		}
	}
	for _, name := range []string{recipe.Balanced, recipe.Sandwich, recipe.WholeSpace} {
		plain := trained(t, func(o *Options) { toy(o); o.Recipe.Sampler.Name = name })
		seen = 0
		if d := far(plain, trained(t, taught(name, "one", false))); d < 1e-3 {
			t.Errorf("%s: a teacher changes nothing (%.2g)", name, d)
		}
		// 90 images, batches of 8: 88 an epoch, once each whatever the sampler.
		if seen != 2*88 {
			t.Errorf("%s: the teacher has seen %d images, want 176", name, seen)
		}
	}
	if d := far(trained(t, taught(recipe.Balanced, "one", false)), trained(t, taught(recipe.Balanced, "one", true))); d < 1e-3 {
		t.Errorf("mixed images change nothing (%.2g)", d)
	}

	o := littleOptions(t)
	taught(recipe.Balanced, "one", false)(&o)
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume, o.Teacher = true, meanTeacher{"two", &seen}
	if _, err := Run(context.Background(), o); !errors.Is(err, rundir.ErrOtherRun) {
		t.Errorf("resumed with another teacher: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"no teacher": func(o *Options) { o.Teacher = nil },
		"broken":     func(o *Options) { o.Teacher = meanTeacher{"broken", &seen} },
	} {
		o := littleOptions(t)
		taught(recipe.Balanced, "one", false)(&o)
		change(&o)
		if _, err := Run(context.Background(), o); !errors.Is(err, recipe.ErrTeacher) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
