package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/recipe"
	"prenas/internal/rng"
)

// lossTwin is the loss of one image in float64, term by term.
func lossTwin(r recipe.Recipe, logits, targets, teacher []float64) float64 {
	softmax := func(x []float64, t float64) []float64 {
		p, sum := make([]float64, len(x)), 0.0
		for i, v := range x {
			p[i] = math.Exp(v / t)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	entropy := func(target []float64, t float64) (sum float64) {
		for i, p := range softmax(logits, t) {
			sum -= target[i] * math.Log(p)
		}
		return sum
	}
	d := r.Distill
	if d.Kind == recipe.HardTarget {
		label := make([]float64, len(logits))
		off := r.Loss.Smoothing / float64(len(logits))
		for i := range label {
			label[i] = off
		}
		for i, v := range teacher {
			if v == slices.Max(teacher) {
				label[i] = 1 - r.Loss.Smoothing + off
			}
		}
		return (1-d.Alpha)*entropy(targets, 1) + d.Alpha*entropy(label, 1)
	}
	t := d.Temperature
	return (1-d.Alpha)*entropy(targets, 1) + d.Alpha*t*t*entropy(softmax(teacher, t), t)
}

func TestLossWithATeacherEqualsItsFormula(t *testing.T) {
	const n, classes = 5, 4
	random := rng.New(1, "distill")
	values := make([][]float32, 3) // logits, targets, teacher
	for i := range values {
		for range n * classes {
			values[i] = append(values[i], float32(2*random.NormFloat64()))
		}
	}
	for i := range values[1] {
		values[1][i] = 1.0 / classes
	}
	shape := shapes.Make(dtypes.Float32, n, classes)
	e := pureGo(t)
	for _, d := range []recipe.Distill{
		{Teacher: "t", Kind: recipe.SoftTarget, Alpha: 0.3, Temperature: 1},
		{Teacher: "t", Kind: recipe.SoftTarget, Alpha: 1, Temperature: 4},
		{Teacher: "t", Kind: recipe.HardTarget, Alpha: 0.5, Temperature: 1},
	} {
		r := recipe.Default()
		r.Distill = d
		p, err := e.Compile("loss", []shapes.Shape{shape, shape, shape}, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{lossOf(r, in[0], in[1], in[2])}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var args []*tensors.Tensor
		for _, v := range values {
			args = append(args, tensors.FromFlatDataAndDimensions(v, n, classes))
		}
		out, err := p.Run(args)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range download(t, out[0]) {
			row := func(k int) (x []float64) {
				for _, v := range values[k][i*classes:][:classes] {
					x = append(x, float64(v))
				}
				return x
			}
			if want := lossTwin(r, row(0), row(1), row(2)); math.Abs(float64(got)-want) > 1e-5*want {
				t.Errorf("%+v: image %d has loss %v, want %v", d, i, got, want)
			}
		}
	}
}

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
	e := pureGo(t)
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
	if _, err := Run(context.Background(), o); !errors.Is(err, ErrOtherRun) {
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
