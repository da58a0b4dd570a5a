package layout

import (
	"testing"

	"prenas/internal/data"
)

// Words for splits as the field has them.
func TestWordsForSplits(t *testing.T) {
	for name, want := range map[string]int{
		"holdout": data.ValSplit, "hold-out": data.ValSplit, "Held_Out": data.ValSplit, "held out images": data.ValSplit, "tests": data.TestSplit, "vals": data.ValSplit,
		"train2017": data.TrainSplit, "val2017": data.ValSplit, "training_set": data.TrainSplit, "test_set": data.TestSplit, "dev": data.ValSplit, "eval": data.ValSplit,
		"holder": data.NoSplit, "out": data.NoSplit, "household": data.NoSplit, "trains": data.NoSplit, "unlabeled": data.NoSplit,
	} {
		if split, _ := SplitIn(name); split != want {
			t.Errorf("%s is split %d, want %d", name, split, want)
		}
	}
}
