package evaluate

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prenas/internal/fsys"
)

func TestPredictions(t *testing.T) {
	p := NewPredictions(2)
	p.Add(0, 0, 1, []float32{0, 1, 0, -1, 0, 0, 0})
	p.Add(1, 0, 1, []float32{2, 2, 2, 2, 2, 2, 2})
	p.Add(0, 2, 0, []float32{1000, -1000, 0, 0, 0, 0, 0}) // image 1 was left out
	p.Add(1, 2, 0, []float32{0, 3, 0, 0, 0, 0, 0})
	path := filepath.Join(t.TempDir(), "p.jsonl")
	of := Results{Split: "test", Crops: 1, Step: 7, Weights: "abc", Classes: []string{"a", "b"}, Archs: []Result{{Arch: "one"}, {Arch: "two"}}}
	if err := p.Write(fsys.OS, path, of, func(i int) string { return []string{"x.png", "", "<z>.png"}[i] }); err != nil {
		t.Fatal(err)
	}
	var got []Predicted
	h, err := ReadPredictions(fsys.OS, path, func(_ PredictionsHeader, p Predicted) { got = append(got, p) })
	if err != nil {
		t.Fatal(err)
	}
	if h.Weights != "abc" || h.Step != 7 || len(h.Archs) != 2 || len(got) != 2 || got[1].Image != 2 || got[1].Name != "<z>.png" {
		t.Fatalf("%+v %+v", h, got)
	}
	// e / (e + 5 + 1/e), and 1 of the five zeros
	sum := math.E + 5 + 1/math.E
	want := Ranked{Classes: []int{1, 0, 2, 4, 5}, Probabilities: []float64{math.E / sum, 1 / sum, 1 / sum, 1 / sum, 1 / sum}}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-6 })
	if diff := cmp.Diff(want, got[0].Top[0], near); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, got[0].Top[1].Classes); diff != "" {
		t.Errorf("of equal logits: %s", diff)
	}
	if got[1].Top[0].Probabilities[0] != 1 {
		t.Errorf("large logits: %v", got[1].Top[0])
	}

	var c Calibration
	for _, image := range got {
		c.Add(image.Label, image.Top[1]) // 1/7 and wrong; e³/(e³+6) and wrong
	}
	second := math.Exp(3) / (math.Exp(3) + 6)
	if want := (1./7 + second) / 2; !(math.Abs(c.Error()-want) <= 1e-6) {
		t.Errorf("calibration error %v, want %v", c.Error(), want)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"another byte": strings.Replace(string(text), `"label":1`, `"label":2`, 1),
		"empty":        "",
		"no header":    `{"image":0}` + "\n",
		"one missing":  `{"format":1,"architectures":["a","b"]}` + "\n" + `{"image":0,"top":[{"classes":[1],"probabilities":[1]}]}` + "\n",
		"above one":    `{"format":1,"architectures":["a"]}` + "\n" + `{"image":0,"top":[{"classes":[1],"probabilities":[1.5]}]}` + "\n",
		"no class":     `{"format":1,"architectures":["a"]}` + "\n" + `{"image":0,"top":[{}]}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPredictions(fsys.OS, path, func(PredictionsHeader, Predicted) {}); err == nil || name != "another byte" && !errors.Is(err, ErrPredictions) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
