package evaluate

import (
	"math"
	"slices"
	"testing"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// What was seen is what counting each image by itself gives, whatever the classes: some
// without images, ties, more mistakes than are kept.
func TestSeenCountsEachImage(t *testing.T) {
	const classes, images = 5, 300
	r := rng.New(1, "seen")
	var seen Seen
	var matrix [classes][classes]int
	var sure []float64
	var score Score
	for i := range images {
		label := r.IntN(classes - 1) // the last class has no images
		logits := make([]float32, classes)
		for c := range logits {
			logits[c] = float32(r.IntN(4)) // with many ties
		}
		best, sum := 0, 0.0
		for c, v := range logits {
			sum += math.Exp(float64(v))
			if v > logits[best] {
				best = c
			}
		}
		matrix[label][best]++
		score.Images++
		if label == best {
			score.Top1++
		} else {
			sure = append(sure, math.Exp(float64(logits[best]))/sum)
		}
		seen.Add(i, label, logits)
	}
	a := space.Arch{EmbedDim: 8, NumHeads: []int{1}, MLPRatio: []float64{1}}
	m := space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: classes, HeadDim: 4, GlobalPool: true}
	got := NewResult(m, "", a, score, seen, func(i int) string { return string(rune('a' + i%26)) })
	again := NewResult(m, "", a, score, seen, nil)
	if !slices.Equal(got.Confusion, again.Confusion) || got.Balanced != again.Balanced {
		t.Error("twice the same is not the same")
	}
	balanced, total := 0.0, 0
	for label := range classes {
		own, taken := 0, 0
		for c := range classes {
			own += matrix[label][c]
			taken += matrix[c][label]
			if n := matrix[label][c]; n > 0 && !slices.Contains(got.Confusion, Confused{label, c, n}) {
				t.Errorf("the matrix lacks %d for %d: %d", label, c, n)
			}
		}
		total += own
		if own > 0 {
			balanced += float64(matrix[label][label]) / float64(own) / (classes - 1)
		}
		if want := (ClassResult{label, own, matrix[label][label], taken}); !slices.Contains(got.PerClass, want) {
			t.Errorf("class %d: want %+v in %+v", label, want, got.PerClass)
		}
	}
	if !(math.Abs(got.Balanced-balanced) <= 1e-12) {
		t.Errorf("balanced %v, want %v", got.Balanced, balanced)
	}
	if total != images {
		t.Errorf("%d images, want %d", total, images)
	}
	slices.Sort(sure)
	slices.Reverse(sure)
	if len(got.Mistakes) != mostMistakes {
		t.Fatalf("%d mistakes, want %d", len(got.Mistakes), mostMistakes)
	}
	for i, m := range got.Mistakes {
		if !(math.Abs(m.Probability-sure[i]) <= 1e-9) || m.Name == "" {
			t.Errorf("mistake %d: %+v, want probability %v", i, m, sure[i])
		}
		if i > 0 && m.Probability == got.Mistakes[i-1].Probability && m.Image <= got.Mistakes[i-1].Image {
			t.Errorf("of equal mistakes %d is not the first", i)
		}
	}
	worst := got.Worst(2)
	if len(worst) != 2 || worst[0].Recall() > worst[1].Recall() || worst[0].Images == 0 {
		t.Errorf("worst: %+v", worst)
	}
	if pairs := got.MostConfused(3); len(pairs) != 3 || pairs[0][2] < pairs[1][2] || pairs[0][0] == pairs[0][1] {
		t.Errorf("most confused: %v", pairs)
	}
}
