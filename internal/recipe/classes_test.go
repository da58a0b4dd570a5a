package recipe

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWeightsOfClasses(t *testing.T) {
	r := Default()
	if w := r.WeightsOf([]int{1, 99}); w != nil {
		t.Errorf("without class_weights they are %v", w)
	}
	before := r.Digest()
	r, err := Parse("r.yaml", []byte("class_weights: balanced"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest() == before {
		t.Error("a recipe with class_weights has the digest of one without")
	}
	// sklearn.utils.class_weight.compute_class_weight("balanced", ...) of 10, 30, 60 labels.
	if w := r.WeightsOf([]int{10, 0, 30, 60}); !slices.Equal(w, []float32{10. / 3, 0, 10. / 9, 5. / 9}) {
		t.Errorf("weights %v", w)
	}
	if w := r.WeightsOf([]int{7}); !slices.Equal(w, []float32{1}) {
		t.Errorf("weights of one class %v", w)
	}
	for text, want := range map[string]string{
		"class_weights: uniform":                         `class_weights is "uniform", must be one of balanced`,
		"class_weights: ''":                              `must be one of balanced`,
		"class_weights: [1, 2]":                          "class_weights",
		"class_weight: balanced":                         "class_weights",
		"class_weights: balanced\nbalance_classes: true": "leave one of them out",
	} {
		if _, err := Parse("r.yaml", []byte(text)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	// What a manifest holds.
	if err := r.CheckLimits("recipe"); err != nil {
		t.Error(err)
	}
	r.ClassWeights = ""
	if err := r.CheckLimits("recipe"); err != nil || r.Digest() != before {
		t.Errorf("off: %v", err)
	}
	r.ClassWeights = "some"
	if err := r.CheckLimits("recipe"); err == nil {
		t.Error("some is accepted")
	}
}
