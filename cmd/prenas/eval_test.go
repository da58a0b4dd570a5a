package main

import (
	"strings"
	"testing"

	"prenas/internal/evaluate"
)

// A mistake is said to be a sure one only where its probability is high.
func TestOnlySureMistakesAreSaidToBe(t *testing.T) {
	for _, test := range []struct {
		probabilities []float64
		sure, less    bool
		none          bool
	}{
		{[]float64{0.99, 0.85}, true, false, false},
		{[]float64{0.99, 0.4}, true, true, false},
		{[]float64{0.4, 0.003}, false, false, true},
		{nil, false, false, false},
	} {
		best := evaluate.Result{Arch: "a", PerClass: []evaluate.ClassResult{{Class: 0, Images: 9, Correct: 1, Predicted: 1}}}
		for _, p := range test.probabilities {
			best.Mistakes = append(best.Mistakes, evaluate.Mistake{Name: "cat.jpg", Predicted: 1, Probability: p})
		}
		var text strings.Builder
		if err := printClasses(&text, evaluate.Results{Images: 9, Classes: []string{"cat", "dog"}, Archs: []evaluate.Result{best}}); err != nil {
			t.Fatal(err)
		}
		for heading, want := range map[string]bool{"\nwrong and sure of it;": test.sure, "\nwrong and less sure of it:": test.less, "\nwrong, though sure of none;": test.none} {
			if strings.Contains(text.String(), heading) != want {
				t.Errorf("%v, %q:%s", test.probabilities, heading, text.String())
			}
		}
		if n := strings.Count(text.String(), "cat.jpg: cat, taken for dog"); n != len(test.probabilities) {
			t.Errorf("%d mistakes of %d", n, len(test.probabilities))
		}
	}
}
