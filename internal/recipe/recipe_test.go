package recipe

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"prenas/pkg/space"
)

func TestRecipesSayHowTheyAreUsed(t *testing.T) {
	for _, name := range Names() {
		if _, err := Load(name); err != nil {
			t.Error(err)
		}
		text, err := builtIn.ReadFile("recipes/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"#   command ", "#   hardware ", "#   expected "} {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s does not state its %q", name, word)
			}
		}
	}
}

func TestRecipesThatContradictThemselves(t *testing.T) {
	for text, want := range map[string]string{
		"epochs: 4\nschedule: {name: constant, warmup: 2, cooldown: 3}": "longer than the run",
		"schedule: {name: step}":                                 "step_epochs",
		"optimizer: {name: sgd, nesterov: true}":                 "optimizer.momentum",
		"optimizer: {momentum: 0.9}":                             "beta1",
		"optimizer: {clip: -1}":                                  "within",
		"ema: {decay: 1}":                                        "within",
		"epochs: 4\nema: {decay: 0.9, decay: 0.8}":               `r.yaml:2: key "ema.decay" is given twice`,
		"ema: {decays: 0.9}":                                     "did you mean",
		"distill: {teacher: largest}":                            "sandwich",
		"distill: {teacher: t.onnx, kind: hard, temperature: 2}": "kind soft",
		"optimizer: {name: adam}":                                "adamw, lamb, sgd",
		"\nepochs: many":                                         `r.yaml:2: epochs wants a whole number, not "many"`,
		"epochs: 1.9":                                            `epochs wants a whole number, not "1.9"`,
		"epochs: -.inf":                                          `epochs wants a whole number, not "-.inf"`,
		"epochs: [1, 2]":                                         "epochs wants a whole number, not a list of 2",
		"optimizer: {lr: fast}":                                  `r.yaml:1: optimizer.lr wants a number, not "fast"`,
		"optimizer: 3":                                           "optimizer must be a block of keys",
		"augment: {scale: 0.5}":                                  `augment.scale wants a list of 2 numbers, not "0.5"`,
		"augment: {scale: [0.1, 0.2, 0.3]}":                      "augment.scale wants a list of 2 numbers, not a list of 3",
		"distill: {teacher: {a: b}}":                             "distill.teacher wants a text, not a block of keys",
	} {
		_, err := Parse("r.yaml", []byte(text))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", text, err, want)
		}
	}
}

// The digest of a recipe without younger keys is what the first runs have in their
// checkpoints: they must still go on.
func TestDigestOfOldRecipesStays(t *testing.T) {
	r, err := Parse("first.yaml", []byte(`
epochs: 8
batch: 64
holdout: 0.02
eval_every: 0
log_every: 50
optimizer: {lr: 1.5e-3, decay: 0.05, beta2: 0.98}
schedule: {warmup: 0.3, min_lr: 1.0e-5}
loss: {smoothing: 0}
augment: {hflip: 0.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	const before = "f6f0c811736eb07bbb2b3f5e0f22240aa73650667ed656791310968463f29389"
	if got := r.Digest(); got != before {
		t.Errorf("the digest is %s, was %s", got, before)
	}
}

// Any text is a recipe whose values are within their limits, or an error.
func FuzzParseRecipe(f *testing.F) {
	for _, name := range Names() {
		text, err := builtIn.ReadFile("recipes/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("augment: &a {scale: [0.1, 1], aa: rand-m9}\nmix: *a"))
	f.Add([]byte("distill: {teacher: t.onnx}\nepochs: 0x10\nbatch: 1e3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("r.yaml", text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if err := r.CheckLimits(""); err != nil {
			t.Errorf("accepted: %v", err)
		}
		again, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse("r.yaml", again); err != nil || back.Digest() != r.Digest() {
			t.Errorf("written and read again it is another recipe: %v\n%s", err, again)
		}
	})
}

// The recipe is the space's own only where the space is the built-in one, whole; a meta
// file's JSON changes nothing.
func TestRecipeForASpace(t *testing.T) {
	want := map[string]string{
		"tiny": "tiny", "small": "small", "base": "base", "conv": "images", "quickstart": "quickstart", "conv-quickstart": "quickstart-conv",
	}
	for _, builtIn := range space.Names() {
		s, err := space.Load(builtIn)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var read space.Space
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		name, why := For(&read)
		if name != want[builtIn] || !strings.Contains(why, builtIn) {
			t.Errorf("space %s has recipe %q (%s), want %q", builtIn, name, why, want[builtIn])
		}
		if _, err := Load(name); err != nil {
			t.Error(err)
		}
		read.Model.NumClasses++
		if name, _ := For(&read); name != "images" {
			t.Errorf("space %s with other classes has recipe %q, want images", builtIn, name)
		}
	}
}
